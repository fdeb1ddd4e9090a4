"""torchmigrate examples: files to try the documents with; they are those that Torch7 wrote, and convert."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import golden
import pytest
from click.testing import CliRunner

import torchmigrate as tm
from torchmigrate.cli.main import cli

NAMES = ["README.md", "checkpoint.t7", "model.reference.t7", "model.t7", "residual.t7", "train.t7"]


def test_it_writes_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["examples"], standalone_mode=False)
    assert done.return_value == 0, done.output
    assert "examples/model.t7" in done.output
    assert "torchmigrate convert examples/model.t7 -o model" in done.output
    assert sorted(path.name for path in Path("examples").iterdir()) == [".torchmigrate", *NAMES]
    assert Path("examples/model.t7").read_bytes() == (golden.MODELS / "mobile_b32.t7").read_bytes()
    assert "exists already" in str(CliRunner().invoke(cli, ["examples"]).exception)
    done = CliRunner().invoke(cli, ["examples", "--force", "--json"], standalone_mode=False)
    assert sorted(json.loads(done.output)["files"]) == NAMES
    shutil.rmtree("examples")
    Path("examples").mkdir()
    Path("examples/mine.txt").write_text("keep")
    for words in (["examples"], ["examples", "--force"], ["examples", "-o", ".", "--force"]):
        assert isinstance(CliRunner().invoke(cli, words).exception, tm.UsageError)
    assert Path("examples/mine.txt").read_text() == "keep"

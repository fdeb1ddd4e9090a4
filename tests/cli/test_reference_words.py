"""--reference: a file, or a word that means the same in every command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import golden
import pytest

from torchmigrate.cli import main as cli

EXAMPLES = golden.FIXTURES.parent / "migrate" / "data" / "examples"
FILE = "model.reference.t7"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a model and what Torch7 answered beside it, which is the current one."""
    for name in ("model.t7", FILE):
        shutil.copy(EXAMPLES / name, tmp_path)
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    with pytest.raises(SystemExit) as stopped:
        cli.main([*words, "--json"])
    assert not stopped.value.code, capsys.readouterr().out
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "kind"),
    [([], "dump"), (["auto"], "dump"), ([FILE], "dump"), (["recorded"], "recorded"), (["self"], "self")],
    ids=["nothing", "auto", "file", "recorded", "self"],
)
def test_a_word_means_the_same_in_convert_and_verify(
    words: list[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--reference", *words] if words else []
    verified = run(capsys, "verify", "model.t7", *given)["reference"]
    converted = run(capsys, "convert", "model.t7", *given, "--no-onnx", "-o", "made")["parity"]["reference"]
    assert converted == verified
    assert verified["kind"] == kind
    assert (verified["file"] == FILE) == (kind == "dump")


def test_what_is_not_compared_needs_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--reference", "recorded", "--no-verify", "--no-onnx", "-o", "made"]
    assert run(capsys, "convert", "model.t7", *words)["parity"] is None
    assert Path("made", "model.py").is_file()


def test_a_file_that_is_called_like_a_word_is_given_with_its_folder(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.move(FILE, "self")
    assert run(capsys, "verify", "model.t7", "--reference", "./self")["reference"]["kind"] == "dump"
    assert run(capsys, "verify", "model.t7", "--reference", "self")["reference"]["kind"] == "self"

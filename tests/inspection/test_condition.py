"""What inspect says of files that are torn, packed, or of other times and machines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from torchmigrate.cli.main import main
from torchmigrate.inspection.inspect import inspect_file
from torchmigrate.t7 import TornFile
from torchmigrate.t7.writing.dump import dump


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    path = tmp_path / "torn.t7"
    dump({"epoch": 3, "best": np.arange(40.0), "last": np.arange(40.0)}, path)
    path.write_bytes(path.read_bytes()[:-50])
    return path


def test_a_torn_file_is_refused_and_salvaged(torn: Path) -> None:
    with pytest.raises(TornFile, match="50 bytes too early"):
        inspect_file(torn, ())
    found = inspect_file(torn, (), salvage=True)
    assert list(found.contents) == ["epoch", "best"]
    assert found.error is not None
    assert "50 bytes too early" in found.error
    assert found.lost == ["the top: a table, 2 of 3 entries are there", "last: torch.DoubleTensor, lost"]


def test_the_command_says_what_is_lost(torn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(torn), "--salvage"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "is torn" in shown
    assert "lost: last: torch.DoubleTensor" in shown
    with pytest.raises(SystemExit):
        main(["inspect", str(torn), "--salvage", "--json"])
    assert len(json.loads(capsys.readouterr().out)["lost"]) == 2


def test_what_is_unusual_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.t7.gz"
    plain = tmp_path / "a.t7"
    dump([1, [2]], plain, big_endian=True)
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert [remark.split(":")[0].split(";")[0] for remark in inspect_file(path, ()).remarks] == [
        "unpacked from gzip",
        "big-endian",
    ]
    path.write_bytes(plain.read_bytes() * 2)
    assert inspect_file(path, ()).remarks[-1] == "2 files appended to each other"
    path.write_bytes(plain.read_bytes() + b"\n")
    assert inspect_file(path, ()).remarks[-1] == "1 bytes after the last object are not Torch7's"
    assert inspect_file(path, ()).size == len(plain.read_bytes()) + 1

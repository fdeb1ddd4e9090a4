"""Tensors taken out as HDF5 files and as tables of numbers, and slices as .t7 files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import lua
import numpy as np
import pytest

import torchmigrate as tm
from torchmigrate.cli import main as cli
from torchmigrate.extract.extract import extract
from torchmigrate.extract.pack import pack
from torchmigrate.t7 import Tensor


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(word) for word in words])
    return int(stopped.value.code or 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    single = np.array([[0.1, 2, -(2.0**-29)], [4, np.inf, np.nan]], np.float32)
    value = {"m": single, "long": np.array([2**53 + 1, -5]), "byte": np.array([200, 3], np.uint8), "list": [1.5, 2]}
    tm.dump(lua.value({**value, "cube": np.zeros((2, 3, 4)), "words": ["a"]}), tmp_path / "x.t7")
    return tmp_path / "x.t7"


ROWS = {
    "m.csv": "0.10000000149011612,2.0,-1.862645149230957e-09\n4.0,inf,nan\n",
    "m.txt": "0.10000000149011612 2.0 -1.862645149230957e-09\n4.0 inf nan\n",
    "long.csv": "9007199254740993\n-5\n",
    "byte.txt": "200\n3\n",
    "list.csv": "1.5\n2.0\n",
}


@pytest.mark.parametrize(("name", "text"), ROWS.items(), ids=ROWS)
def test_rows_of_numbers(file: Path, name: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("extract", file, "--key", name.partition(".")[0], "-o", file.with_name(name)) == 0
    assert file.with_name(name).read_text() == text
    assert "numpy.loadtxt" in capsys.readouterr().out


def test_there_and_back(file: Path) -> None:
    extract(file, file.with_name("m.csv"), key="m")
    pack([file.with_name("m.csv")], file.with_name("back.t7"))
    back = tm.load(file.with_name("back.t7")).numpy().astype(np.float32)
    np.testing.assert_array_equal(back, tm.load(file)["m"].numpy())


def test_hdf5_holds_every_tensor(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("extract", file, "-o", file.with_name("x.h5"), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert any(line.startswith("words") for line in found["left_out"])
    with h5py.File(file.with_name("x.h5")) as made:
        assert {name: (item.dtype, item.shape) for name, item in made.items()} == {
            "m": (np.float32, (2, 3)), "cube": (np.float64, (2, 3, 4)),
            "long": (np.int64, (2,)), "byte": (np.uint8, (2,)),
        }  # fmt: skip
        np.testing.assert_array_equal(made["long"], [2**53 + 1, -5])


@pytest.mark.parametrize(
    ("key", "match"),
    [("cube", "one or two dimensions"), ("words", "holds one tensor"), (None, "--key chooses one: .*m ")],
)
def test_what_is_no_table_is_refused(file: Path, key: Any, match: str) -> None:
    with pytest.raises(tm.UsageError, match=match):
        extract(file, file.with_name("out.csv"), key=key)
    assert not file.with_name("out.csv").exists()


def test_a_slice_holds_its_own_numbers_only(tmp_path: Path) -> None:
    whole = lua.value(np.arange(60_000, dtype="f4").reshape(3, 20_000))
    part = Tensor(whole.type, (2, 3), (1, 20_000), 5, whole.storage)
    tm.dump(lua.value({"whole": whole, "part": part}), tmp_path / "x.t7")
    found = extract(tmp_path / "x.t7", tmp_path / "part.t7", key="part")
    made = tm.load(tmp_path / "part.t7")
    assert (made.type, made.numpy().tolist()) == (whole.type, [[4, 20_004, 40_004], [5, 20_005, 40_005]])
    assert (len(made.storage), found.notes) == (6, ["a part of a storage of 60000 numbers, written with its own alone"])
    assert found.size < 300
    assert extract(tmp_path / "x.t7", tmp_path / "whole.t7", key="whole").size > 240_000

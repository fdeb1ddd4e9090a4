"""Files of PyTorch, HDF5 files, tables of numbers and pictures on their way to Torch7."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import torchmigrate as tm
from torchmigrate.cli import main as cli
from torchmigrate.extract.pack import pack


def packed(path: Path) -> tuple[Any, list[str]]:
    """What the file became, and what was noted."""
    found = pack([path], path.with_suffix(".t7"), force=True)
    return tm.load(path.with_suffix(".t7")), found.notes


def test_a_checkpoint_of_pytorch(tmp_path: Path) -> None:
    weight = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    state = {"w": weight.t(), "tied": weight.t(), "row": weight[1], "steps": [1, "a", True], 3: 0.5, "none": None}
    torch.save(state, tmp_path / "x.pth")
    value, notes = packed(tmp_path / "x.pth")
    assert value["w"].numpy().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert value["w"] is value["tied"]
    assert (value["w"].type, value["row"].numpy().tolist()) == ("torch.FloatTensor", [3, 4, 5])
    assert (value["steps"].list(), value[3.0]) == ([1, "a", True], 0.5)
    assert any("row shares memory with w" in note for note in notes)
    assert any("none is None, and left out" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2.5,-3\n4,5,6e2\n", [[1, 2.5, -3], [4, 5, 600]]),
        ("1;2\n\n3;4", [[1, 2], [3, 4]]),
        ('"1","2"\n', [[1, 2]]),
        ("1 2\t3\n4  5 6\n", [[1, 2, 3], [4, 5, 6]]),
        ("\ufeff# of 2016\n0.1\n0.2\n", [0.1, 0.2]),
        ("width,height\n3,4\n", [[3, 4]]),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "txt"])
def test_numbers_in_text(tmp_path: Path, text: str, expected: Any, ending: str) -> None:
    (tmp_path / f"x.{ending}").write_text(text, "utf-8")
    value, notes = packed(tmp_path / f"x.{ending}")
    assert (value.type, value.numpy().tolist()) == ("torch.DoubleTensor", expected)
    assert any("left out" in note for note in notes) == ("#" in text or "width" in text)


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [("RGB", (1, 2, 3), [1, 2, 3]), ("RGBA", (1, 2, 3, 4), [1, 2, 3, 4]), ("L", 7, [7]), ("1", 1, [255])],
)
def test_pictures(tmp_path: Path, mode: str, pixel: Any, expected: list[int]) -> None:
    picture = Image.new(mode, (4, 3))
    picture.putpixel((1, 2), pixel)
    picture.save(tmp_path / "x.png")
    value, notes = packed(tmp_path / "x.png")
    assert (value.type, value.size) == ("torch.ByteTensor", (len(expected), 3, 4))
    assert value.numpy()[:, 2, 1].tolist() == expected
    assert "image.load of Torch7 gives them divided by 255" in notes[0]


def test_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["train/data"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        file["train/data"].attrs["unit"] = "m"
        file["names"] = ["a", "ä"]
        file.create_dataset("zip", data=np.arange(300), compression="gzip")
    value, notes = packed(tmp_path / "x.h5")
    assert value["train"]["data"].numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (value["names"].list(), value["zip"].type) == (["a", "ä"], "torch.LongTensor")
    assert notes == ["1 attributes of /train/data are left out"]


def write_wrong(folder: Path) -> None:
    torch.save(torch.nn.Linear(2, 3), folder / "objects.pt")
    torch.save({"a": torch.ones(2, dtype=torch.bfloat16)}, folder / "bf16.pt")
    torch.save({"a": [1, None]}, folder / "none.pt")
    torch.save({"a": 2**53 + 1}, folder / "large.pt")
    torch.save({"a": torch.eye(3).to_sparse()}, folder / "sparse.pt")
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    torch.save(deep, folder / "deep.pt")
    (folder / "torn.pt").write_bytes(b"PK\x03\x04")
    for name, text in {
        "ragged": "1,2\n3\n", "word": "1,2\n3,x\n", "gap": "1,,2\n", "none": "a,b\n", "whole": "9007199254740993\n",
        "many": "1e999\n", "under": "1_000\n", "mark": '1,"2\n', "part": "a,1\n", "bytes": "\udcff",
    }.items():  # fmt: skip
        (folder / f"{name}.csv").write_text(text, "utf-8", "surrogateescape")
    Image.new("CMYK", (2, 2)).save(folder / "cmyk.jpg")
    (folder / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "secret.h5").write_bytes(b"")
    with h5py.File(folder / "link.h5", "w") as file:
        file["a"] = h5py.ExternalLink("secret.h5", "/b")
    with h5py.File(folder / "soft.h5", "w") as file:
        file["b"] = h5py.SoftLink("/c")
    with h5py.File(folder / "cycle.h5", "w") as file:
        file["a/b"] = file.create_group("c")
        file["c/a"] = file["a"]
    with h5py.File(folder / "bomb.h5", "w") as file:
        file.create_dataset("x", (2**40,), np.uint8, chunks=(2**20,))
    (folder / "torn.h5").write_bytes(b"\x89HDF\r\n\x1a\n")


WRONG = {
    "objects.pt": "holds more than tensors",
    "bf16.pt": "a is of bfloat16",
    "none.pt": "a.2 is None, a NoneType, which Lua has not",
    "large.pt": "no Lua number equals",
    "sparse.pt": "sparse",
    "deep.pt": "nested deeper",
    "torn.pt": "or is damaged",
    "ragged.csv": "line 2 has 1 columns, those above 2",
    "word.csv": "line 2: 'x' is no number",
    "gap.csv": "line 1: a column is empty",
    "none.csv": "it holds no numbers",
    "whole.csv": "a whole number that no double equals",
    "many.csv": "more than a double holds",
    "under.csv": "'1_000' is no number",
    "mark.csv": "line 1",
    "part.csv": "'a' is no number",
    "bytes.csv": "can't be read",
    "cmyk.jpg": "of the kind CMYK",
    "torn.png": "read as a picture",
    "link.h5": "/a is a link",
    "soft.h5": "/b is a link",
    "cycle.h5": "in itself, or in two places",
    "bomb.h5": "unpacks to 1,099,511,627,776 numbers",
    "torn.h5": "can't be read",
}


def test_what_does_not_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_wrong(tmp_path)
    said = {}
    for name in WRONG:
        with pytest.raises(SystemExit) as stopped:
            cli.main(["pack", name, "-o", "out.t7", "--json"])
        said[name] = (stopped.value.code, json.loads(capsys.readouterr().out)["error"]["message"])
    assert {name: (2, text in said[name][1]) for name, text in WRONG.items()} == {
        name: (code, True) for name, (code, _) in said.items()
    }, said
    assert not Path("out.t7").exists()


def test_the_command_says_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("width,height\n3,4\n")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["pack", str(tmp_path / "x.csv"), "-o", str(tmp_path / "x.t7")])
    assert not stopped.value.code
    assert "is taken for names and left out" in " ".join(capsys.readouterr().out.split())

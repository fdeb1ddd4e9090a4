"""What extract says of data sets, and one picture file for each image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lua
import numpy as np
import pytest
from click.testing import CliRunner

import torchmigrate as tm
from torchmigrate.cli.main import cli
from torchmigrate.extract.data_sets import data_sets
from torchmigrate.extract.extract import extract


def images(count: int, channels: int = 3) -> Any:
    return np.arange(count * channels * 5 * 4, dtype="u1").reshape(count, channels, 5, 4)


SPLITS = {
    "train": {"data": images(6), "labels": np.array([1, 2, 2, 3, 1, 2], "u1")},
    "test": {"data": images(2), "labels": [3.0, 1.0]},
}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            SPLITS,
            [
                "train: 6 samples in data (6x3x5x4 Byte), labels in labels: 3 classes: 1 (2), 2 (3), 3 (1)",
                "test: 2 samples in data (2x3x5x4 Byte), labels in labels: 2 classes: 1 (1), 3 (1)",
            ],
        ),
        (
            {"X": lua.numbers(30, 7), "y": np.arange(30.0) % 15 + 1},
            ["the data set: 30 samples in X (30x7 Double), labels in y: 15 classes, 1 to 15, of 2 to 2 samples each"],
        ),
        (
            {"trData": lua.numbers(4, 2), "trLabels": np.ones((4, 1)), "other": lua.numbers(3, 2)},
            ["the data set: 4 samples in trData (4x2 Double), labels in trLabels: 1 class: 1 (4)"],
        ),
        (
            [[lua.numbers(3, 2), 1.0], [lua.numbers(3, 2), 2.0], [lua.numbers(3, 2), 2.0]],
            ["the data set: 3 pairs, of a tensor 3x2 and a label: 2 classes: 1 (1), 2 (2)"],
        ),
        ([[lua.numbers(3), lua.numbers(4)], [lua.numbers(2), lua.numbers(4)]], ["of various sizes and one 4"]),
        ({"weight": lua.numbers(4, 2), "bias": lua.numbers(4)}, []),
        ({"data": lua.numbers(4, 2), "labels": lua.numbers(4)}, []),  # no whole numbers
        ({"data": lua.numbers(4, 2), "labels": np.ones(5)}, []),
    ],
)
def test_splits_and_labels(value: Any, told: list[str]) -> None:
    found = data_sets(lua.value(value))
    assert len(found) == len(told)
    assert all(line.endswith(end) for line, end in zip(found, told, strict=True)), found


def test_a_picture_of_each_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    tm.dump({**SPLITS["train"], "mean": np.linspace(-1, 1, 20).reshape(5, 4)}, "train.t7")
    words = ["extract", "train.t7", "--png", "pictures", "--json"]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert done.return_value == 0, done.output
    notes = json.loads(done.output)["notes"]
    assert notes[-1].startswith("the data set: 6 samples in data")
    assert notes[:-1] == [
        "data-*.png: 6 of data; bytes are colours",
        "mean.png: 1 of mean; -1 is black and 1 is white",
    ]
    files = sorted(path.name for path in Path("pictures").iterdir())
    assert files == [".torchmigrate", *(f"data-{i}.png" for i in range(1, 7)), "mean.png"]
    for i, one in enumerate(images(6), 1):
        with image.open(f"pictures/data-{i}.png") as opened:
            assert np.array_equal(np.asarray(opened), one.transpose(1, 2, 0))
    with image.open("pictures/mean.png") as opened:
        assert np.asarray(opened)[0].tolist() == [0, 13, 27, 40]
    assert "exists already" in str(CliRunner().invoke(cli, words).exception)
    assert CliRunner().invoke(cli, [*words, "--force"], standalone_mode=False).return_value == 0
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("keep")
    for target in ("mine", ".", "train.t7/x"):
        assert CliRunner().invoke(cli, ["extract", "train.t7", "--png", target, "--force"]).exception is not None
    assert Path("mine/letter.txt").read_text() == "keep"
    extract("train.t7", key="mean", preview="one.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "one.png", "pictures", "train.t7"]

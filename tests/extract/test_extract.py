"""What extract takes out of a file, and that it says what it leaves there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden
import lua
import numpy as np
import pytest
from safetensors.numpy import load_file

import torchmigrate as tm
from torchmigrate.cli import main as cli
from torchmigrate.extract.entry_names import entry_name
from torchmigrate.extract.extract import extract
from torchmigrate.t7.as_json import ToJson, from_json, json_text

CHARRNN = golden.MODELS / "charrnn_checkpoint.t7"
MLP = golden.MODELS / "mlp_batchnorm_regression.t7"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(word) for word in words])
    return int(stopped.value.code or 0)


def test_options_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("extract", CHARRNN, "--key", "opt", "-o", tmp_path / "opt.json") == 0
    assert "opt.json" in capsys.readouterr().out
    written = (tmp_path / "opt.json").read_text()
    expected = dict(tm.load(CHARRNN)["opt"].items())
    assert json.loads(written) == expected
    assert run("extract", CHARRNN, "--key", "opt") == 0
    assert capsys.readouterr().out == written


def test_what_json_leaves_out_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("extract", CHARRNN) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["protos"]["rnn"] == {"$class": "nn.gModule"}
    assert found["optim_state"]["m"].keys() == {"$tensor", "size", "min", "max", "mean"}
    left = shown.err
    assert "protos.rnn: the fields of a nn.gModule" in left
    assert "optim_state.m: the numbers of <torch.FloatTensor of size 4948>" in left
    assert "val_losses: its keys that are numbers in Lua are text here" in left
    assert run("extract", CHARRNN, "-q") == 0
    assert capsys.readouterr().err == ""


def test_statistics_of_summaries() -> None:
    values = np.arange(100, dtype="f8")
    values[[3, 50]] = np.nan, np.inf
    made = ToJson().convert(lua.value(values))
    finite = values[np.isfinite(values)]
    assert made == {
        "$tensor": "torch.DoubleTensor", "size": [100], "not_finite": 2,
        "min": 0, "max": 99, "mean": finite.mean(),
    }  # fmt: skip


SHARED = lua.value({"a": 1})

ROUND_TRIPS = [
    lua.value({"text": "ä\n", "number": 1.5, "whole": 3, "yes": True, "list": [1, [2, "x"]], "empty": {}}),
    lua.value([float("nan"), float("inf"), -float("inf"), -0.0, 1e300, 2.0**53]),
    lua.value({0: "a", 2: "b"}),
    lua.value({"1": "text", 1: "number"}),
    lua.value({True: "yes", False: "no", 2.5: "half"}),
    lua.value({"$tensor": "a key that looks like ours"}),
    lua.value({"a/b~c": SHARED, "d": [SHARED, SHARED]}),
    lua.value([b"\xff\x00 not text"]),
    lua.value(lua.numbers(3, 2, 4)),
    lua.value(np.array([[1, 200], [3, 255]], np.uint8)),
    lua.value(np.array([2**62 + 1, -5], np.int64)),
    lua.value(np.array([0.1, float("nan")], np.float32)),
    lua.value(np.array([0.1, 3], np.float16)),
    tm.Storage("torch.LongStorage", np.array([2, 3], np.int64)),
    lua.linear(3, 2),
    lua.module("my.Data", version=3, items=[1, 2]),
    None,
    "text",
]


@pytest.mark.parametrize("value", ROUND_TRIPS, ids=range(len(ROUND_TRIPS)))
def test_full_json_comes_back(value: Any, tmp_path: Path) -> None:
    converter = ToJson(full=True)
    text = json_text(converter.convert(value))
    assert converter.left_out == []
    json.loads(text, parse_constant=pytest.fail)
    for name, item in (("one.t7", value), ("two.t7", from_json(text))):
        tm.dump(item, tmp_path / name)
    assert (tmp_path / "one.t7").read_bytes() == (tmp_path / "two.t7").read_bytes()


def test_cycles_and_shared_tables_are_references() -> None:
    table = lua.value({"list": [1]})
    table["me"] = table
    table["again"] = table["list"]
    made = ToJson().convert(table)
    assert made == {"list": [1], "me": {"$ref": "#"}, "again": {"$ref": "#/list"}}
    back = from_json(json.dumps(made))
    assert back["me"] is back
    assert back["again"] is back["list"]


@pytest.mark.parametrize("path", sorted((golden.FIXTURES / "values").glob("*.t7")), ids=lambda path: path.name)
def test_every_kind_of_value_is_valid_json(path: Path, tmp_path: Path) -> None:
    for full in (False, True):
        found = extract(path, full=full)
        json.loads(json_text(found.value), parse_constant=pytest.fail)


def test_deep_tables_are_refused(tmp_path: Path) -> None:
    table = tm.LuaTable()
    top = table
    for _ in range(3000):
        table["x"] = tm.LuaTable()
        table = table["x"]
    tm.dump(top, tmp_path / "deep.t7")
    for output in (None, tmp_path / "deep.json", tmp_path / "deep.npz"):
        with pytest.raises(tm.UsageError):
            extract(tmp_path / "deep.t7", output)
    assert [path.name for path in tmp_path.iterdir()] == ["deep.t7"]


DATASET = lua.value(
    {
        "data": np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5),
        "labels": np.array([1, 2], np.float64),
        "half": np.array([[1.5, 2.5]], np.float16),
        "classes": ["cat", "dog"],
        "nested": {"mean": np.array([0.25], np.float32)},
    }
)


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_data_sets_of_tensors(ending: str, tmp_path: Path) -> None:
    tm.dump(DATASET, tmp_path / "train.t7")
    output = tmp_path / f"train.{ending}"
    found = extract(tmp_path / "train.t7", output)
    assert found.left_out == ["classes.1: 'cat'", "classes.2: 'dog'"]
    arrays = dict(np.load(output)) if ending == "npz" else load_file(output)
    assert {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()} == {
        "data": "uint8 (2, 3, 4, 5)",
        "labels": "float64 (2,)",
        "half": "float16 (1, 2)",
        "nested.mean": "float32 (1,)",
    }
    assert np.array_equal(arrays["data"], DATASET["data"].numpy())
    first = output.read_bytes()
    extract(tmp_path / "train.t7", output, force=True)
    assert output.read_bytes() == first


def test_views_are_cut_out(tmp_path: Path) -> None:
    storage = tm.Storage("torch.FloatStorage", np.arange(12, dtype="<f4"))
    view = tm.Tensor("torch.FloatTensor", (2, 3), (1, 4), 2, storage)
    tm.dump(lua.value({"view": view, "same": view}), tmp_path / "view.t7")
    found = extract(tmp_path / "view.t7", tmp_path / "view.npz")
    assert found.left_out == ["same: the same as view"]
    assert np.load(tmp_path / "view.npz")["view"].tolist() == [[1, 5, 9], [2, 6, 10]]


def test_one_tensor_as_npy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = "model.modules.1.weight"
    assert run("extract", MLP, "--key", key, "-o", tmp_path / "w.npy", "--json") == 0
    assert json.loads(capsys.readouterr().out)["tensors"] == {key: "float64 32x13"}
    expected = tm.load(MLP)["model"]["modules"][1]["weight"].numpy()
    assert np.array_equal(np.load(tmp_path / "w.npy"), expected)
    tm.dump([1, 2.5], tmp_path / "list.t7")
    extract(tmp_path / "list.t7", tmp_path / "list.npy")
    assert np.load(tmp_path / "list.npy").tolist() == [1, 2.5]


def test_a_part_as_t7(tmp_path: Path) -> None:
    extract(MLP, tmp_path / "model.t7", key="model")
    assert tm.convert(tmp_path / "model.t7").classes == tm.convert(MLP).classes


def test_keys_with_dots(tmp_path: Path) -> None:
    tm.dump({"a.b": {"c": 1}, "a": {"b": {"c": 2}}}, tmp_path / "x.t7")
    assert extract(tmp_path / "x.t7", key="a.b.c").value == 1


def test_names_are_safe() -> None:
    assert entry_name("../../etc/passwd") == "%2E%2E%2F.%2E%2Fetc%2Fpasswd"
    assert entry_name("a b.ü\x1b") == "a%20b.%C3%BC%1B"
    assert entry_name("modules.1.weight") == "modules.1.weight"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "out.doc"], "should end in .json"),
        (["-o", "out.npy"], "--key chooses one: "),
        (["--key", "opt", "-o", "out.npz"], "no tensor in table of"),
        (["--key", "nowhere", "-o", "out.json"], "There is no key 'nowhere'"),
        (["--key", "opt", "--png", "out.png"], "No tensor here looks like images"),
        (["-o", "there.json"], "--force"),
        (["-o", "folder.json"], "is a folder"),
    ],
)
def test_wrong_calls_leave_nothing(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.json").write_text("mine")
    Path("folder.json").mkdir()
    assert run("extract", CHARRNN, *words) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.json", "there.json"]
    assert Path("there.json").read_text() == "mine"


PICTURES = [
    (np.array([[0, 255], [128, 64], [1, 2]], np.uint8), (2, 3), "L", "bytes are colours"),
    (np.linspace(0, 1, 3 * 4 * 5).reshape(3, 4, 5), (5, 4), "RGB", "0 is black and 1 is white"),
    (np.linspace(-1, 1, 4 * 5).reshape(1, 4, 5), (5, 4), "L", "-1 is black and 1 is white"),
    (np.full((7, 3, 4, 5), 200.0), (17, 14), "RGB", "0 is black and 255 is white"),
    (np.linspace(-3, 5, 7 * 4 * 6).reshape(7, 4, 6), (20, 14), "L", "-3 is black and 5 is white"),
]


@pytest.mark.parametrize(("array", "size", "mode", "scale"), PICTURES)
def test_pictures(
    array: Any, size: tuple[int, int], mode: str, scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr("torchmigrate.extract.preview._WIDTH", 1)
    tm.dump(lua.value({"labels": np.ones(3), "images": array}), tmp_path / "data.t7")
    found = extract(tmp_path / "data.t7", preview=tmp_path / "data.png")
    with image.open(tmp_path / "data.png") as opened:
        assert (opened.size, opened.mode) == (size, mode)
        corner = opened.getpixel((0, 0))
    assert scale in found.notes[0]
    assert "images" in found.notes[0]
    if array.dtype == np.uint8:
        assert corner == 0
    if mode == "RGB":
        assert "red, green, blue" in found.notes[1]


def test_small_pictures_are_enlarged(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    tm.dump(lua.value(np.eye(3)), tmp_path / "eye.t7")
    extract(tmp_path / "eye.t7", preview=tmp_path / "eye.png")
    with image.open(tmp_path / "eye.png") as opened:
        assert opened.size == (48, 48)
        assert (opened.getpixel((0, 0)), opened.getpixel((20, 0))) == (255, 0)

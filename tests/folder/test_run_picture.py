"""`run` on pictures that the model does not take as they are."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import golden
import lua
import numpy as np
import pytest
import torch
from PIL import Image

import torchmigrate as tm
from torchmigrate.cli.main import main
from torchmigrate.cli.printing import terminal
from torchmigrate.folder.run import ConvertOptions, convert_file


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(map(str, words)))
    return int(str(stopped.value.code))


def classifier(planes: int, pixels: int = 24) -> tm.LuaObject:
    """Takes pictures of so many pixels; its View makes of others as many samples as they are larger."""
    sizes = {"nInputPlane": planes, "nOutputPlane": 3, "kW": 1, "kH": 1, "dW": 1, "dH": 1, "padW": 0, "padH": 0}
    weight, bias = lua.numbers(3, planes, 1, 1, dtype="f4"), lua.numbers(3, dtype="f4")
    convolution = lua.module("nn.SpatialConvolution", weight=weight, bias=bias, **sizes)
    view = lua.module("nn.View", size=[3 * pixels], numElements=3 * pixels)
    return lua.sequential(convolution, view, lua.linear(3 * pixels, 4, dtype="f4"))


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


def test_one_picture_is_not_read_as_several(cat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = cat.with_name("net.t7")
    tm.dump(classifier(3), file)
    words = ["run", file, cat, "--mean", "0", "--std", "1"]
    assert run(*words) == 2
    assert "Of one picture, 1x3x12x8, the model gives 4x4, as of 4 pictures: it takes another size" in (
        capsys.readouterr().err
    )
    assert run(*words, "--size", "6x4", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["labels"]) == 4


def prepared(folder: Path) -> Any:
    """The folder's preprocess.py."""
    code: Any = importlib.util.spec_from_file_location("preprocess", folder / "preprocess.py")
    module = importlib.util.module_from_spec(code)
    code.loader.exec_module(module)
    return module


def test_a_model_of_one_plane_gets_a_grey_picture(cat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = cat.with_name("net.t7"), cat.with_name("net")
    tm.dump(lua.value({"model": classifier(1), "mean": [0.25], "std": [0.5]}), file)
    convert_file(file, folder, ConvertOptions(no_onnx=True, no_verify=True), str)
    assert run("run", file, cat, "--size", "6x4", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["input"].startswith("1x1x6x4, ")
    assert found["input"].endswith("grey, since the model takes one plane")
    with Image.open(cat) as picture:
        grey = np.asarray(picture.convert("L"), dtype="f4") / 255
        given = prepared(folder).preprocess(picture)
        torch.testing.assert_close(given, torch.from_numpy((grey - 0.25) / 0.5)[None, None])
        given = prepared(folder).preprocess(picture.convert("L").resize((4, 6), Image.Resampling.BILINEAR))
    with torch.no_grad():
        expected = tm.convert(file)(given).reshape(-1).sort(descending=True).values
    assert [one["value"] for one in found["labels"]] == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_picture_is_scaled_and_cut_as_the_file_says(cat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = cat.with_name("net.t7"), cat.with_name("net")
    options = {"loadSize": 10, "cropSize": [3, 11, 8]}
    tm.dump(lua.value({"model": classifier(3, 88), "opt": options, "mean": [0.25], "std": [0.5]}), file)
    convert_file(file, folder, ConvertOptions(no_onnx=True, no_verify=True), str)
    with Image.open(cat) as picture:
        scaled = np.asarray(picture.resize((10, 15), Image.Resampling.BILINEAR), dtype="f4") / 255
        expected = torch.from_numpy((scaled[2:13, 1:9] - 0.25) / 0.5).permute(2, 0, 1)[None]
        torch.testing.assert_close(prepared(folder).preprocess(picture), expected)
        with pytest.raises(ValueError, match="the picture is smaller than 11x8: 10x30"):
            prepared(folder).preprocess(picture.resize((24, 8)))
    assert "First the shorter side is scaled to 10 (opt.loadSize), bilinear." in (folder / "preprocess.py").read_text()
    said = "the shorter side scaled to 10 (opt.loadSize), the middle 11x8 (opt.cropSize)"
    values = tm.convert(file)(expected).reshape(-1).sort(descending=True).values
    for source in (file, folder):
        assert run("run", source, cat, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert said in found["input"]
        assert [one["value"] for one in found["labels"]] == pytest.approx(values.tolist(), rel=1e-4)
    assert run("run", file, cat, "--size", "8x8") == 2  # which is neither scaled nor cut further
    assert "1x3x8x8" in capsys.readouterr().err
    with Image.open(cat) as picture:
        picture.resize((24, 8)).save(cat)
    assert run("run", file, cat) == 2
    assert "The picture has 10x30 pixels, of which the file takes the middle 11x8" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["cat.png", "--mean", "0", "--std", "1", "--size", "6x4"], ["--seed-text", "ab"]])
def test_the_progress_has_ended_where_the_answer_is_printed(
    words: list[str], cat: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(cat.parent)
    tm.dump(classifier(3), "net.t7")
    model = golden.MODELS / "charrnn_checkpoint.t7" if "--seed-text" in words else "net.t7"
    monkeypatch.setattr(terminal, "progress", Noted)
    assert run("run", model, *words) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == "the progress ends"
    assert len(printed.splitlines()) > 1


class Noted:
    """Takes the place of the display of what is being done."""

    def __init__(self, silent: bool) -> None:
        self.silent = silent

    def __enter__(self) -> Any:
        return str

    def __exit__(self, *error: object) -> None:
        print("the progress ends")  # noqa: T201

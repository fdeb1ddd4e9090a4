"""Layers with names of their own, as files of loadcaffe have them, keep these in model.py, config.json and inspect."""

from __future__ import annotations

import json
from pathlib import Path

import lua
import numpy as np
import pytest
import torch

import torchmigrate as tm
from torchmigrate.base.errors import UsageError
from torchmigrate.cli import main as cli
from torchmigrate.source.generate import Source, generate


def conv(inputs: int, outputs: int, name: str) -> tm.LuaObject:
    fields = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": 3, "kH": 3, "dW": 1, "dH": 1, "padW": 1, "padH": 1}
    weight, bias = lua.numbers(outputs, inputs, 3, 3, dtype="f4"), lua.numbers(outputs, dtype="f4")
    return lua.module("nn.SpatialConvolution", **fields, weight=weight, bias=bias, name=name)


def relu(name: str) -> tm.LuaObject:
    return lua.module("nn.ReLU", threshold=0, val=0, inplace=True, name=name)


def view(name: str) -> tm.LuaObject:
    size = tm.Storage("torch.LongStorage", np.array([5 * 4 * 4]))
    return lua.module("nn.View", size=size, numElements=5 * 4 * 4, name=name)


def network(*names: str) -> tm.LuaObject:
    first, second, head = names
    pool = lua.module("nn.SpatialMaxPooling", kW=2, kH=2, dW=2, dH=2, padW=0, padH=0, ceil_mode=False, name="pool1")
    layers = [conv(3, 4, first), relu("relu1_1"), conv(4, 5, second), relu("relu1_2"), pool, view("torch_view")]
    linear = lua.linear(80, 7, dtype="f4")
    return lua.sequential(*layers, lua.module(linear.typename, **{**dict(linear.items()), "name": head}))


def source(value: tm.LuaObject) -> Source:
    return generate(tm.convert(value), torch.randn(2, 3, 8, 8))


def test_attributes_have_them() -> None:
    found = source(network("conv1_1", "conv1_2", "fc-8"))
    assert list(found.state) == [
        f"{name}.{kind}" for name in ("conv1_1", "conv1_2", "fc_8") for kind in ("weight", "bias")
    ]
    assert "x = torch.relu(self.conv1_2(torch.relu(self.conv1_1(x))))\n" in found.text
    assert "return self.fc_8(self.pool1(x).flatten(1))\n" in found.text


@pytest.mark.parametrize(
    ("names", "attributes"),
    [
        (("conv", "conv", "fc8"), {"conv1", "conv2", "fc8"}),
        (("type", "float", "children"), {"type_", "float_", "children_"}),
        (("1", "class", "torch"), {"layer_1", "class_", "torch_"}),
        (("", "", ""), {"conv1", "conv2", "linear"}),
    ],
)
def test_names_that_cannot_be_taken_as_they_are(names: tuple[str, ...], attributes: set[str]) -> None:
    """Two of one name; those that nn.Module has; what Python does not take; none."""
    found = source(network(*names))
    assert {name.partition(".")[0] for name in found.state} == attributes


def inspected(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit):
        cli.main(["inspect", *map(str, words)])
    return capsys.readouterr().out


def test_files_and_inspect_say_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tm.dump(network("conv1_1", "conv1_2", "fc8"), tmp_path / "vgg.t7")
    assert "1 nn.SpatialConvolution 'conv1_1' weight 4x3x3x3" in inspected(capsys, tmp_path / "vgg.t7")
    told = json.loads(inspected(capsys, tmp_path / "vgg.t7", "--json"))
    nodes = told["models"][0]["tree"]["children"]
    assert [node["name"] for node in nodes][-3:] == ["pool1", "torch_view", "fc8"]
    tm.convert(tmp_path / "vgg.t7").save(tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["layers"][1] == {"path": "1", "class": "nn.SpatialConvolution", "name": "conv1_1", "module": "0"}
    assert "name" not in config["layers"][0]
    tm.load_converted(tmp_path / "out")
    config["layers"][1]["name"] = 5
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"layers\[1\].name should be a text"):
        tm.load_converted(tmp_path / "out")

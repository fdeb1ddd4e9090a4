"""A folder is a package, whose class is named after the file; several live in one process."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import lua
import pytest
import torch

import torchmigrate as tm
from torchmigrate.source.writing.layout import class_name


def test_two_folders_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    made = {}
    for name, size in (("first_net", 3), ("second-net", 4)):
        tm.dump(lua.sequential(lua.linear(size, 2, dtype="f4"), lua.module("nn.Tanh")), tmp_path / f"{name}.t7")
        folder = tm.convert(tmp_path / f"{name}.t7").save(tmp_path / f"folder_{size}")
        package = importlib.import_module(folder.name)
        made[size] = package
        model = package.Model.from_pretrained(str(folder), device="cpu")
        assert model.training is False
        assert model(torch.ones(5, size)).shape == (5, 2)
        assert package.Model.__doc__.startswith(f"Input: (N, {size}) float32.")
        assert package.Model.from_pretrained.__doc__
    assert made[3].FirstNet is made[3].Model
    assert made[4].SecondNet is made[4].Model
    assert made[3].Model is not made[4].Model
    for name in ("folder_3", "folder_3.model", "folder_4", "folder_4.model"):
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    ("file", "taken", "name"),
    [
        ("resnet_bottleneck_B.t7", set(), "ResnetBottleneckB"),
        ("vgg-16.net", set(), "Vgg16"),
        ("16.t7", set(), "Model16"),
        ("", set(), "Model"),
        ("名前.t7", set(), "Model"),
        ("None.t7", set(), "ModelNone"),
        ("ValueError.t7", set(), "ModelValueError"),
        ("tensor.t7", set(), "TensorModel"),
        ("batch_norm.t7", {"BatchNorm"}, "BatchNormModel"),
        ("model.t7", set(), "Model"),
        ("any/where/lenet.t7", set(), "Lenet"),
    ],
)
def test_names_of_classes(file: str, taken: set[str], name: str) -> None:
    assert class_name(file, taken) == name

"""Tensors that stand in several places: written once, tied in model.py, and all names load strictly."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lua
import networks
import pytest
import torch
from networks import chain
from safetensors.torch import load_file

import torchmigrate as tm


def one_weight() -> tm.LuaObject:
    first, second = networks.linear(5, 5), networks.linear(5, 5)
    second.fields["weight"] = first["weight"]
    return chain(first, networks.RELU, second)


def one_module() -> tm.LuaObject:
    layer = networks.linear(5, 5)
    return chain(networks.table("ConcatTable", layer, chain(layer, networks.RELU)), lua.module("nn.CAddTable"))


def of_doubles() -> tm.LuaObject:
    layers = [lua.linear(5, 5), lua.linear(5, 5)]
    layers[1].fields["bias"] = layers[0]["bias"]
    return chain(*layers)


def one_buffer() -> tm.LuaObject:
    """Two batch norms whose running mean is one tensor."""
    fields = {name: lua.numbers(5, dtype="f4") ** 2 for name in ("weight", "bias", "running_mean", "running_var")}
    layers = [lua.module("nn.BatchNormalization", eps=1e-5, momentum=0.1, affine=True, **fields) for _ in range(2)]
    layers[1].fields["running_mean"] = layers[0]["running_mean"]
    return chain(*layers)


CASES = [one_weight, one_module, of_doubles, one_buffer]


def module_of(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("generated", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("make", CASES)
def test_each_tensor_is_written_once_and_loads_strictly(make: Callable[[], tm.LuaObject], tmp_path: Path) -> None:
    conv = tm.convert(make())
    folder = conv.save(tmp_path / "net")
    state = load_file(folder / "model.safetensors")
    assert len({id(tensor) for tensor in conv.module.state_dict(keep_vars=True).values()}) == len(state)
    generated = module_of(folder)
    model = generated.Model()
    model.load_state_dict(state, strict=True)
    given = torch.rand(3, 5, dtype=next(model.parameters()).dtype)
    expected = conv.module(given)
    again = tm.load_converted(folder)
    copied = generated.Model()
    copied.load_state_dict(model.state_dict(), strict=True)
    for each in (model, generated.Model.from_pretrained(str(folder)), again, copied, copy.deepcopy(model)):
        assert torch.equal(each.eval()(given), expected)
        assert len(list(each.parameters())) == len(list(conv.module.parameters()))


def test_a_model_inside_another_loads_strictly(tmp_path: Path) -> None:
    folder = tm.convert(one_weight()).save(tmp_path / "net")
    state = {f"inner.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    outer = torch.nn.ModuleDict({"inner": module_of(folder).Model()})
    outer.load_state_dict(state, strict=True)


def test_a_module_in_many_places_takes_its_size_once(tmp_path: Path) -> None:
    layer = networks.linear(50, 50)
    folder = tm.convert(chain(*[layer, lua.module("nn.Tanh")] * 50)).save(tmp_path / "net")
    assert (folder / "model.safetensors").stat().st_size < 15_000

"""Makes Lua objects for tests, as Torch7 would have saved them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import torchmigrate as tm


def module(typename: str, version: int = 1, **fields: Any) -> tm.LuaObject:
    """An object of a class; numpy arrays become tensors, lists tables, ints numbers."""
    return tm.LuaObject(typename, tm.LuaTable((name, value(item)) for name, item in fields.items()), version=version)


def value(item: Any) -> tm.LuaTable | Any:
    """The Lua value of a Python one."""
    if isinstance(item, np.ndarray):
        return tm.Tensor.from_numpy(item)
    if isinstance(item, list):
        return tm.LuaTable.from_list(value(entry) for entry in item)
    if isinstance(item, dict):
        return tm.LuaTable((key, value(entry)) for key, entry in item.items())
    if isinstance(item, int) and not isinstance(item, bool):
        return float(item)
    return item


def numbers(*shape: int, seed: int = 0, dtype: str = "f8") -> npt.NDArray[Any]:
    """Random numbers, the same each time."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def linear(inputs: int, outputs: int, seed: int = 0, dtype: str = "f8") -> tm.LuaObject:
    """nn.Linear(inputs, outputs)"""
    weight, bias = numbers(outputs, inputs, seed=seed, dtype=dtype), numbers(outputs, seed=seed + 1, dtype=dtype)
    return module("nn.Linear", weight=weight, bias=bias)


def sequential(*modules: tm.LuaObject) -> tm.LuaObject:
    """nn.Sequential():add(…):add(…)"""
    return module("nn.Sequential", modules=list(modules))


def tensor_view(storage: tm.Storage, offset: int, *size: int) -> tm.Tensor:
    """A contiguous tensor at a 1-based offset of a storage that others share."""
    stride = [1]
    for extent in reversed(size[1:]):
        stride.insert(0, stride[0] * extent)
    kind = storage.typename.removesuffix("Storage")
    return tm.Tensor(f"{kind}Tensor", size, tuple(stride), offset, storage)

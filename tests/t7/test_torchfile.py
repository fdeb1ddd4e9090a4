"""The same files through torchfile, an independent reader, where it can read them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from t7.handwritten import FIXTURES

from torchmigrate.t7 import LuaFunction, LuaObject, LuaTable, Storage, Tensor, load, load_file

torchfile = pytest.importorskip("torchfile")

#: What torchfile raises for tensors as keys, half, GPU, timers, expanded tensors and longs of 4 bytes.
CANNOT = (TypeError, ValueError, AttributeError, KeyError, torchfile.T7ReaderException)


class Unsupported(Exception):
    """torchfile took a tensor type for a class, or merged the keys 1 and true."""


def read_with_torchfile(path: Path) -> Any:
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torchfile.T7Reader(file, use_list_heuristic=False, use_int_heuristic=False).read_obj()
        except CANNOT as error:
            raise Unsupported from error


def compare(ours: Any, theirs: Any) -> int:
    """Compares two readings object by object, each object once; returns the number of objects."""
    seen: set[int] = set()
    stack = [(ours, theirs)]
    while stack:
        a, b = stack.pop()
        if isinstance(a, str):
            assert a.encode() == b
        elif isinstance(a, Tensor | Storage):
            compare_elements(a.numpy() if isinstance(a, Tensor) else a.data, b)
        elif isinstance(a, LuaFunction):
            assert a.bytecode == bytes(b.dumped)
        elif isinstance(a, LuaObject | LuaTable):
            if id(a) in seen:
                continue
            seen.add(id(a))
            if isinstance(a, LuaObject):
                assert a.typename.encode() == b.torch_typename()
                b = b._obj
            if any(isinstance(key, bool) for key, _ in a.items()):
                raise Unsupported
            assert len(a) == len(b)
            for (our_key, our_value), (their_key, their_value) in zip(a.items(), b.items(), strict=True):
                stack += [(our_key, their_key), (our_value, their_value)]
        elif a is not None:
            assert a == b or (a != a and b != b)
    return len(seen)


def compare_elements(ours: np.ndarray[Any, Any], theirs: Any) -> None:
    if isinstance(theirs, torchfile.TorchObject):
        raise Unsupported
    assert ours.shape == theirs.shape
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("folder", ["models", "layers", "values"])
def test_torchfile_reads_the_same(folder: str) -> None:
    compared = objects = 0
    for path in sorted((FIXTURES / folder).glob("*.t7")):
        if load_file(path).format == "ascii" or path.stat().st_size > 400_000:
            continue
        try:
            objects += compare(load(path), read_with_torchfile(path))
        except Unsupported:
            continue
        compared += 1
    assert compared > 30
    assert objects > 30

"""Recognises modules that are clones of each other with the same parameters, as Torch7 makes them for time steps."""

from __future__ import annotations

from ..layer import LEFTOVERS
from ..t7 import LuaObject, LuaTable, Storage, Tensor, Value

#: Fields in which clones may differ though they compute the same.
_OWN = LEFTOVERS | {"step", "nStep", "indices", "noise", "_noise", "mask", "outputs", "gradInputs", "_gradOutputs"}


def same_module(a: Value, b: Value) -> bool:
    """Do two Lua objects hold the same parameters (not only equal ones) and the same options?"""
    todo = [(a, b)]
    met: set[tuple[int, int]] = set()
    while todo:
        one, other = todo.pop()
        if one is other or (id(one), id(other)) in met:
            continue
        met.add((id(one), id(other)))
        if type(one) is not type(other):
            return False
        if isinstance(one, Tensor):
            if not _same_region(one, other):
                return False
        elif isinstance(one, Storage):
            if one.typename != other.typename or one.data.tolist() != other.data.tolist():
                return False
        elif isinstance(one, (LuaObject, LuaTable)):
            if getattr(one, "typename", "") != getattr(other, "typename", ""):
                return False
            pairs = {key: value for key, value in one.items() if not _is_own(key)}
            others = {key: value for key, value in other.items() if not _is_own(key)}
            if pairs.keys() != others.keys():
                return False
            todo += [(value, others[key]) for key, value in pairs.items()]
        elif one != other:
            return False
    return True


def _is_own(key: Value) -> bool:
    return isinstance(key, str) and key in _OWN


def _same_region(one: Tensor, other: Tensor) -> bool:
    if not one.numel() and not other.numel():
        return True
    return (one.storage, one.offset, one.size, one.stride) == (other.storage, other.offset, other.size, other.stride)

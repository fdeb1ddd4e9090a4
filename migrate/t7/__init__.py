"""The `.t7` file format of Lua Torch7: reading it and writing it. Needs numpy only, and that only for its numbers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..errors import T7Error, TornFile
from .bodies import Body, Field
from .limits import Limits
from .reader import Loss
from .source import T7File, deserialize, load, load_file
from .values import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value

if TYPE_CHECKING:
    from .dumping import dump, dump_all
    from .values import ELEMENT_TYPES

__all__ = [
    "ELEMENT_TYPES",
    "Body",
    "Field",
    "Limits",
    "Loss",
    "LuaFunction",
    "LuaObject",
    "LuaTable",
    "Storage",
    "T7Error",
    "T7File",
    "Tensor",
    "TornFile",
    "Value",
    "deserialize",
    "dump",
    "dump_all",
    "load",
    "load_file",
]

#: What needs numpy as soon as it is imported.
_HOMES = {"ELEMENT_TYPES": "values", "dump": "dumping", "dump_all": "dumping"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = found
    return found

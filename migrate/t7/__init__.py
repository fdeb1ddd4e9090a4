"""The `.t7` file format of Lua Torch7: reading it and writing it. Needs numpy only."""

from __future__ import annotations

from ..errors import T7Error
from .bodies import Body
from .dumping import dump, dump_all
from .limits import Limits
from .source import T7File, load, load_file
from .values import ELEMENT_TYPES, LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value

__all__ = [
    "ELEMENT_TYPES",
    "Body",
    "Limits",
    "LuaFunction",
    "LuaObject",
    "LuaTable",
    "Storage",
    "T7Error",
    "T7File",
    "Tensor",
    "Value",
    "dump",
    "dump_all",
    "load",
    "load_file",
]

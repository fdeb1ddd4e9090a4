"""The `.t7` file format of Lua Torch7: reading it and writing it. Needs numpy only, and that only for its numbers."""

from __future__ import annotations

from ..base.errors import T7Error, TornFile
from .bodies import Body, Field
from .limits import Limits
from .reading.load import T7File, deserialize, load, load_file
from .reading.reader import Loss
from .values import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value

__all__ = [
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
    "load",
    "load_file",
]

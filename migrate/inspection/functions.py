"""The Lua functions of a file: where they are and who compiled them. Their code is never run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..t7 import LuaFunction, LuaObject, LuaTable, T7File
from .walk import everything

#: The first bytes of compiled code.
_COMPILERS = (
    (b"\x1bLJ\x01", "LuaJIT 2.0"),
    (b"\x1bLJ\x02", "LuaJIT 2.1"),
    (b"\x1bLua\x51", "Lua 5.1"),
    (b"\x1bLua\x52", "Lua 5.2"),
    (b"\x1bLua\x53", "Lua 5.3"),
)


@dataclass
class FunctionFound:
    """One Lua function.

    Attributes:
        path: where it is in the file.
        bytes: the size of its code.
        compiler: what compiled it, such as "LuaJIT 2.1"; "" if its code does not tell.
        upvalues: names of the variables that it closes over, as far as they are known.
    """

    path: str
    bytes: int
    compiler: str
    upvalues: list[str]


def functions_of(file: T7File) -> list[FunctionFound]:
    """Every function of a file, once."""
    return [
        FunctionFound(
            found.path, len(found.value.bytecode), compiler_of(found.value), list(_names(found.value.upvalues))
        )
        for value in file.objects
        for found in everything(value)
        if isinstance(found.value, LuaFunction)
    ]


def compiler_of(function: LuaFunction) -> str:
    """What compiled a function; "" if its code does not tell."""
    return next((name for magic, name in _COMPILERS if function.bytecode.startswith(magic)), "")


def _names(upvalues: object) -> Iterator[str]:
    for item in upvalues.list() if isinstance(upvalues, LuaTable) else []:
        name = item.get("name") if isinstance(item, (LuaTable, LuaObject)) else None
        if isinstance(name, str):
            yield name

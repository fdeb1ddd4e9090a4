"""How much an author's Lua may use."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..base.errors import UsageError


@dataclass(frozen=True)
class LuaLimits:
    """Bounds of the process in which an author's Lua runs. The defaults are far above what a definition needs.

    Attributes:
        seconds: by the clock, the start of the process included; on Linux without the time in which it waited for a
            processor that others had.
        cpu_seconds: of the processor.
        lua_bytes: of Lua's own memory: strings, tables, functions.
        memory_bytes: that the process may ask for beyond what Python and PyTorch take (Linux only).
        elements: that the tensors which are alive may have together, and that one operation may expand to.
        result_bytes: of the result, as a .t7 file.
        printed_bytes: of what the Lua prints; the rest is cut off.
        file_bytes: of one file that it reads.
    """

    seconds: int = 120
    cpu_seconds: int = 120
    lua_bytes: int = 512 << 20
    memory_bytes: int = 16 << 30
    elements: int = 1 << 30
    result_bytes: int = 8 << 30
    printed_bytes: int = 64 << 10
    file_bytes: int = 4 << 30

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise UsageError(f"LuaLimits.{field.name} must be a whole number above 0, not {value!r}")


DEFAULT_LUA_LIMITS = LuaLimits()

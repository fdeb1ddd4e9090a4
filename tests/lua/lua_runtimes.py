"""A Lua of the product in the process of the tests, where no attack is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torchmigrate.lua.folders import Folders
from torchmigrate.lua.limits import LuaLimits
from torchmigrate.lua.result import Results
from torchmigrate.lua.runtime import Runtime


def runtime(folder: Path | str = ".", run: int = 0, limits: LuaLimits | None = None, dialect: str = "lua51") -> Runtime:
    """A Lua that reads the files below a folder."""
    limits = limits or LuaLimits(lua_bytes=128 << 20, elements=1 << 24)
    return Runtime(Folders([str(folder)], limits.file_bytes), limits, run, dialect=dialect)


def evaluated(lua: Runtime, text: str) -> list[Any]:
    """All that a chunk returns, as values of a .t7."""
    made = lua.host.compile(text, "=row")
    assert not isinstance(made, tuple), made[1]
    found = lua.guarded(made)
    return [Results(lua).value(value) for value in (found if isinstance(found, tuple) else (found,))]

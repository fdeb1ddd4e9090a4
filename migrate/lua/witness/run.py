"""Has Torch7's own Lua run a model, in a process of its own."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from typing import Any

from ...base.errors import UsageError
from ...t7 import LuaObject, LuaTable, Value
from ...t7.writing.dump import dump
from ..layers.run import lua_files
from ..limits import DEFAULT_LUA_LIMITS, LuaLimits
from ..sandbox import run


def run_model(
    model: LuaObject,
    given: Value,
    script: str,
    *,
    torch7_source: str | os.PathLike[str],
    lua: Iterable[str | os.PathLike[str]] = (),
    options: Sequence[str] = (),
    limits: LuaLimits = DEFAULT_LUA_LIMITS,
) -> LuaTable:
    """Runs a model with Torch7's own Lua, whose kernels PyTorch computes.

    Args:
        model: the model, a value from `load()`.
        given: its input.
        script: the text of dump_reference.lua.
        torch7_source: a folder with checkouts of Torch7's packages, such as `DIR/nn` and `DIR/rnn`.
        lua: authors' files that define classes of the model.
        options: more options of the script.
        limits: what the Lua may use.

    Returns:
        What the script writes: a table with input, output and layers, among others.

    Raises:
        UsageError: there is no such folder or file, or the extra `lua` is not installed.
        LuaFailed: the Lua ended with an error; it has no kernel, or no class of the model, for example.
        LimitExceeded: the Lua was stopped.
    """
    if not os.path.isdir(torch7_source):
        raise UsageError(f"{os.fspath(torch7_source)} is no folder")
    given_files = list(lua)
    files = lua_files(given_files) if given_files else []
    stream = io.BytesIO()
    dump(LuaTable([("model", model), ("input", given)]), stream)
    job: dict[str, Any] = {
        "witness": script,
        "files": [str(file) for file in files],
        "folders": list(dict.fromkeys(str(file.parent) for file in files)),
        "torch7_source": os.path.abspath(torch7_source),
        "options": list(options),
    }
    _, saved = run(job, limits, stream.getvalue())
    assert isinstance(saved, LuaTable)
    return saved

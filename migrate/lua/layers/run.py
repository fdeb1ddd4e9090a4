"""Runs an author's layer in its Lua, in a process of its own."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...base.errors import UsageError
from ...model.convert import to_torch
from ...t7 import LuaObject, LuaTable, Tensor, Value
from ...t7.writing.dump import dump
from ..limits import DEFAULT_LUA_LIMITS, LuaLimits
from ..sandbox import run


@dataclass(frozen=True)
class LayerRun:
    """What the Lua of a layer gave.

    Attributes:
        output: its output, a tensor or a nested list of tensors.
        grad_input: the gradient of its input, of the same form; None without `grad_output`.
        grad_parameters: those of its parameters, in the order of `parameters()`.
    """

    output: Any
    grad_input: Any = None
    grad_parameters: tuple[torch.Tensor, ...] = ()


def run_layer(
    layer: LuaObject,
    given: Any,
    grad_output: Any = None,
    *,
    lua: Iterable[str | os.PathLike[str]],
    training: bool = False,
    limits: LuaLimits = DEFAULT_LUA_LIMITS,
) -> LayerRun:
    """Runs a layer of a class that its author's Lua defines.

    The Lua runs in a process of its own that reaches nothing but the files below the folders of `lua`, on the CPU.

    Args:
        layer: the layer, a value from `load()`; its fields are those of the object in Lua.
        given: its input: a tensor, or a nested list of tensors.
        grad_output: for a backward pass, the gradient of its output.
        lua: the author's files, in the order in which they run.
        training: run it in training; else in evaluation.
        limits: what the Lua may use.

    Raises:
        UsageError: there is no such file, or the extra `lua` is not installed.
        LuaFailed: the Lua ended with an error, or does not define the class.
        LimitExceeded: the Lua was stopped.
    """
    entries: list[tuple[Value, Value]] = [("input", to_lua(given)), ("training", training)]
    if grad_output is not None:
        entries.append(("gradOutput", to_lua(grad_output)))
    task = LuaTable([("layer", layer), ("runs", LuaTable.from_list([LuaTable(entries)]))])
    _, results = ask("run", lua, task, limits)
    found = results[1.0]
    parameters = found.get("gradParameters")
    return LayerRun(
        to_torch(found["output"]),
        to_torch(found.get("gradInput")),
        tuple(to_torch(parameters)) if parameters is not None else (),
    )


def ask(
    what: str, lua: Iterable[str | os.PathLike[str]], task: LuaTable, limits: LuaLimits, **said: Any
) -> tuple[dict[str, Any], Any]:
    """Has the process of the Lua do something with a layer.

    Raises:
        UsageError: there is no such file.
        LuaFailed: the Lua ended with an error.
    """
    files = lua_files(lua)
    folders = list(dict.fromkeys(str(file.parent) for file in files))
    stream = io.BytesIO()
    dump(task, stream)
    job = {"layer": what, "files": [str(file) for file in files], "folders": folders, **said}
    return run(job, limits, stream.getvalue())


def lua_files(lua: Iterable[str | os.PathLike[str]]) -> Sequence[Path]:
    """The files by their full paths.

    Raises:
        UsageError: one is missing, or there is none.
    """
    files = [Path(file).resolve() for file in lua]
    for file in files:
        if not file.is_file():
            raise UsageError(f"There is no Lua file {file}")
    if not files:
        raise UsageError("No Lua file was given that defines the layer.")
    return files


def to_lua(value: Any) -> Value:
    """A tensor, or a nested list of tensors, as values of a `.t7`."""
    if isinstance(value, torch.Tensor):
        return Tensor.from_numpy(value.detach().cpu().contiguous().numpy())
    if isinstance(value, (list, tuple)):
        return LuaTable.from_list([to_lua(part) for part in value])
    raise UsageError(f"an input is a tensor or a nested list of tensors, not {type(value).__name__}")

"""Converters of the classes that stay what their author's Lua says, and run it."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from torch import nn

from ....base.errors import LimitExceeded, UsageError
from ....model.layer import Layer
from ....model.locate import follow
from ....model.registry import Converter
from ....t7 import Tensor
from ...limits import DEFAULT_LUA_LIMITS, LuaLimits
from ...sandbox import LuaFailed
from ..run import lua_files
from .module import RunsLua
from .process import LuaProcess


def running(
    lua: Iterable[str | os.PathLike[str]],
    classes: Iterable[str],
    defined: Collection[str],
    limits: LuaLimits = DEFAULT_LUA_LIMITS,
) -> dict[str, Converter]:
    """Converters of classes that run their Lua.

    Args:
        lua: the author's files, in the order in which they run.
        classes: the Torch7 classes.
        defined: those that the files define and no converter knows.
        limits: what each run may use.

    Raises:
        UsageError: a class is none of these.
    """
    files = list(lua_files(lua))
    found: dict[str, Converter] = {}
    for name in classes:
        if name not in defined:
            there = ", ".join(sorted(defined)[:12]) or "none"
            raise UsageError(
                f"--run-lua {name}: the files of --lua define no class of that name that no converter knows; such are: "
                f"{there}"
            )
        found[name] = functools.partial(_convert, files=files, limits=limits)
    return found


def _convert(layer: Layer, *, files: list[Path], limits: LuaLimits) -> nn.Module:
    """The layer as a module that runs its Lua."""
    process = LuaProcess(layer.object, files, limits)
    try:
        said = process.described()
    except (LuaFailed, LimitExceeded) as error:
        layer.refuse(f"its Lua does not run: {error}")
    paths = [".".join(map(str, path)) for path in said["parameters"]]
    if not all(paths) or len(set(paths)) < len(paths) or said["gradients"] not in (0, len(paths)):
        layer.refuse("its Lua does not run: parameters() lists what is no field of it, or no gradients")
    tensors = []
    for path in paths:
        tensor = follow(layer.object, path)
        if not isinstance(tensor, Tensor):
            layer.refuse(f"its Lua does not run: {path} is no tensor of the file")
        tensors.append(tensor)
    names = [path.replace(".", "_") for path in paths]
    module = layer.make(RunsLua, layer.typename, names, [list(tensor.size) for tensor in tensors])
    module.starts(process)
    for name, path, tensor in zip(names, paths, tensors, strict=True):
        layer.put(module, name, layer.tensor(path) if path == name else layer.numbers_of(tensor), path.split(".")[0])
    layer.ignore(*[key for key, _ in layer.object.items()])  # its Lua has all of them
    layer.traits(reuses="unknown")
    layer.note(
        "it runs its author's Lua, in a process of its own (--run-lua): there is no model.py and no ONNX file of the "
        "model, and what it keeps from run to run is not saved"
    )
    return module

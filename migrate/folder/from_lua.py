"""Layers that authors' Lua defines: their converters, and the file of a folder that holds their classes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from torch import nn

from ..base.errors import UsageError
from ..model.conversion import ConvertedModel
from ..model.registry import PLUGIN, Converter

#: The file with the classes that were written from Lua, to pass with --plugin where the folder is opened again.
LUA_LAYERS = "lua_layers.py"

#: How the names of their modules begin.
_HOME = f"{PLUGIN}{LUA_LAYERS.removesuffix('.py')}_"


def provided_by(
    lua: Iterable[str | os.PathLike[str]], first: Iterable[str] = (), run_lua: Iterable[str] = ()
) -> dict[str, Converter]:
    """Converters of the classes that Lua files define; nothing of Lua is loaded where there are none.

    Args:
        lua: the files, in the order in which they run.
        first: classes whose Lua is taken though a converter knows them.
        run_lua: classes of which the layers stay in Lua and run it.

    Raises:
        UsageError: there is no such file, the extra `lua` is not installed, or no file defines a class of `first` or
            of `run_lua`.
        LuaFailed: a file ends with an error.
    """
    files, wanted, kept = list(lua), list(first), list(run_lua)
    if not files and wanted:
        raise UsageError("--lua-first (lua_first) names classes of the files that --lua (lua) gives; there is none.")
    if not files:
        if kept:
            raise UsageError("--run-lua runs classes of the author's Lua: give the file that defines them with --lua.")
        return {}
    from ..lua.layers.provider import converters

    found = converters(files, first=wanted)
    if kept:
        from ..lua.layers.kept.converter import running

        found |= running(files, kept, found)
    return found


def running_lua(conv: ConvertedModel) -> str:
    """The classes of the layers that run their Lua, in words; "" if none does."""
    found = sorted({record.typename for record in conv.layers if getattr(record.module, "runs_lua", False)})
    return f"{' and '.join(found)} {'run their' if len(found) > 1 else 'runs its'} Lua (--run-lua)" if found else ""


def write_lua_layers(module: nn.Module, folder: Path) -> None:
    """Writes the classes of a model that were written from Lua, if there are any."""
    if any(type(part).__module__.startswith(_HOME) for part in module.modules()):
        from ..lua.layers.classes import texts_of

        texts = texts_of(module)
        head = "import torch\nfrom torch import nn\n"
        parts = [text.removeprefix(head).strip("\n") for _, text in sorted(texts.items())]
        (folder / LUA_LAYERS).write_text("\n\n\n".join([head.rstrip("\n"), *parts]) + "\n", encoding="utf-8")

"""The classes that were written of authors' layers, as Python has them."""

from __future__ import annotations

import linecache
import sys
import types
from collections.abc import Mapping
from hashlib import sha256
from typing import cast

from torch import nn

from ...model.registry import PLUGIN

#: The name of the plugin that a folder has of them.
LUA_LAYERS = "lua_layers"


def class_of(cls: str, text: str) -> type[nn.Module]:
    """The class of that name in a text, in a module that `inspect` can read."""
    name = f"{PLUGIN}{LUA_LAYERS}_{sha256(text.encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        module = types.ModuleType(name)
        module.__file__ = f"<{name}>.py"
        linecache.cache[module.__file__] = (len(text), None, text.splitlines(True), module.__file__)
        vars(module)["TEXT"] = text
        exec(compile(text, module.__file__, "exec"), vars(module))
        sys.modules[name] = module
    return cast(type[nn.Module], vars(sys.modules[name])[cls])


def texts_of(module: nn.Module) -> Mapping[str, str]:
    """The classes in a module that were written from Lua: name -> source."""
    found: dict[str, str] = {}
    for part in module.modules():
        home = type(part).__module__
        if home.startswith(f"{PLUGIN}{LUA_LAYERS}_"):
            found[type(part).__name__] = vars(sys.modules[home])["TEXT"]
    return found

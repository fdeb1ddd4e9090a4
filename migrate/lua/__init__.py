"""Authors' Lua on PyTorch: definitions of models, and layers, run in a process of their own."""

from __future__ import annotations

from .definition import Definition, define, define_with_details
from .layers.run import LayerRun, run_layer
from .limits import LuaLimits
from .sandbox import LuaFailed

__all__ = ["Definition", "LayerRun", "LuaFailed", "LuaLimits", "define", "define_with_details", "run_layer"]

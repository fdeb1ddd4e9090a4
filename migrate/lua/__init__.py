"""Authors' Lua on PyTorch: definitions of models run in a process of their own, and give what a `.t7` would hold."""

from __future__ import annotations

from .definition import Definition, define, define_with_details
from .limits import LuaLimits
from .sandbox import LuaFailed

__all__ = ["Definition", "LuaFailed", "LuaLimits", "define", "define_with_details"]

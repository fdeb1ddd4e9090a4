"""Copies torchmigrate's own modules into generated source, with all that they need."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from typing import Any

from ..base.errors import UsageError


class Copies:
    """Definitions to copy, those that others need first.

    Attributes:
        definitions: name -> source.
        imports: lines that the definitions need.
    """

    def __init__(self) -> None:
        self.definitions: dict[str, str] = {}
        self.imports: set[str] = set()
        self._active: set[str] = set()

    def add(self, item: Any) -> None:
        """Adds a class or function, and what it refers to.

        Raises:
            UsageError: two definitions have one name, or one refers to something that can't be copied.
        """
        name = item.__name__
        if name in self.definitions or name in self._active:
            return
        self._active.add(name)
        source = inspect.getsource(item)
        home = vars(sys.modules[item.__module__])
        for used in _names(source):
            if used in home and used != name:
                self._need(used, home[used], name)
        self.definitions[name] = _plain(source)

    def _need(self, name: str, value: Any, user: str) -> None:
        home = getattr(value, "__module__", "") or ""
        if isinstance(value, types.ModuleType):
            self.imports.add(_import_of_module(name, value.__name__))
        elif isinstance(value, (type, types.FunctionType)) and home.startswith("torchmigrate"):
            self.add(value)
        elif isinstance(value, (int, float, str, bool, tuple, frozenset)) and not home:
            self.definitions.setdefault(name, f"{name} = {value!r}\n")
        elif home.startswith(("torch", "collections", "typing", "math", "dataclasses")):
            origin = "collections.abc" if home == "collections.abc" else home
            self.imports.add(f"from {'torch' if name == 'Tensor' else origin} import {name}")
        elif getattr(value, "__module__", None) in (None, "builtins"):
            return
        else:
            raise UsageError(f"{user} refers to {name}, which generated source can't hold")


def _import_of_module(name: str, module: str) -> str:
    parent, _, last = module.rpartition(".")
    line = f"from {parent} import {last}" if parent else f"import {module}"
    return line if last == name else f"{line} as {name}"


def _names(source: str) -> list[str]:
    """The names that a definition reads from around it."""
    tree = ast.parse(source)
    read: dict[str, None] = {}
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                read[node.id] = None
            else:
                bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    return [name for name in read if name not in bound]


def _plain(source: str) -> str:
    """Without comments that only torchmigrate's own checks need."""
    return re.sub(r"  # (type: ignore|noqa)[^\n]*", "", source)

"""Copies torchmigrate's own modules into generated source, with all that they need."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from typing import Any

from ...base.errors import UsageError

#: Names that the source gives to something else.
_TAKEN = frozenset({"Model", "Tensor", "nn", "torch"})


class Copies:
    """Definitions to copy, those that others need first.

    Attributes:
        definitions: name -> source.
        imports: lines that the definitions need.
    """

    def __init__(self) -> None:
        self.definitions: dict[str, str] = {}
        self.imports: set[str] = set()
        self._items: dict[str, Any] = {}

    def add(self, item: Any) -> str:
        """Adds a class or function, and what it refers to; returns its name, which differs where another has it.

        Raises:
            UsageError: it refers to something that can't be copied.
        """
        name = self._name(item.__name__, item)
        if name in self._items:
            return name
        self._items[name] = item
        source = inspect.getsource(item)
        home = vars(sys.modules[item.__module__])
        renamed = {item.__name__: name}
        for used in _names(source):
            if used in home and used != item.__name__:
                renamed[used] = self._need(used, home[used], name)
        self.definitions[name] = _renamed(_plain(source), renamed)
        return name

    def _name(self, name: str, item: Any) -> str:
        """The name that an item has or gets: its own, or that with a number."""
        number = 1
        found = name
        while found in _TAKEN or (found in self._items and not _is_same(self._items[found], item)):
            number += 1
            found = f"{name}{number}"
        return found

    def _need(self, name: str, value: Any, user: str) -> str:
        """Adds what `user` refers to; returns the name that it has in the source."""
        home = getattr(value, "__module__", "") or ""
        if isinstance(value, types.ModuleType):
            self._import(name, value, _import_of_module(name, value.__name__), user)
        elif isinstance(value, (type, types.FunctionType)) and home.startswith("torchmigrate"):
            return self.add(value)
        elif isinstance(value, (int, float, str, bool, tuple, frozenset)) and not home:
            name = self._name(name, value)
            self._items[name] = value
            self.definitions.setdefault(name, f"{name} = {value!r}\n")
        elif home.startswith(("torch", "collections", "typing", "math", "dataclasses")):
            origin = "collections.abc" if home == "collections.abc" else home
            self._import(name, value, f"from {'torch' if name == 'Tensor' else origin} import {name}", user)
        elif getattr(value, "__module__", None) not in (None, "builtins"):
            raise UsageError(f"{user} refers to {name}, which generated source can't hold")
        return name

    def _import(self, name: str, value: Any, line: str, user: str) -> None:
        if not _is_same(self._items.setdefault(name, value), value):
            raise UsageError(f"{user} refers to {name}, which is something else in another class")
        self.imports.add(line)


def _is_same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, (int, float, str, tuple, frozenset)) and type(a) is type(b) and repr(a) == repr(b))


def _renamed(source: str, names: dict[str, str]) -> str:
    """The same source with other names for what it defines and reads from around it."""
    places = [
        (node.lineno, node.col_offset, node.id)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name) and names.get(node.id, node.id) != node.id
    ]
    lines = source.splitlines(keepends=True)
    for line, column, old in sorted(places, reverse=True):
        text = lines[line - 1].encode()
        lines[line - 1] = (text[:column] + names[old].encode() + text[column + len(old.encode()) :]).decode()
    tree = ast.parse(source).body[0]
    assert isinstance(tree, (ast.ClassDef, ast.FunctionDef))
    if names.get(tree.name, tree.name) != tree.name:
        lines[tree.lineno - 1] = lines[tree.lineno - 1].replace(tree.name, names[tree.name], 1)
    return "".join(lines)


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

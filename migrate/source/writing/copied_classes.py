"""Copies torchmigrate's own modules into generated source, with all that they need."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from collections.abc import Iterable
from typing import Any

from ...base.errors import UsageError
from ...model.registry import ENTRY_POINTS
from ..scopes import Constructor
from .specialized import attributes_of, specialized, without_description

#: Names that the source gives to something else.
_TAKEN = frozenset({"F", "Model", "Tensor", "nn", "torch"})


class Copies:
    """Definitions to copy, those that others need first.

    Attributes:
        definitions: name -> source.
        imports: lines that the definitions need.

    Args:
        double: has the model numbers of double precision? Otherwise nothing is written that is for these only.
    """

    def __init__(self, *, double: bool = True) -> None:
        self.double = double
        self.definitions: dict[str, str] = {}
        self.imports: set[str] = set()
        self._items: dict[str, Any] = {}
        self._ours: set[str] = set()

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
        own = item.__module__.startswith(f"{ENTRY_POINTS.partition('.')[0]}.")
        home = vars(sys.modules[item.__module__])
        renamed = {item.__name__: name}
        for used in _names(source):
            if used in home and used != item.__name__:
                renamed[used] = self._need(used, home[used], name)
        written = _renamed(_plain(source), renamed)
        self.definitions[name] = _in_one_way(written) if own else written
        if own:
            self._ours.add(name)
        return name

    def specialize(self, calls: Iterable[Constructor]) -> None:
        """Takes out of the classes of torchmigrate's own what these calls, all there are, do not need.

        Args:
            calls: every constructor call; arguments that became superfluous are taken out of them.
        """
        users: dict[str, list[Constructor]] = {}
        for call in calls:
            if call.own is not None:
                users.setdefault(call.cls, []).append(call)
        for name in [name for name in self.definitions if name in self._ours and name in users]:
            others = "\n".join(text for other, text in self.definitions.items() if other != name)
            if re.search(rf"\b{name}\b", others):
                continue  # another class makes or extends it
            source = self.definitions[name]
            source = source if self.double else source.replace("x.dtype == torch.float64", "False")
            always: dict[str, Any] = {}
            for parameter, attribute in attributes_of(source).items():
                given = [arg.value for call in users[name] for arg in call.args if arg.name == parameter]
                is_read = re.search(rf"(?<!self)(?<!ctx)\.{attribute}\b(?!\()|[\"']{attribute}[\"']", others)
                if len(given) == len(users[name]) and not is_read and len(set(map(repr, given))) == 1:
                    always |= {parameter: given[0]} if _is_plain(given[0]) else {}
            self.definitions[name] = specialized(source, always, others)
            for call in users[name]:
                call.args = [arg for arg in call.args if arg.name not in always]
        self._drop_unread(set(users))

    def _drop_unread(self, used: set[str]) -> None:
        """Takes out what nothing refers to any more."""
        while True:
            texts = dict(self.definitions)
            for name in texts:
                others = "\n".join(text for other, text in self.definitions.items() if other != name)
                if name not in used and not re.search(rf"\b{name}\b", others):
                    del self.definitions[name]
            if len(texts) == len(self.definitions):
                return

    @property
    def name_each_other(self) -> bool:
        """Does an annotation name a definition, which may be made later?"""
        trees = [ast.parse(text) for text in self.definitions.values()]
        said = [part for tree in trees for node in ast.walk(tree) for part in _annotations(node)]
        return any(isinstance(n, ast.Name) and n.id in self.definitions for part in said for n in ast.walk(part))

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


def _annotations(node: ast.AST) -> list[ast.expr]:
    """The types that a node says which are read when the file is imported."""
    found = [getattr(node, "annotation", None), getattr(node, "returns", None)]
    return [part for part in found if isinstance(part, ast.expr)]


def _is_plain(value: Any) -> bool:
    """Can a value be written wherever it is read?"""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _in_one_way(source: str) -> str:
    """The same with the names that the whole file uses, and without what only torchmigrate's own printing needs."""
    source = re.sub(r"(?<![\w.])(nn\.)?functional\.", "F.", source)
    source = re.sub(r"\bctx: Any\b", "ctx", source)  # as PyTorch's own documents have it
    return without_description(re.sub(r"\btorch\.Tensor\b", "Tensor", source))


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

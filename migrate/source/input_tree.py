"""The members of a table that a module takes, as far as its layers say how many there are and how they are nested.

That follows from the structure alone: a model has the same parameters whether or not sizes are known.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from typing import Any

from torch import nn

from .expressions import Variable
from .forms import annotated, is_chain, structure_of

#: One tree per member of a table; None where a tensor is taken, or a table of which no more is known.
Tree = list[Any] | None

#: Files can claim anything; no table of an input has more members.
_MOST = 1000


def tree_of(module: Any) -> Tree:
    """The members of the table that a module takes; None: a tensor, or a table of any length."""
    if is_chain(module):
        return _of_chain(list(module))
    structure = structure_of(module)
    if structure.nothing:
        return None
    if structure.flow in ("branches", "joined", "padded"):
        return merged(map(tree_of, module))
    if structure.flow == "entries":
        return [tree_of(child) for child in module]
    if structure.flow == "graph":
        return _of_graph(module)
    return _picked(module, None) or [None] * members_read(type(module)) or None


def _of_chain(layers: list[nn.Module]) -> Tree:
    """What the first layers take, those that only pass something on included."""
    for place, layer in enumerate(layers):
        if not structure_of(layer).nothing:
            picked = _picked(layer, None)
            return tree_of(layer) if picked is None else _picked(layer, _of_chain(layers[place + 1 :]))
    return None


def _picked(module: nn.Module, wanted: Tree) -> Tree:
    """The table of which a layer picks members, of which `wanted` is taken; None: it is no such layer."""
    picks = structure_of(module).picks
    if picks is None or picks.start >= _MOST:
        return None
    if not picks.many:
        return [*[None] * picks.start, wanted]
    return None if wanted is None else [*[None] * picks.start, *wanted]


def _of_graph(module: Any) -> Tree:
    wanted: list[list[Tree]] = [[] for _ in range(len(module.nodes) + 1)]
    _want(wanted, module.outputs, None)
    for number, (index, sources) in reversed(list(enumerate(module.nodes, 1))):
        behind = merged(wanted[number])
        part = nn.Identity() if index == -1 else module.get_submodule(str(index))
        _want(wanted, sources, behind if structure_of(part).nothing else _picked(part, behind) or tree_of(part))
    return merged(wanted[0])


def _want(wanted: list[list[Tree]], sources: list[Any], tree: Tree) -> None:
    """Notes what is taken of the values that a node reads."""
    trees = [tree] if len(sources) == 1 else [*(tree or []), *[None] * len(sources)]
    for source, part in zip(sources, trees, strict=False):
        if not source or isinstance(source[0], list):
            _want(wanted, source, part)
            continue
        for index in reversed(source[1:]):
            part = [*[None] * index, part] if 0 <= index < _MOST else None
        wanted[source[0]].append(part)


def merged(trees: Iterable[Tree]) -> Tree:
    """What several modules take that get the same value."""
    tables = [tree for tree in trees if tree is not None]
    count = max(map(len, tables), default=0)
    return [merged(table[i] for table in tables if i < len(table)) for i in range(count)] or None


def members_read(cls: type[nn.Module]) -> int:
    """How many members of a list the `forward` of a class reads, by their numbers; 0 if it reads it in another way."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls.forward)))
    except (OSError, TypeError, SyntaxError):
        return 0
    method = tree.body[0]
    if not isinstance(method, ast.FunctionDef) or len(method.args.args) != 2:
        return 0
    name = method.args.args[1]
    if name.annotation is None or not ast.unparse(name.annotation).startswith("list["):
        return 0
    reads = [node for node in ast.walk(method) if isinstance(node, ast.Name) and node.id == name.arg]
    numbers: set[int] = set()
    known = 0
    for node in ast.walk(method):
        match node:
            case ast.Subscript(value=ast.Name(id=name.arg), slice=ast.Constant(int() as number)):
                numbers.add(number)
                known += 1
            case ast.Assign(targets=[ast.Tuple(elts=elts)], value=ast.Name(id=name.arg)):
                numbers.update(range(len(elts)))
                known += 1
    return max(numbers, default=-1) + 1 if known == len(reads) else 0


def type_taken(module: Any) -> str:
    """What a module takes that is no table of known members, as an annotation."""
    if is_chain(module):
        first = next((layer for layer in module if not structure_of(layer).nothing), None)
        return "Tensor" if first is None else type_taken(first)
    flow = structure_of(module).flow
    if flow == "graph":
        readers = [index for index, sources in module.nodes if index != -1 and sources == [[0]]]
        return _widest(type_taken(module.get_submodule(str(index))) for index in readers)
    if flow in ("branches", "joined", "padded"):
        return _widest(map(type_taken, module))
    said = annotated(type(module).forward, 1)
    return said if said.startswith("list[") else "Any" if said == "Any" else "Tensor"


def _widest(types: Iterable[str]) -> str:
    return next((kind for kind in types if kind != "Tensor"), "Tensor")


def members(tree: Tree) -> Any:
    """A variable for each member of a table, nested as they are."""
    return Variable() if tree is None else [members(part) for part in tree]

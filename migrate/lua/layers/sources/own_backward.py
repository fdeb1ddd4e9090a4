"""Backward passes that are, on purpose, not the derivative: they become a `torch.autograd.Function`."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from ..graph import CHILD, Node, ordered, read
from .lockstep import Unexplained, shapes_of
from .loops import merged_with_loops
from .simplify import narrowed, reads_fresh_memory, simplified

Path = tuple[Any, ...]

#: Ends the name of the class of a layer's passes.
PASSES = "Passes"
#: Fields whose names no statement gives to another value.
_USUAL = frozenset(("weight", "bias"))


def gradients(one: Mapping[str, Any], run: int, dtype: str) -> list[list[Node | None]]:
    """The merged gradients that the backward pass of one run gives: those of inputs, and those of parameters.

    Raises:
        Unexplained: they can't be written; the message is the reason.
    """
    graphs = [simplified(narrowed(read(graph["backward"][run]), dtype)) for graph in one["graphs"]]
    if any(reads_fresh_memory(graph) for graph in graphs):
        raise Unexplained("its backward pass depends on memory that nothing was written to")
    if len({tuple(node is None for node in graph[0]) for graph in graphs}) > 1:
        raise Unexplained("which inputs have a gradient depends on a size of its input")
    both = [[[node for node in graph[0] if node is not None], graph[1]] for graph in graphs]
    there = merged_with_loops(both, [graph["sizes"] for graph in one["graphs"]])
    given = iter(there[0])
    inputs = [None if node is None else next(given) for node in graphs[0][0]]
    for place, node in enumerate(inputs):
        wanted = tuple(tuple(graph["sizes"][place]) for graph in one["graphs"])
        if node is not None and tuple(map(tuple, shapes_of(node))) != wanted:
            raise Unexplained("the gradient of its input has another size than its input")
    return [inputs, there[1]]


def check_no_modules(*graphs: Any) -> None:
    """Refuses graphs in which modules run.

    Raises:
        Unexplained: there is one.
    """
    if any(node.op == CHILD for graph in graphs for node in ordered(graph)):
        raise Unexplained("it runs modules of nn")


def local_names(fields: Mapping[Path, str]) -> dict[str, str]:
    """Attribute -> the variable that holds it in the passes, which is no name of another value."""
    found: dict[str, str] = {}
    for name in fields.values():
        local = name if name in _USUAL else f"its_{name}"
        while local in found.values():
            local += "_"
        found[name] = local
    return found


class _Local(ast.NodeTransformer):
    """Reads variables in place of attributes."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """`weight` in place of `self.weight`."""
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return ast.Name(self._names[node.attr])
        return self.generic_visit(node)


def with_local_names(statements: Sequence[ast.stmt], names: Mapping[str, str]) -> list[ast.stmt]:
    """The same statements, which read variables in place of attributes."""
    tree = ast.parse(ast.unparse(ast.fix_missing_locations(ast.Module(list(statements), []))))
    return list(_Local(names).visit(tree).body)


def forward_statements(
    statements: Sequence[ast.stmt], names: Mapping[str, str], inputs: Sequence[str]
) -> list[ast.stmt]:
    """The statements of the forward pass: a tuple in place of a list, and no input itself."""
    made = with_local_names(statements, names)
    last = made[-1]
    assert isinstance(last, ast.Return)

    def own(value: ast.expr) -> ast.expr:
        if isinstance(value, ast.Name) and value.id in inputs:
            return ast.Call(ast.Attribute(value, "view_as"), [value], [])
        return value

    if isinstance(last.value, ast.List):
        last.value = ast.Tuple([own(part) for part in last.value.elts])
    elif last.value is not None:
        last.value = own(last.value)
    return made


def backward_statements(
    statements: Sequence[ast.stmt],
    names: Mapping[str, str],
    fields: Mapping[Path, str],
    parameters: Sequence[Path],
    inputs: int,
    criterion: bool = False,
) -> list[ast.stmt]:
    """The statements of the backward pass: they return a gradient for each input and for each field."""
    made = with_local_names(statements, names)
    last = made[-1]
    assert isinstance(last, ast.Return)
    assert isinstance(last.value, ast.List)
    found, of_parameters = [part.elts for part in last.value.elts if isinstance(part, ast.List)]
    by = dict(zip(parameters, of_parameters, strict=True))
    of_inputs = found[:inputs]
    if criterion:  # Torch7's criterions are given no gradient: it is 1
        scaled = [ast.BinOp(part, ast.Mult(), ast.Name("grad")) for part in found[: inputs - 1]]
        of_inputs = [*scaled, ast.Constant(None)]
    last.value = ast.Tuple([*of_inputs, *[by.get(path, ast.Constant(None)) for path in fields]])
    if len(last.value.elts) == 1:
        last.value = last.value.elts[0]
    return made

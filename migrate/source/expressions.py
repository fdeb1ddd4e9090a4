"""Python expressions of forward methods: trees of Python's own `ast`, printed once, when their line is written."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import torch


class Variable(ast.expr):
    """A value in a forward method, which gets its name where that is written.

    Attributes:
        values: the value itself, for each example input that the model was run on; empty if there is none.
        hint: a name for it.
        type: what it is, as an annotation, where there is no example.
        members: of a list without examples, what is known of its members: a nested list of variables.
        given: is it an input of the model, which may have other dimensions than in the examples?
    """

    def __init__(
        self,
        values: tuple[Any, ...] = (),
        hint: str = "",
        type_: str = "Tensor",
        members: Value = None,
        *,
        given: bool = False,
    ) -> None:
        super().__init__()
        self.values = values
        self.hint = hint
        self.type = type_
        self.members = members
        self.given = given

    @property
    def shapes(self) -> list[tuple[int, ...]] | None:
        """The shape for each example; None where it is no tensor, or nothing is known."""
        if not self.values or not all(isinstance(value, torch.Tensor) for value in self.values):
            return None
        return [tuple(value.shape) for value in self.values]

    @property
    def dims(self) -> int | None:
        """The number of dimensions, if it is known."""
        shapes = self.shapes
        return len(shapes[0]) if shapes else None


#: A variable, or a nested list of them.
Value = Any


def python(text: str, **operands: Any) -> ast.expr:
    """An expression, in which operands stand for names: `python("x + n", x=variable, n=1)`.

    Args:
        text: Python; nothing in it comes from a file.
        operands: expressions, numbers, strings, and lists or tuples of these; `*x` stands for the members of one.
    """
    known = {name: tree_of(operand) for name, operand in operands.items()}
    tree: ast.expr = replaced(ast.parse(text, mode="eval").body, known)
    return tree


def tree_of(value: Any) -> ast.expr:
    """The expression of a nested list of variables, or of a number or string."""
    if isinstance(value, (list, tuple)):
        return (ast.List if isinstance(value, list) else ast.Tuple)([tree_of(item) for item in value], ast.Load())
    return value if isinstance(value, ast.expr) else ast.Constant(value)


def replaced(tree: Any, known: Mapping[Any, ast.expr]) -> Any:
    """The same expression with others in place of its variables, and of names."""
    if isinstance(tree, list):
        return [part for item in tree for part in _spread(replaced(item, known))]
    if not isinstance(tree, ast.AST):
        return tree
    found = known.get(tree.id if isinstance(tree, ast.Name) else tree)
    if found is None and isinstance(tree, Variable):
        return tree
    return found or type(tree)(**{name: replaced(part, known) for name, part in ast.iter_fields(tree)})


def _spread(item: Any) -> list[Any]:
    """The members of a list that is written `*list`, where they are known; of anything else itself."""
    is_known = isinstance(item, ast.Starred) and isinstance(item.value, (ast.List, ast.Tuple))
    return item.value.elts if is_known else [item]


def variables(value: Any) -> list[Variable]:
    """The variables that an expression or a nested list reads, in their order, each as often as it stands there."""
    if isinstance(value, Variable):
        return [value]
    parts = [part for _, part in ast.iter_fields(value)] if isinstance(value, ast.AST) else value
    return [found for part in parts for found in variables(part)] if isinstance(parts, (list, tuple)) else []


def attributes(tree: Any) -> list[str]:
    """The attributes of `self` that an expression reads, or several statements."""
    parts = tree if isinstance(tree, list) else [tree]
    nodes = [node for part in parts for node in ast.walk(part) if isinstance(node, ast.Attribute)]
    return [node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == "self"]


def with_attributes(tree: Any, names: Mapping[str, str]) -> Any:
    """The same expression, or the same statements, with other names for attributes of `self`."""
    if isinstance(tree, list):
        return [with_attributes(item, names) for item in tree]
    match tree:
        case Variable() | ast.Constant() | ast.Name():
            return tree
        case ast.Attribute(ast.Name("self") as holder, name, context):
            return ast.Attribute(holder, names.get(name, name), context)
        case ast.AST():
            return type(tree)(**{name: with_attributes(part, names) for name, part in ast.iter_fields(tree)})
    return tree


def called_method(tree: ast.expr, of: str | None = None) -> str:
    """The method that an expression calls (on an object of this name); "" if it calls none."""
    match tree:
        case ast.Call(func=ast.Attribute(value=holder, attr=name)):
            return name if of is None or (isinstance(holder, ast.Name) and holder.id == of) else ""
    return ""


def is_in_place(tree: ast.expr) -> bool:
    """Does the expression change a tensor that it reads?"""
    return called_method(tree) == "add_"


def type_of(value: Value) -> str:
    """The type of a symbolic value that is passed from method to method."""
    if isinstance(value, list):
        return "list[Tensor]" if all(type_of(item) == "Tensor" for item in value) else "list[Any]"
    example = value.values[0] if value.values else None
    if isinstance(example, list):
        return "list[Tensor]" if all(isinstance(item, torch.Tensor) for item in example) else "list[Any]"
    return "Tensor" if value.values else value.type


def entry(value: Value, index: int) -> Value:
    """An entry of a list, or of a variable whose examples are lists."""
    return value[index] if isinstance(value, list) else python("x[i]", x=value, i=index)


def entry_type(value: Variable) -> str:
    """The type of an entry of a list of which there is no example."""
    return "Tensor" if value.type == "list[Tensor]" else "Any"


def is_unknown(value: Value) -> bool:
    """Is there no example of any tensor in a value?"""
    return not any(variable.values for variable in variables(value))


def dims_of_entries(value: Variable) -> int | None:
    """The number of dimensions that all entries of lists of tensors have; None if it is not known, or not one."""
    lists = [example if isinstance(example, list) else [example] for example in value.values]
    entries = [entry for example in lists for entry in example]
    dims = {entry.dim() if isinstance(entry, torch.Tensor) else None for entry in entries}
    return dims.pop() if len(dims) == 1 and value.shapes is None else None


def is_tensors(value: Value) -> bool:
    """Is it a list of tensors that are known one by one?"""
    return isinstance(value, list) and bool(value) and all(isinstance(v, Variable) and v.shapes for v in value)

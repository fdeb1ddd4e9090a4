"""Compares the graphs of one layer at several sizes: the same operations, and each number explained by the sizes."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ..graph import INPUT, Node, ordered

#: A number that changes with the sizes of the input, as an expression of Python.
Size = ast.expr


class Unexplained(Exception):
    """Graphs differ in a way that no formula says; the message is the reason."""


@dataclass(frozen=True)
class Atom:
    """A size of the input.

    Attributes:
        place: which tensor of the input.
        axis: its dimension.
        values: the size in each graph.
    """

    place: int
    axis: int
    values: tuple[int, ...]


class Varying:
    """A number that differs from graph to graph."""

    def __init__(self, values: tuple[float, ...]) -> None:
        self.values = values


def merged(graphs: Sequence[Any]) -> Any:
    """One graph of several; numbers that differ are `Varying`, shapes are those of the first, and `sizes` of all.

    Raises:
        Unexplained: they have not the same operations in the same order.
    """
    lists = [ordered(graph) for graph in graphs]
    if len({len(nodes) for nodes in lists}) > 1 or len({tuple(n.op for n in nodes) for nodes in lists}) > 1:
        raise Unexplained(
            "how often it computes something depends on a size of its input: a loop, or a branch, over a size"
        )
    places = [{id(node): index for index, node in enumerate(nodes)} for nodes in lists]
    made: list[Node] = []

    def one(values: Sequence[Any]) -> Any:
        first = values[0]
        if isinstance(first, Node):
            numbers = {
                place[id(value)] if isinstance(value, Node) else -1 for place, value in zip(places, values, strict=True)
            }
            if len(numbers) > 1:
                raise Unexplained("which numbers it reads depends on a size of its input")
            return made[numbers.pop()]
        if isinstance(first, list):
            if len({len(value) if isinstance(value, list) else -1 for value in values}) > 1:
                raise Unexplained("how many tensors it joins depends on a size of its input: a loop over a size")
            return [one([value[index] for value in values]) for index in range(len(first))]
        if all(type(value) is type(first) and value == first for value in values):
            return first
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
            return first if len(set(values)) == 1 else Varying(tuple(values))
        if all(isinstance(value, float) and value != value for value in values):
            return first
        raise Unexplained("what it does depends on a size of its input")

    for nodes in zip(*lists, strict=True):
        if len({node.dtype for node in nodes}) > 1 or len({len(node.shape) for node in nodes}) > 1:
            raise Unexplained("the dimensions or the type of what it computes depend on a size of its input")
        args = [list(node.args) for node in nodes]
        names = {tuple(node.kwargs) for node in nodes}
        if len(names) > 1 or len({len(each) for each in args}) > 1:
            raise Unexplained("what it does depends on a size of its input")
        kwargs = {name: one([node.kwargs[name] for node in nodes]) for name in nodes[0].kwargs}
        made.append(_Merged(nodes, tuple(one(args)), kwargs))
    return one(list(graphs))


class _Merged(Node):
    """A node of several graphs."""

    __slots__ = ("sizes",)

    def __init__(self, nodes: Sequence[Node], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(nodes[0].op, args, kwargs, nodes[0].shape, nodes[0].dtype)
        self.sizes = tuple(node.shape for node in nodes)


def shapes_of(node: Node) -> tuple[tuple[int, ...], ...]:
    """The size of a merged node in each graph."""
    assert isinstance(node, _Merged)
    return node.sizes


class Explanations:
    """Formulas for numbers that change with the sizes.

    Args:
        atoms: the sizes of the input that were others in each graph.
        names: the variables that hold the tensors of the input.
    """

    def __init__(self, atoms: Sequence[Atom], names: Sequence[str]) -> None:
        self._atoms = atoms
        self._names = names

    def size(self, atom: Atom) -> ast.expr:
        """`x.shape[1]`."""
        shape = ast.Attribute(ast.Name(self._names[atom.place]), "shape")
        return ast.Subscript(shape, ast.Constant(atom.axis))

    def explain(self, values: Sequence[float]) -> ast.expr:
        """A formula that gives these numbers at the sizes of the graphs.

        Raises:
            Unexplained: none of the simple ones does.
        """
        whole = all(value == int(value) for value in values)
        found = self._whole([int(value) for value in values]) if whole else None
        found = found or self._quotient(values) or self._share(values) or self._root(values)
        found = found or self._of_one_less(values)
        if found is None:
            raise Unexplained(f"a number changes with the sizes of its input in an unknown way: {list(values)[:5]}")
        return found

    def _whole(self, values: Sequence[int]) -> ast.expr | None:
        for atom in self._atoms:
            if list(atom.values) == list(values):
                return self.size(atom)
        for atom in self._atoms:
            if (line := _line(atom.values, values)) is not None:
                return _scaled(self.size(atom), *line)
        for atom in self._atoms:
            for divisor in range(2, 17):
                line = _line([value // divisor for value in atom.values], values)
                if line is not None and line[0] == 1:
                    quotient = ast.BinOp(self.size(atom), ast.FloorDiv(), ast.Constant(divisor))
                    return _scaled(quotient, *line)
        for count in (2, 3, 4):
            for some in combinations(self._atoms, count):
                product = [1] * len(values)
                for atom in some:
                    product = [a * b for a, b in zip(product, atom.values, strict=True)]
                line = _line(product, values)
                if line is not None and line[1] == 0:
                    made = self.size(some[0])
                    for atom in some[1:]:
                        made = ast.BinOp(made, ast.Mult(), self.size(atom))
                    return _scaled(made, *line)
        for first, second in combinations(self._atoms, 2):
            total = [a + b for a, b in zip(first.values, second.values, strict=True)]
            if (line := _line(total, values)) is not None and line[0] == 1:
                return _scaled(ast.BinOp(self.size(first), ast.Add(), self.size(second)), *line)
        return None

    def _share(self, values: Sequence[float]) -> ast.expr | None:
        """A product of sizes divided by a whole number."""
        for count in range(1, 6):
            for some in combinations(self._atoms, count):
                products = [math.prod(atom.values[index] for atom in some) for index in range(len(values))]
                divisor = round(products[0] / values[0]) if values[0] else 0
                if 2 <= divisor <= 64 and all(p == divisor * value for p, value in zip(products, values, strict=True)):
                    made = self.size(some[0])
                    for atom in some[1:]:
                        made = ast.BinOp(made, ast.Mult(), self.size(atom))
                    return ast.BinOp(made, ast.Div(), ast.Constant(divisor))
        return None

    def _root(self, values: Sequence[float]) -> ast.expr | None:
        """The square root of a size, or one divided by it."""
        for power in (0.5, -0.5):
            for atom in self._atoms:
                if all(
                    abs(value - size**power) <= 1e-12 * abs(value)
                    for value, size in zip(values, atom.values, strict=True)
                ):
                    return ast.BinOp(self.size(atom), ast.Pow(), number(power))
        return None

    def _quotient(self, values: Sequence[float]) -> ast.expr | None:
        """A constant divided by a size, or by a product of sizes."""
        for count in range(1, 6):
            for some in combinations(self._atoms, count):
                products = []
                for index, value in enumerate(values):
                    for atom in some:
                        value *= atom.values[index]
                    products.append(value)
                wanted = float(f"{products[0]:.12g}")
                if all(abs(product - wanted) <= 1e-12 * abs(wanted) for product in products):
                    below = self.size(some[0])
                    for atom in some[1:]:
                        below = ast.BinOp(below, ast.Mult(), self.size(atom))
                    return ast.BinOp(ast.Constant(wanted), ast.Div(), below)
        return None

    def _of_one_less(self, values: Sequence[float]) -> ast.expr | None:
        """A constant divided by a size less 1, and maybe by another size."""
        for atom in self._atoms:
            if 1 in atom.values:
                continue
            for other in [None, *self._atoms]:
                sizes = [size - 1 for size in atom.values]
                below: ast.expr = _scaled(self.size(atom), 1, -1)
                if other is not None:
                    sizes = [a * b for a, b in zip(sizes, other.values, strict=True)]
                    below = ast.BinOp(below, ast.Mult(), self.size(other))
                products = [value * size for value, size in zip(values, sizes, strict=True)]
                wanted = float(f"{products[0]:.12g}")
                if wanted and all(abs(product - wanted) <= 1e-12 * abs(wanted) for product in products):
                    return ast.BinOp(number(wanted), ast.Div(), below)
        return None


def _line(given: Sequence[int], values: Sequence[int]) -> tuple[int, int] | None:
    """A and b with a * given + b = values everywhere, at three numbers or more."""
    if len(set(given)) < 3:
        return None
    pairs = sorted(set(zip(given, values, strict=True)))
    (x0, y0), (x1, y1) = pairs[0], pairs[-1]
    if x0 == x1 or (y1 - y0) % (x1 - x0):
        return None
    a = (y1 - y0) // (x1 - x0)
    b = y0 - a * x0
    fits = all(a * x + b == y for x, y in pairs)
    return (a, b) if fits and a != 0 and abs(a) <= 4096 else None


def _scaled(value: ast.expr, factor: int, added: int) -> ast.expr:
    if factor != 1:
        value = ast.BinOp(value, ast.Mult(), number(factor))
    if added:
        operator = ast.Add() if added > 0 else ast.Sub()
        value = ast.BinOp(value, operator, ast.Constant(abs(added)))
    return value


def number(value: Any) -> ast.expr:
    """A number as it is written; those below 0 with their sign before them."""
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15 if value - value == 0 else False:
        value = float(value)
    if isinstance(value, float) and value - value != 0:
        return ast.Call(ast.Name("float"), [ast.Constant(repr(value))], [])
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def atoms_of(sizes: Sequence[Sequence[Sequence[int]]]) -> list[Atom]:
    """The sizes of the input that are not the same in all graphs, each kind once.

    Args:
        sizes: for each graph the sizes of the tensors of its input.
    """
    found: list[Atom] = []
    for place, shape in enumerate(sizes[0]):
        for axis in range(len(shape)):
            values = tuple(int(graph[place][axis]) for graph in sizes)
            if len(set(values)) > 1 and all(values != atom.values for atom in found):
                found.append(Atom(place, axis, values))
    return found


__all__ = ["INPUT", "Atom", "Explanations", "Unexplained", "Varying", "atoms_of", "merged", "number", "shapes_of"]

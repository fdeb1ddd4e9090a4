"""Finds loops in a graph: parts that are joined and of which each is computed as the one before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise, product
from typing import Any

from ..graph import Node, nodes_in, ordered
from .lockstep import Unexplained, merged

#: A loop: how its parts are joined, along which dimension, how many there are, from the last to the first?, a part, and
#: for what is carried from one turn to the next what it is at first and what it becomes. The number of a turn times a
#: factor plus a number; what is carried. Both belong to a loop of some level: those within are of lower ones.
LOOP, TURN, CARRIED = "loop", "turn", "carried"


class _NoLoop(Exception):
    """The parts are not computed alike."""


def merged_with_loops(graphs: Sequence[Any], sizes: Sequence[Sequence[Sequence[int]]]) -> Any:
    """One graph of several, as `merged` gives it; with loops in it where it computes things as often as a size says.

    Args:
        graphs: the graphs.
        sizes: for each the sizes of the tensors of its input.

    Raises:
        Unexplained: they can't be one graph.
    """
    try:
        return merged(graphs)
    except Unexplained as error:
        alike = [{extent for shape in shapes for extent in shape} for shapes in sizes]
        counts = [{each + more for each in extents for more in (-1, 0, 1)} - {0, 1} for extents in alike]
        with_loops = [rolled(graph, count) for graph, count in zip(graphs, counts, strict=True)]
        try:
            return merged(with_loops)
        except Unexplained:
            raise error from None


def rolled(outputs: Any, counts: Collection[int]) -> Any:
    """The same graph with loops in it.

    Args:
        outputs: the outputs of a graph at one size.
        counts: how often a loop may run: the sizes of the input.
    """
    made: dict[int, Node] = {}

    def again(value: Any) -> Any:
        if isinstance(value, Node):
            return made[id(value)]
        return [again(part) for part in value] if isinstance(value, (list, tuple)) else value

    outputs = _with_sums(outputs, counts)
    for node in ordered(outputs):
        kwargs = {name: again(value) for name, value in node.kwargs.items()}
        new = made[id(node)] = Node(node.op, tuple(again(list(node.args))), kwargs, node.shape, node.dtype)
        if node.op in ("stack", "cat") and len(node.args[0]) > 1 and len(node.args[0]) in counts:
            if (alike := _all_the_same(new)) is not None:
                made[id(node)] = alike
                continue
            loop = _loop(new)
            if loop is not None:
                made[id(node)] = loop
                axis = new.args[1] if len(new.args) > 1 else 0
                for place, part in enumerate(node.args[0] if node.op == "stack" else []):  # where else they are read
                    made[id(part)] = Node("select", (loop, axis, place), None, part.shape, part.dtype)
    return again(outputs)


def _all_the_same(node: Node) -> Node | None:
    """One tensor many times, as one that is expanded; None if it is not that."""
    axis = node.args[1] if len(node.args) > 1 else 0
    part: Node = node.args[0][0]
    if any(other is not part for other in node.args[0]):
        return None
    if node.op == "stack":
        part = Node("unsqueeze", (part, axis), None, (*part.shape[:axis], 1, *part.shape[axis:]), part.dtype)
    if part.shape[axis] != 1:
        return None
    return Node("expand", (part, list(node.shape)), None, node.shape, node.dtype)


def _with_sums(outputs: Any, counts: Collection[int]) -> Any:
    """The same graph where what is added up one after another is the sum of one tensor of all."""
    nodes = ordered(outputs)
    used = Counter(id(source) for node in nodes for source in node.sources())
    used.update(id(node) for node in nodes_in(outputs))
    made: dict[int, Node] = {}

    def again(value: Any) -> Any:
        if isinstance(value, Node):
            return made[id(value)]
        return [again(part) for part in value] if isinstance(value, (list, tuple)) else value

    for node in nodes:
        added, first = _added_up(node, used)
        if len(added) > 1 and len(added) in counts:
            whole = Node("stack", ([made[id(part)] for part in added], 0), None, (len(added), *node.shape), node.dtype)
            total = Node("sum", (whole, 0), None, node.shape, node.dtype)
            start = None if first is None else made[id(first)]
            if start is not None:
                total = Node(node.op, (start, total), None, node.shape, node.dtype)
            elif node.op == "sub":
                total = Node("neg", (total,), None, node.shape, node.dtype)
            made[id(node)] = total
            continue
        kwargs = {name: again(value) for name, value in node.kwargs.items()}
        made[id(node)] = Node(node.op, tuple(again(list(node.args))), kwargs, node.shape, node.dtype)
    return again(outputs)


def _added_up(node: Node, used: Mapping[int, int]) -> tuple[list[Node], Node | None]:
    """What is added up, or taken away, in its order, and what it is added to or taken from; None for 0."""
    added: list[Node] = []
    at = node
    while node.op in ("add", "sub") and len(at.args) == 2 and not at.kwargs and (at is node or used[id(at)] == 1):
        total, part = at.args
        of_zero = isinstance(total, Node) and not isinstance(part, Node) and part == 0 and total.dtype == node.dtype
        if of_zero and at.op == {"add": "add", "sub": "rsub"}[node.op]:
            return [total, *reversed(added)], None  # the first of them
        of_nodes = all(isinstance(one, Node) and (one.shape, one.dtype) == (node.shape, node.dtype) for one in at.args)
        if at.op != node.op or not of_nodes:
            break
        added.append(part)
        at = total
    return list(reversed(added)), at


def _loop(node: Node) -> Node | None:
    parts: list[Node] = list(node.args[0])
    axis = node.args[1] if len(node.args) > 1 else 0
    level = 1 + max([each.args[0] for each in ordered(node) if each.op == TURN], default=0)
    for from_zero, backwards in product((False, True), repeat=2):
        roll = _Roll(level, from_zero)
        try:
            part = roll.whole(tuple(reversed(parts) if backwards else parts))
        except (_NoLoop, RecursionError):
            continue
        if level in free_levels([part])[id(part)]:
            args = (node.op, axis, len(parts), backwards, level, part, roll.first, roll.next)
            return Node(LOOP, args, None, node.shape, node.dtype)
    return None


class _Roll:
    """Makes one part that stands for all.

    Args:
        level: of the loop.
        from_zero: is 0 carried into the first turn, where what is added to it stands alone?

    Attributes:
        first: what is carried at first.
        next: what it becomes.
    """

    def __init__(self, level: int, from_zero: bool = False) -> None:
        self._level = level
        self._from_zero = from_zero
        self._made: dict[tuple[int, ...], Node] = {}
        self._known: list[tuple[int, ...]] = []
        self._slots: list[tuple[tuple[int, ...], Node, Node]] = []
        self.first: list[Node] = []
        self.next: list[Node] = []

    def whole(self, parts: tuple[Node, ...]) -> Node:
        """The part that stands for all of these, one of each turn."""
        found = self._node(parts)
        for rest, first, _ in self._slots:
            source = next((known for known in self._known if known[:-1] == rest), None)
            if source is None or source not in self._made:
                raise _NoLoop
            self.first.append(first)
            self.next.append(self._made[source])
        return found

    def _node(self, nodes: tuple[Node, ...]) -> Node:
        key = tuple(map(id, nodes))
        if len(set(key)) == 1:
            return nodes[0]
        if key in self._made:
            return self._made[key]
        first, like = nodes[0], nodes[-1]
        if any(node.shape != like.shape or node.dtype != like.dtype for node in nodes):
            raise _NoLoop
        if any(known[:-1] == key[1:] for known in self._known):
            return self._carried(key, first)
        if self._from_zero and first.op != like.op == "add" and len(like.args) == 2 and not like.kwargs:
            zero = Node("full", (list(like.shape), 0), {"dtype": like.dtype}, like.shape, like.dtype)
            first = Node("add", (zero, first), None, like.shape, like.dtype)
            nodes = (first, *nodes[1:])
        others = any(node.op != like.op for node in nodes[1:])
        if others or any(node.kwargs.keys() != like.kwargs.keys() for node in nodes):
            raise _NoLoop
        if first.op != like.op or len(first.args) != len(like.args):
            return self._carried(key, first)
        self._known.append(key)
        args = [self._value(values) for values in zip(*[node.args for node in nodes], strict=True)]
        kwargs = {name: self._value(tuple(node.kwargs[name] for node in nodes)) for name in like.kwargs}
        self._made[key] = Node(like.op, tuple(args), kwargs, like.shape, like.dtype)
        return self._made[key]

    def _carried(self, key: tuple[int, ...], first: Node) -> Node:
        for rest, other, found in self._slots:
            if rest == key[1:] and other is first:
                return found
        node = Node(CARRIED, (self._level, len(self._slots)), None, first.shape, first.dtype)
        self._slots.append((key[1:], first, node))
        return node

    def _value(self, values: tuple[Any, ...]) -> Any:
        first = values[0]
        if any(type(value) is not type(first) for value in values):
            raise _NoLoop
        if isinstance(first, Node):
            return self._node(values)
        if isinstance(first, (list, tuple)):
            if len({len(value) for value in values}) > 1:
                raise _NoLoop
            return [self._value(part) for part in zip(*values, strict=True)]
        if all(value == first for value in values):
            return first
        if type(first) is not int or any(b - a != values[1] - first for a, b in pairwise(values)):
            raise _NoLoop
        return Node(TURN, (self._level, values[1] - first, first), None, (), "int64")


def free_levels(outputs: Any) -> dict[int, frozenset[int]]:
    """For each node the levels of the loops of which it must be a part."""
    found: dict[int, frozenset[int]] = {}
    for node in ordered(outputs):
        levels = frozenset().union(*[found[id(source)] for source in node.sources()])
        if node.op in (TURN, CARRIED):
            levels |= {node.args[0]}
        elif node.op == LOOP:
            levels -= {node.args[4]}
            levels |= frozenset().union(*[found[id(first)] for first in node.args[6]])
        found[id(node)] = levels
    return found

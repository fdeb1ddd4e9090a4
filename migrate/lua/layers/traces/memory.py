"""Memory that tensors share, as nodes: a tensor that is written to gets another node, and so do all views of it."""

from __future__ import annotations

import math
from typing import Any

from ...tensors.handles import LuaFault
from ..graph import Node

#: Views, and how the numbers of a view are put back into what it is a view of.
SAME_NUMBERS = frozenset(("view", "reshape", "squeeze", "unsqueeze", "flatten", "view_as", "unflatten"))
VIEWS = SAME_NUMBERS | {"narrow", "select", "transpose", "t", "permute", "expand", "unfold", "split", "chunk"}
ALIASES = frozenset(("as_strided", "contiguous", "to", "clone"))


class Memory:
    """Memory that tensors share.

    Attributes:
        node: the numbers in it now.
        shape: the size of the tensor for which it was made.
        kept: why it may not be written to; "" if it may.
        written: was it written to?
    """

    def __init__(self, node: Node, kept: str = "") -> None:
        self.node = node
        self.shape = node.shape
        self.kept = kept
        self.written = False


#: The views that lead to a tensor, each with its arguments and the size that it gives.
Steps = tuple[tuple[str, tuple[Any, ...], tuple[int, ...]], ...]


class View:
    """A tensor: memory, and the views that lead to it, with the size that each has."""

    __slots__ = ("memory", "seen", "steps")

    def __init__(self, memory: Memory, steps: Steps = ()) -> None:
        self.memory = memory
        self.steps = steps
        self.seen: tuple[Node, Node] | None = None

    def node(self) -> Node:
        """The numbers that it has now."""
        start = self.memory.node
        if self.seen is not None and self.seen[0] is start:
            return self.seen[1]
        node = start
        for op, args, shape in self.steps:
            node = Node(op, (node, *args), None, shape, node.dtype)
        self.seen = start, node
        return node

    def write(self, value: Node) -> None:
        """Other numbers, here and wherever the memory is seen."""
        if self.memory.kept:
            raise LuaFault(self.memory.kept)
        parents = [self.memory.node]
        for op, args, shape in self.steps[:-1]:
            parents.append(Node(op, (parents[-1], *args), None, shape, value.dtype))
        for (op, args, _), parent in zip(reversed(self.steps), reversed(parents), strict=False):
            value = _put(op, args, parent, value)
        self.memory.node = value
        self.memory.written = True


def _put(op: str, args: tuple[Any, ...], parent: Node, value: Node) -> Node:
    """What a tensor holds when one of its views got other numbers."""
    shape, dtype = parent.shape, value.dtype
    if op in SAME_NUMBERS:
        return Node("reshape", (value, list(shape)), None, shape, dtype)
    if op in ("transpose", "t"):
        return Node(op, (value, *args), None, shape, dtype)
    if op == "permute":
        order = [int(axis) for axis in args[0]]
        return Node("permute", (value, [order.index(axis) for axis in range(len(order))]), None, shape, dtype)
    if op == "narrow":
        axis, first, length = args
        return Node("slice_scatter", (parent, value, axis, first, first + length), None, shape, dtype)
    if op == "select":
        return Node("select_scatter", (parent, value, *args), None, shape, dtype)
    raise LuaFault(f"it writes into a tensor that was made by {op}")


def steps_to(shape: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], offset: int) -> Steps | None:
    """The views that lead from memory to a tensor over all of it; None if none of the usual ones do.

    Args:
        shape: of the memory.
        size: of the tensor.
        stride: in numbers; of a dimension that repeats the others 0.
        offset: of its first number.
    """
    own = [axis for axis, extent in enumerate(size) if stride[axis] and extent > 1]
    order = sorted(own, key=stride.__getitem__, reverse=True)
    inner = 1
    for axis in reversed(order):
        if stride[axis] != inner:
            return None
        inner *= size[axis]
    if offset or inner != math.prod(shape):
        return None
    steps: list[tuple[str, tuple[Any, ...], tuple[int, ...]]] = []
    at = shape

    def add(op: str, argument: list[int], wanted: tuple[int, ...]) -> None:
        nonlocal at
        if wanted != at or op == "permute":
            steps.append((op, (argument,), wanted))
            at = wanted

    ranked = tuple(size[axis] for axis in order)
    single = tuple(size[axis] if axis in own else 1 for axis in range(len(size)))
    if order != own:
        add("reshape", list(ranked), ranked)
        add("permute", [order.index(axis) for axis in own], tuple(size[axis] for axis in own))
    add("reshape", list(single), single)
    add("expand", list(size), size)
    return tuple(steps)

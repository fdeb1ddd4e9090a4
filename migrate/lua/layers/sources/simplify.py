"""Takes out of a graph what says nothing: copies, sizes that are there already, numbers that are written over."""

from __future__ import annotations

import math
from typing import Any

from ..graph import FRESH, Node, ordered

#: Sums, which Torch7 adds up in doubles.
_SUMS = frozenset(("sum", "mean", "prod", "std", "var", "cumsum", "cumprod", "linalg_vector_norm", "div"))
_BROADCAST = frozenset(("add", "sub", "mul", "div", "maximum", "minimum", "pow", "gt", "ge", "lt", "le", "eq", "ne"))


def simplified(outputs: Any) -> Any:
    """The outputs of the same graph with less in it."""
    made: dict[int, Node] = {}

    def again(value: Any) -> Any:
        if isinstance(value, Node):
            return made[id(value)]
        return [again(part) for part in value] if isinstance(value, (list, tuple)) else value

    for node in ordered(outputs):
        kwargs = {name: again(value) for name, value in node.kwargs.items()}
        made[id(node)] = _simpler(Node(node.op, tuple(again(list(node.args))), kwargs, node.shape, node.dtype))
    return again(outputs)


def narrowed(outputs: Any, dtype: str) -> Any:
    """The outputs of the same graph with the layer's type where Lua computes single numbers, which are doubles."""
    if dtype == "float64":
        return outputs
    made: dict[int, Node] = {}

    def again(value: Any, single: bool) -> Any:
        if isinstance(value, Node):
            wide = single and value.op == "to" and value.args[1] == "float64" and value.args[0].dtype == dtype
            return made[id(value.args[0] if wide else value)]
        return [again(part, single) for part in value] if isinstance(value, (list, tuple)) else value

    for node in ordered(outputs):
        single = node.shape == () and node.dtype == "float64"
        if single and node.op == "to" and node.args[0].dtype == dtype:
            made[id(node)] = made[id(node.args[0])]
            continue
        args = [dtype if single and part == "float64" else part for part in again(list(node.args), single)]
        kwargs = {name: again(value, single) for name, value in node.kwargs.items()}
        made[id(node)] = Node(node.op, tuple(args), kwargs, node.shape, dtype if single else node.dtype)
    return again(outputs, False)


def _simpler(node: Node) -> Node:
    for _ in range(64):
        other = _once(node)
        if other is None:
            return node
        node = other
    return node


def _like(node: Node, op: str, *args: Any) -> Node:
    return Node(op, args, None, node.shape, node.dtype)


def _once(node: Node) -> Node | None:
    """One step simpler; None if nothing is to be done."""
    source = node.args[0] if node.args and isinstance(node.args[0], Node) else None
    if node.op in ("view", "flatten", "view_as", "unflatten"):
        return _like(node, "reshape", source, list(node.shape))
    if node.op in _BROADCAST:
        return _arithmetic(node)
    if source is None:
        return None
    if node.op == "reshape":
        if source.shape == node.shape:
            return source
        return _like(node, "reshape", source.args[0], node.args[1]) if source.op == "reshape" else None
    if node.op == "expand":
        return source if source.shape == node.shape else None
    if node.op == "to":
        return _type(node, source)
    if node.op in ("transpose", "t") and source.op == node.op and source.args[1:] == node.args[1:]:
        inner: Node = source.args[0]
        return inner
    if node.op in ("narrow", "select"):
        return _read(node, source)
    if node.op in ("slice_scatter", "select_scatter"):
        return _put(node, source)
    return None


def _type(node: Node, source: Node) -> Node | None:
    wanted = node.args[1]
    if source.dtype == wanted:
        return source
    if source.op == "to":
        first: Node = source.args[0]
        if first.dtype == "bool" and source.dtype == "uint8":
            return first if wanted == "bool" else _like(node, "to", first, wanted)
    if source.op in _SUMS and source.dtype == "float64" and wanted == "float32":
        inner = source.args[0]
        if isinstance(inner, Node) and inner.op == "to" and inner.args[0].dtype == "float32":
            return Node(source.op, (inner.args[0], *source.args[1:]), source.kwargs, node.shape, "float32")
        if isinstance(inner, Node) and source.op == "div" and inner.op == "sum":
            total = _simpler(Node("to", (inner, "float32"), None, inner.shape, "float32"))
            if total.op == "sum":
                return Node("div", (total, *source.args[1:]), source.kwargs, node.shape, "float32")
    return None


def _arithmetic(node: Node) -> Node | None:
    if len(node.args) < 2:
        return None
    args = list(node.args)
    if node.op == "mul" and not node.kwargs:
        for number, other in ((args[0], args[1]), (args[1], args[0])):
            if isinstance(other, Node) and not isinstance(number, Node) and number == 1 and other.dtype == node.dtype:
                return other
    if node.op == "add" and isinstance(args[0], Node) and isinstance(args[1], Node) and not node.kwargs:
        first, second = args[0], args[1]
        if first.op == "full" and first.args[1] == 0 and second.shape == node.shape and second.dtype == node.dtype:
            return second
    for place, arg in enumerate(args[:2]):  # what PyTorch expands by itself
        other = args[1 - place]
        if isinstance(arg, Node) and arg.op == "expand" and isinstance(other, Node) and other.shape == node.shape:
            args[place] = arg.args[0]
            return Node(node.op, tuple(args), node.kwargs, node.shape, node.dtype)
    return None


def _range(node: Node) -> tuple[int, int, int]:
    """The dimension that a part is of, and from where to where it goes."""
    if node.op in ("narrow", "slice_scatter"):
        axis, first, last = node.args[-3:]
        return axis, first, first + last if node.op == "narrow" else last
    axis, place = node.args[-2:]
    return axis, place, place + 1


def _read(node: Node, source: Node) -> Node | None:
    """A part of what is put together of parts."""
    axis, first, last = _range(node)
    if node.op == "narrow" and (first, last) == (0, source.shape[axis]):
        return source
    if node.op == "select" and source.shape[axis] == 1:
        return _like(node, "reshape", source, list(node.shape))
    if source.op in ("stack", "cat"):
        place = _joined_place(source, node.op, axis, first, last)
        found: Node | None = None if place is None else source.args[0][place]
        return found
    if source.op not in ("slice_scatter", "select_scatter"):
        return None
    other, start, end = _range(source)
    if other != axis:
        return None
    parent, part = source.args[:2]
    if last <= start or end <= first:
        return _like(node, node.op, parent, *node.args[1:])
    if (first, last) == (start, end) and (node.op == "select") == (source.op == "select_scatter"):
        whole: Node = part
        return whole
    if start <= first and last <= end and source.op == "slice_scatter":
        return _like(node, node.op, part, axis, first - start, *node.args[3:])
    return None


def _joined_place(joined: Node, op: str, axis: int, first: int, last: int) -> int | None:
    """Which of the tensors that were joined a part of the whole is; None if it is none of them."""
    if (joined.args[1] if len(joined.args) > 1 else 0) != axis or joined.kwargs:
        return None
    if joined.op == "stack":
        return first if op.startswith("select") else None
    start = 0
    for place, part in enumerate(joined.args[0]):
        if (start, start + part.shape[axis]) == (first, last) and op != "select":
            return place
        start += part.shape[axis]
    return None


def _put(node: Node, parent: Node) -> Node | None:
    """Numbers that are put into a tensor, of which nothing may be left."""
    axis, first, last = _range(node)
    part: Node = node.args[1]
    if parent.op in ("stack", "cat"):
        place = _joined_place(parent, node.op, axis, first, last)
        if place is not None:
            parts = list(parent.args[0])
            part = _as_range(node, part, axis) if parent.op == "cat" else part
            return _like(node, parent.op, [*parts[:place], part, *parts[place + 1 :]], axis)
    if node.op == "slice_scatter" and (first, last) == (0, node.shape[axis]):
        return part
    if parent.op == node.op and _range(parent) == (axis, first, last):
        return _like(node, node.op, parent.args[0], *node.args[1:])
    written, at, ops = [(first, last, _as_range(node, part, axis))], parent, {node.op}
    while at.op in ("slice_scatter", "select_scatter") and _range(at)[0] == axis:
        ops.add(at.op)
        _, start, end = _range(at)
        if all(end <= f or last_ <= start for f, last_, _ in written):
            written.append((start, end, _as_range(at, at.args[1], axis)))
        at = at.args[0]
    written.sort(key=_first)
    if sum(end - start for start, end, _ in written) == node.shape[axis]:
        tensors = [tensor for _, _, tensor in written]
        if len(tensors) == 1:
            return _like(node, "reshape", part, list(node.shape))
        if ops == {"select_scatter"}:
            return _like(node, "stack", [tensor.args[0] for tensor in tensors], axis)
        return _like(node, "cat", tensors, axis)
    return None


def _as_range(node: Node, part: Node, axis: int) -> Node:
    """What is put into a range; what is put into one place gets the dimension that the place has not."""
    if node.op == "slice_scatter":
        return part
    return Node("unsqueeze", (part, axis), None, (*part.shape[:axis], 1, *part.shape[axis:]), part.dtype)


def _first(part: tuple[int, int, Node]) -> int:
    return part[0]


def reads_fresh_memory(outputs: Any) -> bool:
    """Does it depend on memory that nothing was written to?"""
    return any(node.op == FRESH and math.prod(node.shape) > 0 for node in ordered(outputs))

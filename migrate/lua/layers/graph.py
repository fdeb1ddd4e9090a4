"""What a layer computed, as a graph: operations of PyTorch by their names, with their arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: Where numbers come from: the input, a tensor of the object, memory that nothing was written to, a module of the
#: object, one of several results.
INPUT, FIELD, FRESH, CHILD, ITEM = "input", "field", "fresh", "child", "item"
#: The gradients of what was computed from some variables, and such a variable.
GRADIENT, VARIABLE = "gradient", "variable"


class Node:
    """A tensor of the graph.

    Attributes:
        op: the function of PyTorch that gives it, or one of the sources above.
        args: its arguments: nodes, numbers, text, lists of such.
        kwargs: those by name.
        shape: its size.
        dtype: its type, such as "float32"; "" for several tensors.
        depends: does it depend on the input, or on the object's tensors?
    """

    __slots__ = ("args", "depends", "dtype", "kwargs", "op", "shape")

    def __init__(
        self,
        op: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        shape: tuple[int, ...] = (),
        dtype: str = "",
    ) -> None:
        self.op = op
        self.args = args
        self.kwargs = kwargs or {}
        self.shape = shape
        self.dtype = dtype
        self.depends: bool = op in (INPUT, FIELD, CHILD, VARIABLE) or any(node.depends for node in self.sources())

    def sources(self) -> Iterator[Node]:
        """The nodes that it reads."""
        for value in (*self.args, *self.kwargs.values()):
            yield from nodes_in(value)


def nodes_in(value: Any) -> Iterator[Node]:
    """The nodes in an argument."""
    if isinstance(value, Node):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from nodes_in(part)


def ordered(outputs: Any) -> list[Node]:
    """The nodes from which outputs come, those that others read first."""
    found: list[Node] = []
    done: set[int] = set()
    stack: list[tuple[Node, bool]] = [(node, False) for node in reversed(list(nodes_in(outputs)))]
    while stack:
        node, ready = stack.pop()
        if ready:
            found.append(node)
            continue
        if id(node) in done:
            continue
        done.add(id(node))
        stack.append((node, True))
        stack += [(source, False) for source in reversed(list(node.sources()))]
    return found


def written(outputs: Any) -> dict[str, Any]:
    """A graph as JSON values."""
    nodes = ordered(outputs)
    places = {id(node): index for index, node in enumerate(nodes)}

    def encode(value: Any) -> Any:
        if isinstance(value, Node):
            return {"node": places[id(value)]}
        if isinstance(value, (list, tuple)):
            return [encode(part) for part in value]
        if isinstance(value, float) and value - value != 0:
            return {"float": repr(value)}
        return value

    return {
        "nodes": [
            {
                "op": node.op,
                "args": encode(node.args),
                "kwargs": {name: encode(value) for name, value in node.kwargs.items()},
                "shape": list(node.shape),
                "dtype": node.dtype,
            }
            for node in nodes
        ],
        "outputs": encode(outputs),
    }


def read(said: dict[str, Any]) -> Any:
    """The outputs of a graph that `written` gave.

    Raises:
        KeyError, TypeError, ValueError, IndexError: it is no graph.
    """
    nodes: list[Node] = []

    def decode(value: Any) -> Any:
        if isinstance(value, dict):
            return nodes[value["node"]] if "node" in value else float(value["float"])
        if isinstance(value, list):
            return [decode(part) for part in value]
        return value

    for one in said["nodes"]:
        kwargs = {str(name): decode(value) for name, value in one["kwargs"].items()}
        shape = tuple(int(extent) for extent in one["shape"])
        nodes.append(Node(str(one["op"]), tuple(decode(one["args"])), kwargs, shape, str(one["dtype"])))
    return decode(said["outputs"])

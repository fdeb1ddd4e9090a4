"""How tensors flow through a network: boxes, what is written in them, and edges, read from containers and graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..model.contents.children import children_of
from ..model.supported_classes import traits_of
from ..t7 import LuaObject, LuaTable, Storage, Tensor, Value

#: The number of a box, or a list of such: what a module gets or gives.
Tips = Any

#: Boxes beyond which nothing can be drawn; it bounds the work.
_MAX_BOXES = 20_000
_MAX_DEPTH = 100

#: What goes through its children one after another, and what is opened up in a picture beside that.
_CHAINS = ("chain", "replicas", "wrapper")
_OPENED = (*_CHAINS, "joined", "slices", "branches", "entries", "graph")

#: What changes numbers but not their arrangement is drawn inside the box before it.
_FUSED = frozenset({"activation", "normalization", "dropout"})


@dataclass
class Box:
    """One box of the picture.

    Attributes:
        lines: what is written in it; the first line is the module, the others what follows it immediately.
        kind: what colours it: "weights", "pooling", "merge", "activation", …, "input", "output".
        paths: Torch7 paths of its modules.
        unknown: has one of them no converter?
        size: sizes of its output, or "".
    """

    lines: list[str]
    kind: str
    paths: list[str]
    unknown: bool = False
    size: str = ""


@dataclass
class Flow:
    """Boxes, and the edges between them (each pair once, from earlier to later boxes)."""

    boxes: list[Box] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)


def flow_of(model: LuaObject, known: Collection[str], outputs: Mapping[str, str], depth: int | None = None) -> Flow:
    """The flow through a model.

    Args:
        model: the Lua object.
        known: classes that have a converter.
        outputs: Torch7 path -> sizes of the output.
        depth: containers below it are one box each; None: none are.
    """
    builder = _Builder(known, outputs, depth)
    start = builder.box(Box(["input"], "input", []), [])
    end = builder.module(model, "", start, 0)
    builder.box(Box(["output"], "output", []), _flat(end))
    return _fused(builder.flow)


class _Builder:
    """Follows the tensors through the modules."""

    def __init__(self, known: Collection[str], outputs: Mapping[str, str], depth: int | None) -> None:
        self.known = known
        self.outputs = outputs
        self.depth = _MAX_DEPTH if depth is None else min(depth, _MAX_DEPTH)
        self.flow = Flow()

    def box(self, box: Box, sources: list[int]) -> int:
        """Adds a box behind others."""
        self.flow.boxes.append(box)
        number = len(self.flow.boxes) - 1
        self.flow.edges += [(source, number) for source in dict.fromkeys(sources)]
        return number

    def module(self, obj: LuaObject, path: str, value: Tips, depth: int) -> Tips:
        """What a module gives for a value."""
        flow = traits_of(obj.typename).flow
        children = children_of(obj)
        if children and flow in _OPENED and depth < self.depth and len(self.flow.boxes) < _MAX_BOXES:
            if flow == "graph":
                return self._graph(obj, path, value, depth)
            return self._container(obj, flow, children, path, value, depth)
        if (taken := _rearranged(obj, flow, value)) is not None:
            return taken
        unknown = obj.typename not in self.known
        text = describe(obj)
        if children and flow in _OPENED:
            text = f"{obj.typename.split('.')[-1]} of {len(children)}"
        size = self.outputs.get(path, "")
        return self.box(Box([text], kind_of(obj), [path], unknown, size), _flat(value))

    def _container(
        self, obj: LuaObject, flow: str, children: list[tuple[str, LuaObject]], path: str, value: Tips, depth: int
    ) -> Tips:
        below = [(f"{path}.{number}" if path else number, child) for number, child in children]
        if flow in _CHAINS:
            for place, child in below[: 1 if flow == "replicas" else None]:
                value = self.module(child, place, value, depth + 1)
            return value
        parts = value if flow == "entries" and isinstance(value, list) and len(value) == len(below) else None
        ends = [
            self.module(child, place, value if parts is None else parts[i], depth + 1)
            for i, (place, child) in enumerate(below)
        ]
        if flow not in ("joined", "slices"):
            return ends
        box = Box([describe(obj)], "merge", [path], obj.typename not in self.known, self.outputs.get(path, ""))
        return self.box(box, _flat(ends))

    def _graph(self, obj: LuaObject, path: str, value: Tips, depth: int) -> Tips:
        """An nngraph: its nodes are listed in the order in which they run."""
        numbers = {id(child): number for number, child in children_of(obj)}
        inner, outer = _data(obj.get("innode")), _data(obj.get("outnode"))
        nodes = obj.get("forwardnodes")
        values: dict[int, Tips] = {id(inner): value}
        for node in nodes.list() if isinstance(nodes, LuaTable) else []:
            data = _data(node)
            if data is None or data is inner:
                continue
            sources = data.get("mapindex")
            held = sources.list() if isinstance(sources, LuaTable) else []
            given = [values.get(id(source), value) for source in held] or [value]
            entering: Tips = given[0] if len(given) == 1 else given
            select = data.get("selectindex")
            module = data.get("module")
            if isinstance(select, float) and select.is_integer():
                entering = _entry(entering, int(select))
            if isinstance(module, LuaObject) and data is not outer:
                number = numbers.get(id(module), "?")
                entering = self.module(module, f"{path}.{number}" if path else number, entering, depth + 1)
            values[id(data)] = entering
        return values.get(id(outer), value)


def _data(node: Value) -> LuaTable | None:
    data = node.get("data") if isinstance(node, (LuaObject, LuaTable)) else None
    return data if isinstance(data, LuaTable) else None


def _entry(value: Tips, index: int) -> Tips:
    """One entry (1-based) of a list; of anything else the whole."""
    if not isinstance(value, list) or not value:
        return value
    index = index - 1 if index > 0 else index
    return value[index] if -len(value) <= index < len(value) else value


def _rearranged(obj: LuaObject, flow: str, value: Tips) -> Tips | None:
    """What modules give that only rearrange lists; None for all others."""
    if flow == "same":
        return value
    if not isinstance(value, list):
        return None
    index, offset, length = (_whole(obj, field) for field in ("index", "offset", "length"))
    if flow == "select" and index is not None:
        return _entry(value, index)
    if flow == "flatten":
        return _flat(value)
    if flow == "narrow" and offset is not None and length is not None and offset >= 1 <= length:
        return value[offset - 1 : offset - 1 + length] or value
    return None


def _whole(obj: LuaObject, field: str) -> int | None:
    """A field that holds a whole number; None if it holds anything else."""
    value = obj.get(field)
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _flat(value: Tips) -> list[int]:
    if isinstance(value, list):
        return [number for item in value for number in _flat(item)]
    return [value]


def _fused(flow: Flow) -> Flow:
    """Boxes that only change numbers join the box before them, if nothing else reads that."""
    incoming = Counter(after for _, after in flow.edges)
    outgoing = Counter(before for before, _ in flow.edges)
    before = {after: source for source, after in flow.edges}
    into: dict[int, int] = {}
    for number, box in enumerate(flow.boxes):
        source = before.get(number)
        if source is None or box.kind not in _FUSED or incoming[number] != 1 or outgoing[source] != 1:
            continue
        target = into.get(source, source)
        if flow.boxes[target].kind in ("input", "unknown") or len(flow.boxes[target].lines) > 5:
            continue
        into[number] = target
        joined = flow.boxes[target]
        joined.lines += box.lines
        joined.paths += box.paths
        joined.unknown |= box.unknown
        joined.size = box.size or joined.size
    kept = [number for number in range(len(flow.boxes)) if number not in into]
    renumbered = {number: place for place, number in enumerate(kept)}
    ends = {number: renumbered[into.get(number, number)] for number in range(len(flow.boxes))}
    edges = dict.fromkeys((ends[a], ends[b]) for a, b in flow.edges if ends[a] != ends[b])
    return Flow([flow.boxes[number] for number in kept], list(edges))


def kind_of(obj: LuaObject) -> str:
    """What colours the box of a module."""
    kind = traits_of(obj.typename).picture
    return "weights" if kind == "other" and isinstance(obj.get("weight"), Tensor) else kind


def describe(obj: LuaObject) -> str:
    """One line about a module: its class and what distinguishes it from others of the class."""
    name = obj.typename.split(".")[-1]
    told = [_planes(obj), _window(obj), *(_value(obj.get(field)) for field in traits_of(obj.typename).label)]
    return " ".join([name, *(text for text in told if text)])


def _planes(obj: LuaObject) -> str:
    for before, after in (
        ("nInputPlane", "nOutputPlane"),
        ("inputFrameSize", "outputFrameSize"),
        ("inputSize", "outputSize"),
    ):
        numbers = obj.get(before), obj.get(after)
        if all(isinstance(number, float) for number in numbers):
            return f"{numbers[0]:.0f}→{numbers[1]:.0f}"
    weight = obj.get("weight")
    if isinstance(weight, Tensor) and len(weight.size) == 2 and obj.get("kW") is None:
        rows, columns = weight.size
        return f"{rows}→{columns}" if traits_of(obj.typename).reads == "indices" else f"{columns}→{rows}"
    return ""


def _window(obj: LuaObject) -> str:
    window = _numbers(obj, "kT", "kH", "kW")
    if not window:
        return ""
    text = "x".join(window)
    stride = _numbers(obj, "dT", "dH", "dW")
    if stride and set(stride) != {"1"}:
        text += f" /{stride[0] if len(set(stride)) == 1 else 'x'.join(stride)}"
    return text


def _numbers(obj: LuaObject, *names: str) -> list[str]:
    return [f"{value:g}" for name in names if isinstance(value := obj.get(name), float)]


def _value(value: Value) -> str:
    if isinstance(value, Storage) and len(value) <= 8:
        return "x".join(f"{n:.0f}" for n in value.data)
    return f"{value:g}" if isinstance(value, float) else ""

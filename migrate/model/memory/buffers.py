"""Whose memory the values of a network are: its layers run on references to memory in place of tensors.

Each value is followed twice, through Torch7's layers and through the modules that they became: the two differ where
Torch7 copies and PyTorch passes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from torch import nn

from ..layer_record import LayerRecord
from .overwritten import Overwritten

#: So many steps of the analysis are worth their time; models have a few thousand.
BUDGET = 300_000


class Ref(NamedTuple):
    """A reference to a piece of memory, and how often layers had written there when it was taken."""

    cell: int
    version: int


class Memory(NamedTuple):
    """Where the numbers of a value may lie: in Torch7, and in our modules; a table that is not followed is one."""

    torch7: tuple[Ref, ...] = ()
    ours: tuple[Ref, ...] = ()


Value = Memory | list["Value"]


class TooLarge(Exception):
    """The analysis would take too long."""


class Cells:
    """The pieces of memory of a run, and the modules that wrote there, in order."""

    def __init__(self) -> None:
        self.writers: list[list[int]] = []

    def new(self) -> tuple[Ref, ...]:
        """Memory that nobody else knows."""
        self.writers.append([])
        return (Ref(len(self.writers) - 1, 0),)

    def write(self, refs: Iterable[Ref], writer: int) -> tuple[Ref, ...]:
        """Changes memory; what was read there before is known by the older references only."""
        cells = dict.fromkeys(ref.cell for ref in refs)
        for cell in cells:
            self.writers[cell].append(writer)
        return tuple(Ref(cell, len(self.writers[cell])) for cell in cells)

    def changed(self, refs: Iterable[Ref]) -> set[int]:
        """Who has written there since these references were taken."""
        return {writer for ref in refs for writer in self.writers[ref.cell][ref.version :]}


class Layers:
    """The layers of a model, and which are whose children.

    Args:
        records: the layers; the model itself is at "".
    """

    def __init__(self, records: list[LayerRecord]) -> None:
        self.by_path = {path: record for record in reversed(records) for path in record.paths}
        self._children: dict[int, dict[str, LayerRecord]] = {}
        for path, record in self.by_path.items():
            above = path
            while above:
                above = above.rpartition(".")[0]
                parent = self.by_path.get(above)
                if parent is not None and not parent.traits.children:
                    break  # it only asks the layer, which runs elsewhere
                if parent is not None:
                    name = path.removeprefix(above).removeprefix(".")
                    self._children.setdefault(id(parent), {})[name] = record
                    break

    def children(self, record: LayerRecord) -> dict[str, LayerRecord]:
        """The layers right inside a layer, by their names there."""
        return self._children.get(id(record), {})

    def child_at(self, record: LayerRecord, number: int) -> LayerRecord:
        """The layer that the module of a layer holds at a number, counted from 0."""
        children = self.children(record)
        while len(children) == 1 and next(iter(children.values())).module is record.module:
            (record,) = children.values()
            children = self.children(record)
        return children[str(number + 1)]

    def numbered(self, record: LayerRecord) -> list[LayerRecord]:
        """The children "1", "2", …"""
        children = self.children(record)
        return [children[name] for name in map(str, range(1, len(children) + 1)) if name in children]


class MemoryRun:
    """One run of a model, in evaluation.

    Args:
        layers: the layers of the model.
        in_place: ids of the modules of ours that write into their input.
        copying: ids of the modules of ours that copy where Torch7 does.

    Attributes:
        seen: ids of the modules whose write somebody else in Torch7 reads.
        input: what the model gets.
        output: what it gives.
        must_copy: the layers that have to copy, or others would read a write that they do not read in Torch7.
    """

    def __init__(self, layers: Layers, in_place: set[int], copying: set[int]) -> None:
        self.layers, self.in_place, self.copying = layers, in_place, copying
        self.seen: set[int] = set()
        self.must_copy: dict[int, LayerRecord] = {}
        self._torch7, self._ours = Cells(), Cells()
        self._passed_by: dict[int, list[LayerRecord]] = {}
        self._copies: list[LayerRecord] = []
        self._pushed: list[Value] = []
        self._writes = 0
        self._blurred: set[int] = set()
        self._left = BUDGET
        self.input = self._new()
        self.output = self._layer(layers.by_path[""], self.input)
        self._read(self.output)
        for cell in self._blurred:
            if self._ours.writers[cell]:  # one of the parts was written, no matter which
                self._blame(cell)

    def _new(self) -> Memory:
        return Memory(self._torch7.new(), self._ours.new())

    def _leaves(self, value: Value) -> Iterator[Memory]:
        waiting = [value]
        while waiting:
            item = waiting.pop()
            self._spend(1)
            if isinstance(item, Memory):
                self._spend(len(item.torch7) + len(item.ours))
                yield item
            else:
                waiting.extend(reversed(item))

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooLarge

    def _merged(self, value: Value) -> Memory:
        """A value as one, whose parts are not told apart."""
        if isinstance(value, Memory):
            return value
        parts = list(self._leaves(value))
        torch7 = tuple(dict.fromkeys(ref for part in parts for ref in part.torch7))
        ours = tuple(dict.fromkeys(ref for part in parts for ref in part.ours))
        self._blurred |= {ref.cell for ref in ours} if len(torch7) > 1 else set()
        return Memory(torch7, ours)

    def _read(self, value: Value) -> None:
        for part in self._leaves(value):
            expected, got = self._torch7.changed(part.torch7), self._ours.changed(part.ours)
            self._spend(len(expected) + len(got))
            self.seen |= expected
            for ref in part.ours if got - expected else ():
                if self._ours.changed([ref]) - expected:
                    self._blame(ref.cell)

    def _blame(self, cell: int) -> None:
        self.must_copy.update((id(record), record) for record in self._passed_by.get(cell, ()))

    def _layer(self, record: LayerRecord, value: Value) -> Value:
        self._spend(1)
        children = self.layers.children(record)
        flow = "graph" if is_graph(record) else record.traits.flow
        if len(children) == 1:
            (child,) = children.values()
            if child.module is record.module:  # it became the module that it holds
                return self._layer(child, value)
        numbered = self.layers.numbered(record)
        if flow in _FLOWS and (len(numbered) == len(children) or flow in ("graph", "pull")):
            return _FLOWS[flow](self, record, numbered, value)
        if children:
            return self._unknown(record, value)
        return self._leaf(record, value)

    # Layers without layers inside

    def _leaf(self, record: LayerRecord, value: Value) -> Value:
        if writes(record):
            return self._written(record, value)
        if record.traits.output in ("pass", "children"):
            return self._merged(value)
        self._read(value)
        return self._copied(record, value) if record.traits.output == "copy" else self._new()

    def _written(self, record: LayerRecord, value: Value) -> Memory:
        """Of a table of operands the first is written, while the third and later ones have yet to be read."""
        self._read(value)
        operands = value if isinstance(value, list) and record.traits.flow == "operands" else [value]
        target, writer = self._merged(operands[0]) if operands else Memory(), id(record.module)
        self._writes += writer in self.in_place
        if writer in self.in_place:
            ours = self._ours.write(target.ours, writer)
        else:  # what only writes when it trains passes its input on
            ours = target.ours if record.traits.output == "pass" else self._ours.new()
        written = Memory(self._torch7.write(target.torch7, writer), ours)
        self._read(operands[2:])
        return written

    def _copied(self, record: LayerRecord, value: Value) -> Memory:
        """In Torch7 a copy; in ours the very value, unless the module copies too."""
        if id(record.module) in self.copying:
            return self._new()
        given = self._merged(value)
        self._copies.append(record)
        for ref in given.ours:
            self._passed_by.setdefault(ref.cell, []).append(record)
        return Memory(self._torch7.new(), given.ours)

    # Containers

    def _unknown(self, record: LayerRecord, value: Value) -> Memory:
        """Children may run in any order, any number of times, and read whatever another gave, or got."""
        self._read(value)
        given, writes_before, copies_before = self._merged(value), self._writes, len(self._copies)
        children = {id(child): child for child in self.layers.children(record).values()}
        outputs: list[Value] = [self._merged(self._layer(child, given)) for child in children.values()]
        self._read([given, *outputs])
        output, new = self._merged(outputs), self._new()
        if record.traits.flow == "steps":  # in evaluation Torch7 keeps a copy of what each step gave
            result = self._copied(record, output)
            result = Memory(result.torch7, (*result.ours, *new.ours))
        else:
            kept = () if record.traits.output == "own" else output.torch7
            passed = given if record.traits.output == "pass" else Memory()
            result = Memory((*new.torch7, *kept, *passed.torch7), (*new.ours, *output.ours, *passed.ours))
        if self._writes > writes_before:
            self._blurred |= {ref.cell for ref in given.ours}
            self.must_copy.update((id(copy), copy) for copy in self._copies[copies_before:])
        return result

    def _chain(self, record: LayerRecord, children: list[LayerRecord], value: Value) -> Value:
        for child in children:
            value = self._layer(child, value)
        return value

    def _first(self, record: LayerRecord, children: list[LayerRecord], value: Value) -> Value:
        return self._chain(record, children[:1], value)

    def _branches(self, record: LayerRecord, children: list[LayerRecord], value: Value) -> Value:
        return [self._layer(child, value) for child in children]

    def _entries(self, record: LayerRecord, children: list[LayerRecord], value: Value) -> Value:
        return [self._layer(child, _entry(value, i)) for i, child in enumerate(children)]

    def _joined(self, record: LayerRecord, children: list[LayerRecord], value: Value) -> Value:
        self._read(self._branches(record, children, value))
        return self._new()

    def _graph(self, record: LayerRecord, children: list[LayerRecord], value: Value) -> Value:
        module: Any = record.module  # `nodes` and `outputs` as the graph of a converter describes them
        by_number = self.layers.children(record)
        values = [value]
        for index, sources in module.nodes:
            given = self._gathered(values, sources)
            child = by_number.get(str(index + 1)) if isinstance(index, int) else self._inside(record, index)
            values.append(self._layer(child, given) if child else self._helped(module, index, given))
        return self._gathered(values, module.outputs)

    def _inside(self, record: LayerRecord, path: str) -> LayerRecord:
        """The layer that a dotted path leads to, by numbers of modules."""
        for name in path.split("."):
            record = self.layers.child_at(record, int(name))
        return record

    def _helped(self, graph: Any, index: int, given: Value) -> Value:
        """What a module gives that is none of Torch7's, or no module."""
        if index < 0:
            return given
        module = graph[index]
        if isinstance(module, Overwritten) and isinstance(given, list):
            self._read(given[:0] if module.resized else given[0])
            return _entry(given, 1)
        self._read(given)
        return self._new() if isinstance(given, list) else self._merged(given)

    def _gathered(self, values: list[Value], sources: list[Any]) -> Value:
        gathered = [self._taken(values, source) for source in sources]
        return gathered[0] if len(gathered) == 1 else gathered

    def _taken(self, values: list[Value], source: list[Any]) -> Value:
        self._spend(1)
        if not source or isinstance(source[0], list):
            return [self._taken(values, inner) for inner in source]
        value: Value = values[source[0]]
        for entry in source[1:]:
            value = _entry(value, entry)
        return value

    # Layers that pick from tables

    def _same(self, record: LayerRecord, children: list[LayerRecord], value: Value) -> Value:
        return value

    def _select(self, record: LayerRecord, children: list[LayerRecord], value: Value) -> Value:
        index = record.object.get("index")
        if not isinstance(value, list) or not isinstance(index, float):
            return self._merged(value)
        return _entry(value, int(index) - 1 if index > 0 else int(index))

    def _narrow(self, record: LayerRecord, children: list[LayerRecord], value: Value) -> Value:
        offset, length = record.object.get("offset"), record.object.get("length") or 1.0
        if not isinstance(value, list) or not isinstance(offset, float) or not isinstance(length, float):
            return self._merged(value)
        return value[int(offset) - 1 : int(offset + length) - 1]

    def _push(self, record: LayerRecord, children: list[LayerRecord], value: Value) -> Value:
        self._pushed.append(self._merged(value))
        return self._pushed[-1]

    def _pull(self, record: LayerRecord, children: list[LayerRecord], value: Value) -> Value:
        return self._merged([value, *self._pushed])


_FLOWS: dict[str, Callable[[MemoryRun, LayerRecord, list[LayerRecord], Value], Value]] = {
    "chain": MemoryRun._chain,
    "replicas": MemoryRun._first,
    "wrapper": MemoryRun._first,
    "branches": MemoryRun._branches,
    "entries": MemoryRun._entries,
    "joined": MemoryRun._joined,
    "slices": MemoryRun._joined,
    "graph": MemoryRun._graph,
    "same": MemoryRun._same,
    "select": MemoryRun._select,
    "narrow": MemoryRun._narrow,
    "push": MemoryRun._push,
    "pull": MemoryRun._pull,
}


def _entry(value: Value, index: int) -> Value:
    if isinstance(value, Memory):
        return value
    return value[index] if -len(value) <= index < len(value) else Memory()  # as it is, the model can't run


def is_graph(record: LayerRecord) -> bool:
    """Did a layer become a graph of modules, whatever it was in Torch7?"""
    return isinstance(record.module, nn.ModuleList) and hasattr(record.module, "nodes")


def writes(record: LayerRecord) -> bool:
    """Does a layer change its input in place, be it only when it trains?"""
    return record.traits.output == "write" or bool(getattr(record.module, "inplace", False))

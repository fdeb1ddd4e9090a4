"""What Torch7's modules overwrite: each has one output, and writes into it whenever it runs, whoever still reads it.

A network is run on symbols in place of tensors. Each value is followed twice: as the tensor or table that Torch7 has,
whose content changes when the module that owns it runs again, and as what our modules hand on. Where a reader gets
something else in Torch7, the container around is rewritten; see `rewriting`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from ..layer_record import LayerRecord
from .buffers import BUDGET, Layers, TooLarge, writes
from .symbols import Buffer, Pair, Place, Symbol, Symbols, Table, Value, copied, entry_symbol, freeze, snapshot


class SymbolicRun:
    """One run of a network, in evaluation.

    Args:
        layers: the layers of the model.
        root: the layer to run.

    Attributes:
        records: place -> the layer that ran there.
        runs: where the runs took place that symbols number.
        reads: place of a reader, what ours gets there, what Torch7 reads there; where the two differ.
        own: the layers that read the very memory that they write.
        opaque: containers whose children ran in some way of their own.
        views: the layers that symbols ("again", …) number.
    """

    def __init__(self, layers: Layers, root: LayerRecord) -> None:
        self.layers = layers
        self.records: dict[Place, LayerRecord] = {}
        self.runs: list[Place] = []
        self.reads: list[tuple[Place, Symbols, Symbols]] = []
        self.own: list[LayerRecord] = []
        self.opaque: dict[int, LayerRecord] = {}
        self.views: list[LayerRecord] = []
        self._outputs: dict[Any, Value] = {}
        self._flows: dict[int, tuple[LayerRecord, Flow | None]] = {}
        self._pushed: list[Pair] = []
        self._left = BUDGET
        self.output = self.layer(root, (Buffer(("input",)), ("input",)), ())
        self.read((), self.output)

    # What a value holds now

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooLarge

    def now(self, value: Value) -> Symbols:
        """What Torch7 finds in a value at this moment."""
        self._spend(1)
        if isinstance(value, Table):
            return [self.now(item) for item in value.entries]
        if value.parent is not None:
            return entry_symbol(self.now(value.parent[0]), value.parent[1])
        if value.base is None:
            return value.content
        now = self.now(value.base)
        if now == value.was:
            return value.content
        if value.view is None and not isinstance(now, list):
            return ("sized", value.content, now, freeze(value.was))
        if value.view is None:
            return ("unknown", "")
        self.views += [] if value.view in self.views else [value.view]
        return ("again", self.views.index(value.view), freeze(value.was), freeze(now))

    def read(self, place: Place, pair: Pair) -> Symbols:
        """What a reader gets in Torch7; noted if ours would get something else."""
        now = self.now(pair[0])
        if now != pair[1]:
            self.reads.append((place, pair[1], now))
        return now

    # Layers

    def layer(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        """Runs one layer."""
        self._spend(10)
        children = self.layers.children(record)
        self.records[place] = record
        if len(children) == 1:
            ((name, child),) = children.items()
            if child.module is record.module:  # it became the module that it holds
                return self.layer(child, given, (*place, name))
        flow = self.flow(record)
        return flow(self, record, given, place) if flow else self.leaf(record, given, place)

    def flow(self, record: LayerRecord) -> Flow | None:
        """How to run a container through whose children values go in a known way."""
        known = self._flows.get(id(record))
        if known is None:
            known = self._flows[id(record)] = record, self._flow(record)
        return known[1]

    def _flow(self, record: LayerRecord) -> Flow | None:
        flow, children = record.traits.flow, self.layers.children(record)
        if flow in _PICKERS:
            return _PICKERS[flow]
        if flow not in _FLOWS or not isinstance(record.module, (nn.Sequential, nn.ModuleList)):
            return None
        modules = list(record.module)
        fits = all(name.isdigit() and int(name) <= len(modules) for name in children) and all(
            modules[int(name) - 1] is child.module for name, child in children.items()
        )
        return _FLOWS[flow] if fits and (flow == "graph" or len(children) == len(modules)) else None

    def leaf(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        """Runs a layer whose inside is not followed."""
        traits, known = record.traits, self._outputs.get(id(record.object))
        if traits.begins_with_first and isinstance(given[0], Table) and known in given[0].entries[1:]:
            first, second, *others = given[0].entries
            self.own += [record] if known in others else []  # which holds what there is of the result by then
            given = Table([first, first if second is known else second, *others]), given[1]
        self.read(place, given)
        symbol: Symbol = ("run", self.started(record, given, place))
        inside = self._ran_inside(record, given[0], symbol) if self.layers.children(record) else None
        buffer = known if isinstance(known, Buffer) and traits.reuses == "output" else Buffer()
        if isinstance(known, Buffer) and traits.reuses in ("rows", "unknown"):
            known.content = ("rows", symbol) if traits.reuses == "rows" else ("unknown", record.path)
        elif buffer is known and traits.output == "pass" and buffer.entries:  # they are others' tensors, and stay
            old = copied(buffer)
            for index, item in buffer.entries.items():
                item.parent = (old, index)
            buffer.entries = {}
        if writes(record) or traits.output == "pass":
            target = snapshot(self._first(given[0]) if writes(record) and traits.flow == "operands" else given[0])
            buffer.base, buffer.was, buffer.view = target, self.now(target), None if writes(record) else record
        else:
            lies = known is not None and self._lies_in(given[0], known)
            if known is not None and lies and not self._begins_with(record, given[0], known):
                self.own.append(record)
            memory = inside
            if memory is None and traits.reuses == "storage":
                memory = known.base if isinstance(known, Buffer) and isinstance(known.base, Buffer) else Buffer()
                memory.content = symbol
            buffer.base, buffer.was, buffer.view = memory, symbol, None
        buffer.content, buffer.tensor = symbol, _gives_tensor(record.module)
        self._outputs[id(record.object)] = buffer
        return buffer, symbol

    def _begins_with(self, record: LayerRecord, given: Value, output: Value) -> bool:
        """Does a layer add to what is in its output, say, and read that nowhere else?"""
        if not record.traits.begins_with_first or not isinstance(given, Table):
            return False
        parts = [item for item in given.entries if item is not output or item is not given.entries[0]]
        return not any(self._lies_in(item, output) for item in parts)

    def _ran_inside(self, record: LayerRecord, given: Value, symbol: Symbol) -> Buffer | None:
        """Notes that layers inside of one ran in some way of its own; returns the memory inside that its output is."""
        self.opaque[id(record)] = record
        inside = list(self._inside(record))
        last, found = record, None
        while record.traits.output == "children" and (children := self.layers.numbered(last)):
            last = children[-1]
        if last is not record and not self.layers.children(last) and last.traits.output in ("own", "copy"):
            found = self._outputs.setdefault(id(last.object), Buffer()) if last.traits.reuses == "output" else None
        for child in inside:
            memory = self._outputs.get(id(child.object))
            if memory is not None and self._lies_in(given, memory):
                self.own.append(child if len(inside) == 1 else record)
            if isinstance(memory, Buffer) and memory is not found:
                memory.content, memory.base = ("unknown", child.path), None
        if isinstance(found, Buffer):
            found.content, found.base = symbol, None
            return found
        return None

    def started(self, record: LayerRecord, given: Pair, place: Place) -> int:
        """Counts a run."""
        self.runs.append(place)
        return len(self.runs) - 1

    def _inside(self, record: LayerRecord) -> Iterator[LayerRecord]:
        for child in self.layers.children(record).values():
            yield child
            yield from self._inside(child)

    def _first(self, value: Value) -> Value:
        return value.entries[0] if isinstance(value, Table) and value.entries else value

    def _lies_in(self, value: Value | None, memory: Value) -> bool:
        """Is a value, or a part of it, the memory, or a view of it?"""
        if value is memory:
            return True
        if isinstance(value, Table):
            return any(self._lies_in(item, memory) for item in value.entries)
        return value is not None and (
            self._lies_in(value.base, memory) or (value.parent is not None and self._lies_in(value.parent[0], memory))
        )

    def table(self, key: Any, entries: list[Value] | None = None) -> Table:
        """The table of Torch7 that has this key, with new entries or those that it had."""
        known = self._outputs.get(key)
        table = known if isinstance(known, Table) else Table()
        table.entries = table.entries if entries is None else entries
        self._outputs[key] = table
        return table

    def child(self, record: LayerRecord, name: str, given: Pair, place: Place) -> Pair:
        """Runs a child."""
        return self.layer(self.layers.children(record)[name], given, (*place, name))

    # Containers

    def chain(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        for name in _names(record):
            given = self.child(record, name, given, place)
        return given

    def branches(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        table, symbols = self.table(id(record.object)), []
        for index, name in enumerate(_names(record)):
            value, symbol = self.child(record, name, given, place)
            table.entries[index:] = [value, *table.entries[index + 1 :]]  # a child may read what the last run left
            symbols.append(symbol)
        return table, symbols

    def entries(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        table, symbols = self.table(id(record.object)), []
        for index, name in enumerate(_names(record)):
            value, symbol = self.child(record, name, self.entry(given, index), place)
            table.entries[index:] = [value, *table.entries[index + 1 :]]
            symbols.append(symbol)
        return table, symbols

    def joined(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        results = [self.child(record, name, given, place) for name in _names(record)]
        return self.join(record, results, place)

    def join(self, record: LayerRecord, results: list[Pair], place: Place) -> Pair:
        """The output of a container that holds what all children gave."""
        given: Pair = (Table([value for value, _ in results]), [symbols for _, symbols in results])
        self.read(place, given)
        symbol: Symbol = ("run", self.started(record, given, place))
        known = self._outputs.get(id(record.object))
        buffer = known if isinstance(known, Buffer) else Buffer()
        buffer.content, buffer.tensor = symbol, True
        self._outputs[id(record.object)] = buffer
        return buffer, symbol

    def slices(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        number = self.started(record, given, place)
        cut = Buffer(("run", number), snapshot(given[0]), self.now(given[0]), record)
        pair: Pair = (cut, ("run", number))
        results = [self.child(record, name, self.entry(pair, i), place) for i, name in enumerate(_names(record))]
        return self.join(record, results, place)

    def graph(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        module: Any = record.module
        children = self.layers.children(record)
        values = [given]
        for number, (index, sources) in enumerate(module.nodes):
            gathered = self.gathered(values, sources, (id(record.object), number))
            name = str(index + 1)
            values.append(self.child(record, name, gathered, place) if name in children else gathered)
        return self.gathered(values, module.outputs, id(record.object))

    def gathered(self, values: list[Pair], sources: list[list[int]], key: Any) -> Pair:
        found = []
        for number, *entries in sources:
            value = values[number]
            for index in entries:
                value = self.entry(value, index)
            found.append(value)
        if len(found) == 1:
            return found[0]
        return self.table(key, [value for value, _ in found]), [symbols for _, symbols in found]

    # Tables

    def entry(self, given: Pair, index: int) -> Pair:
        """An entry of a table."""
        value, symbols = given[0], entry_symbol(given[1], index)
        if isinstance(value, Table):
            found = value.entries[index] if -len(value.entries) <= index < len(value.entries) else Buffer()
            return found, symbols
        if index not in value.entries:
            value.entries[index] = Buffer(parent=(value, index))
        return value.entries[index], symbols

    def same(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        return given

    def select(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        index = record.object.get("index")
        if not isinstance(index, float):
            return self.leaf(record, given, place)
        return self.entry(given, int(index) - 1 if index > 0 else int(index))

    def narrow(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        offset, length = record.object.get("offset"), record.object.get("length") or 1.0
        if not isinstance(given[0], Table) or not isinstance(offset, float) or not isinstance(length, float):
            return self.leaf(record, given, place)
        found = [self.entry(given, i) for i in range(int(offset) - 1, int(offset + length) - 1)]
        return self.table(id(record.object), [value for value, _ in found]), [symbols for _, symbols in found]

    def flatten(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        found = list(_flattened(given))
        if any(isinstance(value, Buffer) and not value.tensor for value, _ in found):
            return self.leaf(record, given, place)
        return Table([value for value, _ in found]), [symbols for _, symbols in found]

    def push(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        self._pushed.append(given)
        return self.leaf(record, given, place)

    def pull(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        everything = [given, *self._pushed]
        return self.leaf(record, (Table([value for value, _ in everything]), [s for _, s in everything]), place)


Flow = Callable[[SymbolicRun, LayerRecord, Pair, Place], Pair]

_FLOWS: dict[str, Flow] = {
    "chain": SymbolicRun.chain,
    "branches": SymbolicRun.branches,
    "entries": SymbolicRun.entries,
    "joined": SymbolicRun.joined,
    "slices": SymbolicRun.slices,
    "graph": SymbolicRun.graph,
}

_PICKERS: dict[str, Flow] = {
    "same": SymbolicRun.same,
    "select": SymbolicRun.select,
    "narrow": SymbolicRun.narrow,
    "flatten": SymbolicRun.flatten,
}


def _flattened(given: Pair) -> Iterator[Pair]:
    value, symbols = given
    if isinstance(value, Buffer):
        yield given
    else:
        for index, item in enumerate(value.entries):
            yield from _flattened((item, entry_symbol(symbols, index)))


def _gives_tensor(module: nn.Module) -> bool:
    """Does a module say that it gives one tensor, whatever it gets?"""
    said = inspect.get_annotations(type(module).forward).get("return")
    return said is torch.Tensor or said in ("torch.Tensor", "Tensor")


def _names(record: LayerRecord) -> list[str]:
    return [str(number + 1) for number in range(len(record.module._modules))]

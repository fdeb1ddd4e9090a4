"""Rewrites containers in which a module runs twice, so that all read what they read in Torch7.

A container whose children read what a later run overwrote becomes the graph that is registered as its form "graph":
the same children in the same order, and explicit steps where an older result is what a newer one wrote.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ...base.errors import Refusal
from ..layer_record import LayerRecord
from ..registry import form_of
from .buffers import Layers, TooLarge
from .overwriting import SymbolicRun
from .overwritten import Overwritten, Slices
from .symbols import Pair, Place, Symbol, Symbols, parts

_TOO_LARGE = (
    "layers in it run several times, too often to work out where Torch7 overwrites a result before it is read; there "
    "the numbers differ"
)

#: Where a value is in a graph: its number and entries of it, or a list of such.
Source = list[Any]


class Missing(Exception):
    """A value has no name in the graph, since it was made inside a part that is one step."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place


class Rewriting(SymbolicRun):
    """A container as a graph.

    Args:
        layers: the layers of the model.
        root: the container.
        inlined: the containers in it whose children are steps of their own.

    Attributes:
        nodes: of the graph; see `converters.tables.graph.Graph`.
        outputs: of the graph.
        extra: modules that it needs beside its own.
    """

    def __init__(self, layers: Layers, root: LayerRecord, inlined: set[Place]) -> None:
        self.root, self.inlined = root, inlined
        self.nodes: list[Any] = []
        self.extra: list[nn.Module] = []
        self._where: dict[Any, Source] = {("input",): [0]}
        self._lengths: dict[tuple[int, ...], int] = {}
        self._hidden = 0
        super().__init__(layers, root)
        self.outputs = self.sources(self.output)

    def layer(self, record: LayerRecord, given: Pair, place: Place) -> Pair:
        children = self.layers.children(record)
        if self._hidden or place in {(), *self.inlined} or not children or self.flow(record) is None:
            return super().layer(record, given, place)
        node = self.node(self.index(place), self.sources(given))
        self._hidden += 1
        value, symbols = super().layer(record, given, place)
        self._hidden -= 1
        self._express(symbols, [node])
        self._express(self.now(value), [node])
        return value, symbols

    def started(self, record: LayerRecord, given: Pair, place: Place) -> int:
        number = super().started(record, given, place)
        if not self._hidden:
            flow = record.traits.flow if self.flow(record) else ""
            index: int | str
            if flow in ("joined", "slices") and isinstance(given[1], list):
                join = form_of("join", record.module)
                if join is None:
                    raise LookupError(record.path)
                index = self.helper(join(record.module))
            elif flow == "slices":
                index = self.helper(Slices(record.module.input_dim))  # type: ignore[arg-type]
            else:
                index = self.index(place)
            self._where["run", number] = [self.node(index, self.sources(given))]
        return number

    def node(self, index: int | str, sources: list[Source]) -> int:
        """Adds a step; returns the number of its value."""
        self.nodes.append([index, sources])
        return len(self.nodes)

    def index(self, place: Place) -> int | str:
        """Which module of the root ran at a place: the number of a child, or a dotted path."""
        record, found = self.root, []
        for name in place:
            child = self.layers.children(record)[name]
            found += [] if child.module is record.module else [str(int(name) - 1)]
            record = child
        return int(found[0]) if len(found) == 1 else ".".join(found)

    def helper(self, module: nn.Module) -> int:
        """The number of a module that is none of Torch7's."""
        kinds = [(type(known), repr(known)) for known in self.extra]
        kind = (type(module), repr(module))
        if kind not in kinds:
            self.extra.append(module)
            kinds.append(kind)
        return len(self.root.module._modules) + kinds.index(kind)

    # Where values are

    def sources(self, pair: Pair) -> list[Source]:
        """What Torch7 reads in a value now."""
        merged = self._merged(pair[1], self.now(pair[0]))
        alone = not merged or not isinstance(merged[0], list) or len(merged) == 1
        return [merged] if alone else merged

    def _merged(self, old: Symbols, new: Symbols) -> Source:
        if isinstance(new, list):
            olds = old if isinstance(old, list) and len(old) == len(new) else new
            return self._whole([self._merged(a, b) for a, b in zip(olds, new, strict=True)])
        if old == new or isinstance(old, list) or new[0] in ("sized", "again", "rows"):
            return self.find(new)
        return self._alias(old, new, resized=True)

    def _whole(self, found: list[Source]) -> Source:
        """The list itself, where all its entries are taken in order."""
        first = found[0] if found else []
        if not all(source and not isinstance(source[0], list) and len(source) > 1 for source in found):
            return found
        table = first[:-1]
        entries = [[*table, index] for index in range(self._lengths.get(tuple(table), -1))]
        return table if found and found == entries else found

    def _alias(self, old: Symbol, new: Symbol, *, resized: bool) -> Source:
        key = ("alias", old, new, resized)
        if key not in self._where:
            given = [self.find(old), self.find(new)]
            self._where[key] = [self.node(self.helper(Overwritten(resized)), given)]
        return self._where[key]

    def _seen_again(self, old: Any, new: Any) -> Source:
        """What a view is made of again: memory of an older size that shows newer numbers."""
        if isinstance(old, tuple) and old and old[0] == "list" and new[0] == "list" and len(old) == len(new):
            return self._whole([self._seen_again(a, b) for a, b in zip(old[1:], new[1:], strict=True)])
        if old == new:
            return self.find(new)
        if "list" in (old[0], new[0]):
            raise Missing(())
        return self._alias(old, new, resized=False)

    def find(self, symbol: Symbol) -> Source:
        """Where the value of a symbol is.

        Raises:
            Missing: it has no name.
        """
        if symbol in self._where:
            return self._where[symbol]
        kind = symbol[0]
        if kind == "entry":
            return [*self.find(symbol[1]), symbol[2]]
        if kind == "sized":
            return self._alias(symbol[1], symbol[2], resized=False)
        if kind == "rows":
            found = [self.node(self.helper(nn.Flatten(0, -2)), [self.find(symbol[1])])]
        elif kind == "again":
            view = self.views[symbol[1]].module
            given = self._seen_again(symbol[2], symbol[3])
            several = bool(given) and isinstance(given[0], list) and len(given) != 1
            found = [self.node(self.helper(copy.deepcopy(view)), given if several else [given])]
        else:
            raise Missing(self.runs[symbol[1]] if kind == "run" else ())
        self._where[symbol] = found
        return found

    def _express(self, symbols: Symbols, at: Source) -> None:
        if isinstance(symbols, list):
            self._lengths[tuple(at)] = len(symbols)
            for index, item in enumerate(symbols):
                self._express(item, [*at, index])
        else:
            self._where.setdefault(symbols, at)


@dataclass
class _Target:
    """A container to rewrite: the containers in it, as places from there, whose children are steps of their own."""

    record: LayerRecord
    inlined: set[Place] = field(default_factory=set)


def rewrite_overwritten(records: list[LayerRecord]) -> tuple[list[tuple[str, str]], list[Refusal]]:
    """Rewrites the containers in which a result is read that Torch7 has overwritten, by running a module again.

    Returns:
        (path, remark) pairs, and the layers for which it can't be worked out what they read in Torch7.
    """
    layers = Layers(records)
    if "" not in layers.by_path or not any(_runs_again(record) for record in records):
        return [], []
    targets: dict[int, _Target] = {}
    refusals: list[Refusal] = []
    try:
        waiting, seen = [layers.by_path[""]], set()
        while waiting:
            root = waiting.pop()
            if id(root) not in seen:
                seen.add(id(root))
                run = SymbolicRun(layers, root)
                waiting += [child for held in run.opaque.values() for child in layers.children(held).values()]
                refusals += _refused(run)
                _find_targets(run, targets)
        made = [] if refusals else [(target, _rewritten(layers, target)) for target in targets.values()]
    except (TooLarge, RecursionError):
        return [("", _TOO_LARGE)], []
    except LookupError as error:
        return [], [_refusal(layers.by_path[str(error.args[0])], "a module in it runs twice, and Torch7 overwrites")]
    for target, graph in made:
        module: Any = target.record.module
        for helper in graph.extra:
            module.add_module(str(len(module)), helper)
        module.__class__ = form_of("graph", module)
        module.nodes, module.outputs = graph.nodes, graph.outputs
    return [], refusals


def _runs_again(record: LayerRecord) -> bool:
    nodes = getattr(record.module, "nodes", []) if record.traits.flow == "graph" else []
    again = Counter(index for index, _ in nodes if index >= 0)
    return len(record.paths) > 1 or any(count > 1 for count in again.values())


def _refused(run: SymbolicRun) -> list[Refusal]:
    found = []
    for place, _, now in run.reads:
        for symbol in parts(now):
            while symbol[0] == "entry":
                symbol = symbol[1]
            if symbol[0] == "unknown":
                reason = f"it reads what {symbol[1] or 'a layer'} gave, after that ran again in a way that is not known"
                found.append(_refusal(run.records[place], reason))
    found += [_refusal(record, _OWN) for record in run.own if not safe_on_own_output(record)]
    return list(dict.fromkeys(found))


_OWN = (
    "it runs twice, and reads the very tensor that it writes: what Torch7 computes then depends on the order in which "
    "its library for linear algebra reads and writes"
)


def safe_on_own_output(record: LayerRecord) -> bool:
    """Does the layer compute the same when its input lies in its output?"""
    said = record.traits.safe_on_own_output
    return record.traits.keeps_size if said is None else said


def _refusal(record: LayerRecord, reason: str) -> Refusal:
    return Refusal(record.path, record.typename, reason)


def _find_targets(run: SymbolicRun, targets: dict[int, _Target]) -> None:
    """Adds the smallest containers around the reads that Torch7 overwrites."""
    found: dict[Place, set[Place]] = {}
    for place, old, new in run.reads:
        places = [place, *_places(run, old), *_places(run, new)]
        top = _common(places)
        while top and (run.records[top] is None or not _rewritable(run, top)):
            top = top[:-1]
        inner = found.setdefault(top, set())
        inner |= {
            part[:end] for part in places for end in range(len(top) + 1, len(part) + 1) if _has_flow(run, part[:end])
        }
    while within := next(((top, inner) for top in found for inner in found.values() if top in inner), None):
        top, inner = within
        inner |= found.pop(top)
    for top, inner in found.items():
        record = run.records[top]
        target = targets.setdefault(id(record), _Target(record))
        target.inlined |= {place[len(top) :] for place in inner}


def _places(run: SymbolicRun, symbols: Any) -> list[Place]:
    """Where the runs took place of which symbols tell."""
    if isinstance(symbols, list):
        return [place for item in symbols for place in _places(run, item)]
    if not isinstance(symbols, tuple) or not symbols:
        return []
    if symbols[0] == "run":
        return [run.runs[symbols[1]]]
    if symbols == ("input",):
        return [()]
    return [place for item in symbols[1:] if isinstance(item, tuple) for place in _places(run, item)]


def _common(places: list[Place]) -> Place:
    shortest = min(places, key=len)
    for end in range(len(shortest), -1, -1):
        if all(place[:end] == shortest[:end] for place in places):
            return shortest[:end]
    return ()


def _has_flow(run: SymbolicRun, place: Place) -> bool:
    record = run.records[place]
    return bool(run.layers.children(record)) and run.flow(record) is not None


def _rewritable(run: SymbolicRun, place: Place) -> bool:
    return _has_flow(run, place) and form_of("graph", run.records[place].module) is not None


def _rewritten(layers: Layers, target: _Target) -> Rewriting:
    inlined = set(target.inlined)
    while True:
        try:
            return Rewriting(layers, target.record, inlined)
        except Missing as missing:
            more = {missing.place[:end] for end in range(1, len(missing.place))} - inlined
            if not more:
                raise LookupError(target.record.path) from None
            inlined |= more

"""The layers that read the input of a model: which there are, what each takes, how they are arranged in a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..model.conversion import ConvertedModel
from ..model.layer_record import LayerRecord
from ..model.registry import traits_of
from ..model.traits import Traits
from ..t7 import LuaObject, LuaTable, Tensor, Value
from .random_input import indices_of

#: What a layer takes.
IMAGES, VOLUMES, FRAMES, INDICES, NUMBERS, SEQUENCES = "images", "volumes", "frames", "indices", "numbers", "sequences"

#: It is joined with other tensors by a layer that takes a table.
JOINED = "joined"

_MAX_DEPTH = 60

#: Files can claim anything; no table of an input has more entries.
_MAX_ENTRIES = 1000

#: Nor has any layer more channels.
_LARGEST = 2**31


@dataclass
class Entry:
    """What reads one tensor of the input.

    Attributes:
        first: the first layer that tells how many channels or numbers it takes; None if none does.
        passed: the layers before it, and itself, in order; what a run left in any of them tells sizes.
        beside: the same of other branches that read the same tensor.
        channels: how many channels or numbers `first` takes; 0: not known.
        kind: what it takes: "images", "volumes", "frames", "indices", "numbers", "sequences"; "" if not known.
        steps: is it run once per step of a sequence?
        vector: is it one vector of indices?
        slices: the 0-based axis that an nn.Parallel takes apart, and in how many slices; None if there is none.
    """

    first: LayerRecord | None = None
    passed: list[LayerRecord] = field(default_factory=list)
    channels: int = 0
    kind: str = ""
    steps: bool = False
    beside: list[list[LayerRecord]] = field(default_factory=list)
    slices: tuple[int, int] | None = None
    vector: bool = False

    @property
    def where(self) -> str:
        """The layer in words."""
        return "" if self.first is None else f"{self.first.typename} at {self.first.path or 'the top'}"


#: One tensor, or a table of them by 1-based entry.
Entries = Entry | dict[int, "Entries"]


def entries_of(conv: ConvertedModel) -> Entries:
    """The layers that read the input of a model."""
    walk = _Walk({id(record.object): record for record in conv.layers}, conv.build.aliases)
    return walk.value(conv.layers[0].object, 0) if conv.layers else Entry()


class _Walk:
    """Goes from the front of a model to the layers that read its input."""

    def __init__(self, records: dict[int, LayerRecord], aliases: Mapping[str, str]) -> None:
        self.records = records
        self.aliases = aliases
        self.known: dict[tuple[int, int], Entries] = {}  # what is shared is read in many places

    def traits(self, obj: LuaObject) -> Traits:
        """What is known of a layer, or of one that became part of another."""
        record = self.records.get(id(obj))
        return record.traits if record else traits_of(self.aliases.get(obj.typename, obj.typename))

    def value(self, obj: Value, depth: int) -> Entries:
        """What a module reads."""
        if not isinstance(obj, LuaObject) or depth > _MAX_DEPTH:
            return Entry()
        if (id(obj), depth) not in self.known:
            self.known[id(obj), depth] = self._read(obj, depth)
        return self.known[id(obj), depth]

    def _read(self, obj: LuaObject, depth: int) -> Entries:
        record, traits = self.records.get(id(obj)), self.traits(obj)
        children, flow = _children(obj, traits), traits.flow
        if flow in ("chain", "replicas"):
            return self._chain(children[:1] if flow == "replicas" else children, depth)
        if record is None:  # it became part of another layer
            return Entry()
        if flow in ("branches", "joined"):
            return _merged([self.value(child, depth + 1) for child in children])
        if flow == "slices":
            axis = obj.get("inputDimension")
            slices = (int(axis) - 1, len(children)) if isinstance(axis, float) and axis >= 1 else None
            return replace(_inside(self.value(child, depth + 1) for child in children), slices=slices)
        if flow == "entries":
            parts = [self.value(child, depth + 1) for child in children]
            return dict(enumerate(map(_of_sequence, parts) if traits.recurrent else parts, 1))
        if flow == "graph":
            return self._graph(obj, depth)
        if flow == "operands":
            return {1: Entry(passed=[record]), 2: Entry()}
        if flow == "picks":
            return {1: Entry(), 2: Entry(kind=INDICES, passed=[record], vector=True)}
        index = obj.get("index")
        if flow == "select" and isinstance(index, float) and index >= 1:
            return {int(index): Entry()}
        held = [self.value(child, depth + 1) for child in _held(obj, children)]
        if flow == "steps":
            inner = _inside(held)
            return Entry(inner.first, [record, *inner.passed], inner.channels, inner.kind, True)
        channels, kind = channels_of(record), kind_of(record)
        if channels or kind in (IMAGES, INDICES):
            return Entry(record if channels else None, [record], channels, kind)
        if flow == "feedback" and held and isinstance(held[0], dict):
            return held[0].get(1, Entry())
        inner = _inside(held)
        if inner.first is not None:
            return Entry(inner.first, [record, *inner.passed], inner.channels, inner.kind, inner.steps)
        return Entry(passed=[record])

    def _chain(self, children: list[LuaObject], depth: int) -> Entries:
        so_far = Entry()
        found: Entries = so_far
        selected: list[list[int]] = []  # entries of which all that comes behind reads one
        for child in children:
            found = self.value(child, depth + 1)
            if isinstance(found, dict):
                if so_far.passed and not _selects(so_far):
                    found = so_far
                    break
                if self.traits(child).flow != "select":
                    break
                selected.append(list(found))
                found = so_far = Entry()
                continue
            so_far = replace(
                so_far,
                passed=[*so_far.passed, *found.passed],
                kind=so_far.kind or found.kind,
                beside=[*so_far.beside, *found.beside] if not so_far.passed else so_far.beside,
            )
            if found.first is not None:
                # a Linear behind images reads what became of them
                same = so_far.kind in ("", found.kind) or found.kind != NUMBERS
                kind, channels = (found.kind, found.channels) if same else (so_far.kind, 0)
                found = replace(
                    so_far, first=found.first, channels=channels, kind=kind, steps=found.steps, slices=found.slices
                )
                break
            found = so_far
        if depth + len(selected) > _MAX_DEPTH:
            return Entry()
        for entries in reversed(selected):
            found = dict.fromkeys(entries, found)
        return found

    def _graph(self, obj: LuaObject, depth: int) -> Entries:
        """The modules behind the input node of an nngraph, and behind its entries."""
        nodes = obj.get("forwardnodes")
        inner = _data(obj.get("innode"))
        if not isinstance(nodes, LuaTable) or inner is None:
            return Entry()
        found: dict[tuple[int, ...], list[Entries]] = {(): []}
        reads: dict[int, tuple[int, ...]] = {id(inner): ()}  # data of a node -> the part of the input that it passes on
        untouched = {id(inner)}  # of these, the ones that pass on a whole table as it came
        behind: dict[int, Entry] = {}
        for node in nodes.list():
            data = _data(node)
            sources = data.get("mapindex") if data is not None else None
            if data is None or data is inner or not isinstance(sources, LuaTable):
                continue
            module, given = data.get("module"), sources.list()
            selecting = isinstance(module, LuaObject) and self.traits(module).flow == "select"
            select = _selected(data, module if selecting else None)
            selects = selecting and select
            if selects and len(given) > 1:  # of several nodes one is passed on
                given, select = given[select - 1 : select], 0
            for place, source in enumerate(given, 1):
                part = reads.get(id(source))
                if part is None:
                    continue
                if select and id(source) in untouched:
                    part = (*part, select)
                    found.setdefault(part, [])
                if not isinstance(module, LuaObject) or selects:
                    reads[id(data)] = part
                    if id(source) in untouched:
                        untouched.add(id(data))
                    continue
                reader = self.value(module, depth + 1)
                if len(given) > 1:
                    reader = _reader_of(place, reader)
                if isinstance(reader, Entry) and reader.first is None and not reader.kind:
                    reads[id(data)] = part  # it passes on what it gets
                    if id(source) in untouched and _selects(reader):
                        untouched.add(id(data))
                found.setdefault(part, []).append(_after(behind.get(id(source)), reader))
                if isinstance(reader, Entry):
                    behind[id(data)] = reader
        return _arranged(found)


def _reader_of(place: int, found: Entries) -> Entries:
    """What reads one of several nodes that a node of an nngraph takes as a table."""
    part = found.get(place, Entry()) if isinstance(found, dict) else Entry()
    return part if isinstance(part, dict) or part.first is not None or part.kind else Entry(kind=JOINED)


def _selected(data: LuaTable, layer: Value) -> int:
    """Which entry of a table a node of an nngraph passes on, by itself or by its layer; 0: it is no such node."""
    index = data.get("selectindex", layer.get("index") if isinstance(layer, LuaObject) else None)
    return int(index) if isinstance(index, float) and 1 <= index <= _MAX_ENTRIES else 0


def _arranged(found: dict[tuple[int, ...], list[Entries]]) -> Entries:
    """What reads each part of a table, by the place of the part; parts that nothing reads are there as well."""
    count = max((part[0] for part in found if part), default=0)
    if not count:
        return _merged(found.get((), []))
    inside = [{part[1:]: read for part, read in found.items() if part[:1] == (i,)} for i in range(1, count + 1)]
    parts: Entries = {i: _arranged(held) for i, held in enumerate(inside, 1)}
    return _merged([parts, *(read for read in found.get((), []) if isinstance(read, dict))])


def _after(before: Entry | None, found: Entries) -> Entries:
    if before is None:
        return found
    if isinstance(found, dict):  # what makes a table of one tensor is what reads the input
        return found if _selects(before) else before
    return replace(found, passed=[*before.passed, *found.passed])


def _of_sequence(part: Entries) -> Entries:
    """What a layer that goes through a sequence by itself takes for a child: that runs at each step, or has states."""
    return part.get(1, Entry()) if isinstance(part, dict) else replace(part, steps=True)


def _selects(entry: Entry) -> bool:
    return all(record.traits.flow in ("same", "flatten") for record in entry.passed)


def _inside(found: object) -> Entry:
    merged = _merged(list(found))  # type: ignore[call-overload]
    return merged if isinstance(merged, Entry) else Entry()


def _merged(found: list[Entries]) -> Entries:
    """What several modules read that get the same input: a table if any of them reads one."""
    tables = [item for item in found if isinstance(item, dict)]
    if tables:
        keys = sorted({key for item in tables for key in item})
        return {key: _merged([item[key] for item in tables if key in item]) for key in range(1, max(keys) + 1)}
    single = [item for item in found if isinstance(item, Entry)]
    best = next((item for item in single if item.first is not None), None) or next(
        (item for item in single if item.kind not in ("", JOINED)), Entry()
    )
    beside = [chain for item in single for chain in (item.passed, *item.beside) if chain and chain is not best.passed]
    return replace(best, beside=beside)


def _children(obj: LuaObject, traits: Traits) -> list[LuaObject]:
    fields = [obj.get(name) for name in traits.children]
    held = [child for value in fields for child in (value.list() if isinstance(value, LuaTable) else [value])]
    return [child for child in held if isinstance(child, LuaObject)]


def _held(obj: LuaObject, children: list[LuaObject]) -> list[LuaObject]:
    """The children of a decorator, which may keep its module in a field; of a recurrent layer what reads its input."""
    if isinstance(reads := obj.get("inputModule"), LuaObject):
        return [reads]
    fields = (obj.get(name) for name in ("module", "recurrentModule", "initialModule", "net"))
    return children or [child for child in fields if isinstance(child, LuaObject)]


def _data(node: Value) -> LuaTable | None:
    data = node.get("data") if isinstance(node, LuaObject) else None
    return data if isinstance(data, LuaTable) else None


def kind_of(record: LayerRecord) -> str:
    """What a layer takes; "" where it is said of none of its kind, or where it takes any count of numbers."""
    reads = record.traits.reads
    return "" if reads == NUMBERS and not channels_of(record) else reads


def channels_of(record: LayerRecord) -> int:
    """How many channels or numbers a layer takes, or its largest index; 0 where its fields don't say."""
    if not record.traits.reads:
        return 0
    if record.traits.reads == INDICES:
        indices = indices_of(record)
        return indices[-1] if indices and not record.traits.index_count else 0
    for name in ("nInputPlane", "inputSize", "inputsize", "inputFrameSize", "depth"):
        value = record.object.get(name)
        if isinstance(value, float) and 0 < value < _LARGEST:
            return int(value)
    weight = record.object.get("weight")
    if not isinstance(weight, Tensor) or not weight.size:
        return 0
    return weight.size[record.traits.weight_axis] if len(weight.size) == 2 else weight.size[0]

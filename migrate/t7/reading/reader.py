"""Reads a stream of tokens into Lua values, with a stack of its own instead of recursion."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ...base.errors import LimitExceeded, T7Error, TornFile
from ..bodies import ONE_TABLE, Body
from ..faults import FAR, Fault, halved, over
from ..limits import Limits
from ..open_objects import (
    CLASSES,
    FieldsFrame,
    Frame,
    FunctionFrame,
    ObjectFrame,
    RootFrame,
    TableFrame,
    VecFrame,
    describe,
    innermost_name,
    new_object,
    path_of,
)
from ..tags import BOOLEAN, FUNCTION_WITHOUT_INDEX, NIL, STRING, TABLE, TORCH
from ..tensors import Layout, Views, layout_of, outside
from ..values import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value
from .tokens import Tokens

_VERSION = re.compile(rb"V (0|[1-9][0-9]{0,8})\Z")
_Opened = tuple[Value, Frame | None]


class _ClassRecord(NamedTuple):
    """What stands before the body of a Torch object."""

    typename: str
    version: int
    versioned: bool
    body: Body
    form: str


@dataclass(frozen=True)
class Loss:
    """Something that a torn or damaged file has only a part of, or nothing.

    Attributes:
        path: where in the tree of objects it is; "" is the top.
        typename: its class; "" for a table; "?" where that was not read.
        read: how many of its entries or parts are there (the last one perhaps not whole).
        of: how many it should have; None where that was not read.
    """

    path: str
    typename: str
    read: int = 0
    of: int | None = None


class Reader:
    """Reads the objects of one file; indices go on from one object to the next.

    Attributes:
        tokens: where the tokens come from.
        table_classes: classes that surely have a table of fields, if not another body in `bodies`.
        functions: number of Lua functions so far.
        reached: after an error, how far the file made sense: to its end if it is only cut off there.
        known: everything with an index so far.
        salvaged: after an error, what was read of the object that it is in.
        losses: after an error, what is not whole in that object, from the top to the place of the error.
        odd_class: the last class whose body was no table, which hints at a body that is not known; or "".
    """

    def __init__(
        self,
        tokens: Tokens,
        limits: Limits,
        bodies: Mapping[str, Body],
        table_classes: Collection[str] = (),
    ) -> None:
        self.tokens = tokens
        self.table_classes = table_classes
        self.limits = limits
        self.bodies = bodies
        self.functions = 0
        self.reached = 0
        self.known: dict[int, Value] = {}
        self.salvaged: Value = None
        self.losses: list[Loss] = []
        self._records: dict[bytes, _ClassRecord] = {}
        self._objects_read = 0
        self._elements = 0
        self._most_expanded = limits.expanded_of(tokens.size)
        self._views: Views | None = None
        self._layouts: dict[tuple[int, ...], Layout] = {}
        self.odd_class = ""

    def read(self) -> Value:
        """The next object.

        Raises:
            T7Error: with the byte offset and the path inside the object.
        """
        self._objects_read += 1
        root = RootFrame(self._objects_read)
        stack: list[Frame] = [root]
        try:
            self._fill(stack)
        except Fault as fault:
            self._salvage(fault, stack)
            raise self._error(fault, stack) from None
        except MemoryError:
            hint = "Read it on a machine with more memory."
            raise self._error(Fault("there is not enough memory to go on", hint=hint), stack) from None
        return root.value

    def forget(self) -> None:
        """Begins anew with the indices, as a file does that was made of several."""
        self.known.clear()

    def starts_anew(self) -> bool:
        """Does the next object have the index of the first one, as in a file that was appended to another?"""
        before = self.tokens.pos
        try:
            tag, index = self.tokens.head()
        except Fault:
            return False
        finally:
            self.tokens.pos = before
        return tag in CLASSES and index == 1 and 1 in self.known

    def saw(self, typenames: Collection[str]) -> bool:
        """Was there an object of one of these classes?"""
        return any(record.typename in typenames for record in self._records.values())

    def _salvage(self, fault: Fault, stack: list[Frame]) -> None:
        """Notes what was read before an error, and what is not whole."""
        root = stack[0]
        assert isinstance(root, RootFrame)
        self.salvaged = root.value
        self.losses = [
            Loss(path_of(stack[: i + 1], child=True), frame.typename, *frame.progress())
            for i, frame in enumerate(stack)
            if i and frame.left
        ]
        if len(stack) > 1 or fault.inside:
            self.losses.append(Loss(path_of(stack), fault.inside or "?"))

    def _fill(self, stack: list[Frame]) -> None:
        """Reads until all frames of the stack are complete."""
        tokens, known, depth = self.tokens, self.known, self.limits.depth
        head, read_tables = tokens.head, tokens.read_tables
        frame = stack[-1]
        while True:
            if type(frame) is FieldsFrame:
                frame.read_plain(tokens)
            if not frame.left:
                stack.pop()
                if not stack:
                    return
                frame = stack[-1]
                continue
            if type(frame) is TableFrame and frame.key is None:
                read_tables(stack, known, self._open_torch)
                frame = stack[-1]
                if not frame.left or type(frame) is FieldsFrame:
                    continue
            tag, value = head()
            if tag <= STRING or tag == BOOLEAN:
                frame.take(value)
                continue
            found = known.get(value)
            if found is not None:
                if type(found) not in CLASSES[tag]:
                    raise Fault(f"object {value} was {describe(found)} before, and is another kind of object here")
                frame.take(found)
                continue
            item, child = self._open(tag, value)
            if child is not None and len(stack) > depth:
                raise over(self.limits, "depth", "objects are nested deeper than")
            frame.take(item)
            if child is not None:
                stack.append(child)
                frame = child

    def _check_new(self, index: int) -> None:
        if index < 1:
            raise Fault(f"the index of an object is {index}, but indices count from 1")
        if len(self.known) >= self.limits.objects:
            raise over(self.limits, "objects", "there are more objects than")

    def _open(self, tag: int, index: int) -> _Opened:
        """Begins an object that was not met before: the object, and the frame that waits for what it holds."""
        if tag == TABLE:
            return self._open_table(index, "")
        if tag == TORCH:
            return self._open_torch(index)
        function = LuaFunction(self.tokens.text("a function"), None, tag)
        if tag != FUNCTION_WITHOUT_INDEX:
            self._check_new(index)
            self.known[index] = function
        self.functions += 1
        return function, FunctionFrame(function)

    def _open_table(self, index: int, typename: str) -> tuple[LuaTable, TableFrame | None]:
        """Begins a table; `typename` is the class of the object whose fields it is, or ""."""
        self._check_new(index)
        table = new_object(LuaTable)
        table._entries = entries = dict[Value, Value]()
        self.known[index] = table
        count = self.tokens.integer("the number of entries of a table")
        if not count:
            return table, None
        self._check_count(count, 2)
        return table, TableFrame(entries, count, typename)

    def _class_record(self) -> _ClassRecord:
        """The version and the class name of a Torch object."""
        key = self.tokens.class_key()
        return self._records.get(key) or self._new_class_record(key)

    def _new_class_record(self, key: bytes) -> _ClassRecord:
        """Reads carefully what `key` stands for; very old files have no version."""
        self.tokens.pos -= len(key)
        name = self.tokens.text("the version of an object")
        match = _VERSION.match(name)
        if match is not None:
            name = self.tokens.text("the class name of an object")
        elif name[:2] == b"V " and name[2:].isdigit():
            raise Fault(f"{name[:40]!r} is no version of an object", hint="The file is damaged.")
        try:
            typename = name.decode()
        except UnicodeDecodeError:
            raise Fault(f"the class name {name[:40]!r} is not text", hint="The file is damaged.") from None
        version = int(match[1]) if match else 0
        body = self.bodies.get(typename, ONE_TABLE).of(version)
        record = _ClassRecord(typename, version, match is not None, body, body.form)
        self._records[key or name] = record
        return record

    def _open_torch(self, index: int) -> _Opened:
        self._check_new(index)
        record = self._class_record()
        try:
            if record.form == "tensor":
                return self._tensor(index, record), None
            if record.form == "storage":
                return self._storage(index, record), None
            return self._open_object(index, record)
        except Fault as fault:
            fault.inside = fault.inside or record.typename
            raise

    def _open_object(self, index: int, record: _ClassRecord) -> _Opened:
        body = record.body
        parts: list[Value] = []
        item = new_object(LuaObject)
        item.typename, item.version, item.versioned, _, _ = record
        item.parts = parts
        self.known[index] = item
        if body is ONE_TABLE:
            return item, self._open_fields(parts, record.typename)
        if body.form == "fields":
            return item, FieldsFrame(item, body.fields)
        if body.form == "objects":
            return item, ObjectFrame(parts, body.count, record.typename) if body.count else None
        tokens = self.tokens
        if body.form == "raw":
            parts.append(tokens.raw(body.raw_bytes(tokens.long_size), "the memory of an object"))
            tokens.longs_read = tokens.longs_read or body.count_long4 is not None
            return item, None
        table = LuaTable()
        parts.append(table)
        (count,) = tokens.longs(1, "the number of entries")
        if not count:
            return item, None
        if body.form == "vec":
            self._check_count(count, 1)
            return item, VecFrame(table._entries, count, record.typename)
        self._check_count(count, 2)
        return item, TableFrame(table._entries, count, record.typename)

    def _open_fields(self, parts: list[Value], typename: str) -> Frame | None:
        """Begins the one object that is the body of nearly every class: a table that was not met before."""
        before = self.tokens.pos
        tag, index = self.tokens.head()
        if tag == TABLE and index not in self.known:
            table, frame = self._open_table(index, typename)
            parts.append(table)
            return frame
        if tag != TABLE and typename in self.table_classes:
            raise Fault(f"the fields of a {typename} are no table", before)
        # a class that writes something else: read it the general way
        self.odd_class = typename
        self.tokens.pos = before
        return ObjectFrame(parts, 1, typename)

    def _storage(self, index: int, record: _ClassRecord) -> Storage:
        (count,) = self.tokens.longs(1, "the size of a storage")
        if count < 0:
            raise Fault(f"a storage has {count} elements", hint="The file is damaged.")
        assert record.body.dtype is not None
        storage = new_object(Storage)
        storage.typename, storage.version, storage.versioned, _, _ = record
        storage._held = self.tokens.elements(record.body.dtype, count)
        self.known[index] = storage
        return storage

    def _tensor(self, index: int, record: _ClassRecord) -> Tensor:
        numbers = self.tokens.tensor()
        # tensors of one shape come by the dozen
        shape = numbers[:-1]
        layout = self._layouts.get(shape)
        if layout is None:
            layout = self._layouts[shape] = layout_of(shape)
        tensor = new_object(Tensor)
        tensor.type, tensor.version, tensor.versioned, body, _ = record
        tensor.size, tensor.stride, lowest, highest, count = layout
        tensor.offset = offset = numbers[-1]
        self.known[index] = tensor
        tensor.storage = storage = self._storage_of(body)
        if count:
            available = 0 if storage is None else len(storage._held)
            if offset + lowest < 1 or offset + highest > available:
                raise Fault(outside(tensor), hint="The file is damaged.")
            self._elements += count
            if self._elements > self.limits.elements:
                raise over(self.limits, "elements", f"with this one of size {tensor.size} there are more elements than")
            if self._elements > self._most_expanded:
                # only now, since few files have as many
                self._views = self._views or Views(self.known.values())
                self._views.add(tensor, self._most_expanded)
        return tensor

    def _storage_of(self, body: Body) -> Storage | None:
        """The storage object that ends the body of a tensor."""
        tag, index = self.tokens.head()
        if tag == NIL:
            return None
        if tag != TORCH:
            raise Fault("the storage of a tensor is not a Torch object")
        storage = self.known.get(index)
        if storage is None:
            self._check_new(index)
            record = self._class_record()
            if record.form != "storage":
                raise Fault(f"the storage of a tensor is a {record.typename}")
            storage = self._storage(index, record)
        if type(storage) is not Storage:
            raise Fault(f"the storage of a tensor is {describe(storage)}")
        if storage.typename != body.storage:
            raise Fault(f"the storage of a tensor is a {storage.typename}, not a {body.storage}")
        return storage

    def _check_count(self, count: int, objects_each: int) -> None:
        """Checks a number of entries of which each takes some objects."""
        tokens = self.tokens
        if count < 0:
            raise Fault(f"a table has {count} entries", hint="The file is damaged.")
        fewest = count * objects_each * tokens.smallest_object
        missing = fewest - (tokens.size - tokens.pos)
        # the last newline of an ASCII file may be missing
        if missing > 1:
            raise Fault(
                f"a table of {count} entries needs at least {fewest} bytes, but the file has only "
                f"{tokens.size - tokens.pos} more",
                cut_off=missing < FAR,
                hint="The file is torn or damaged: get it again, or see what is left with `inspect --salvage`.",
            )
        if count > self.limits.entries:
            raise over(self.limits, "entries", f"a table has {count} entries, more than")

    def _error(self, fault: Fault, stack: list[Frame]) -> T7Error:
        name = fault.inside or innermost_name(stack)
        if self.tokens.cut_short() and not (fault.cut_off or fault.limit):
            fault = halved(fault, self.tokens.size)
        message = f"{fault.message}, inside {name}" if name else fault.message
        offset = self.tokens.pos if fault.offset is None else fault.offset
        self.reached = self.tokens.size if fault.cut_off else offset
        kind = LimitExceeded if fault.limit else TornFile if fault.cut_off else T7Error
        hint = fault.hint
        if self.odd_class:
            hint += (
                f" The class {self.odd_class} holds something else than a table: it may write itself in a way of its "
                "own that is not known (from Python: `bodies` can describe it)."
            )
        return kind(message[:1].upper() + message[1:], offset=offset, path=path_of(stack), hint=hint.strip())

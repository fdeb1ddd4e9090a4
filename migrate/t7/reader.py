"""Reads a stream of tokens into Lua values, with a stack of its own instead of recursion."""

from __future__ import annotations

import re

from ..errors import LimitExceeded, T7Error
from .bodies import BODIES, ONE_TABLE, Body
from .fault import Fault
from .frames import (
    Frame,
    FunctionFrame,
    ObjectFrame,
    RootFrame,
    TableFrame,
    TensorFrame,
    VecFrame,
    describe,
    innermost_name,
    path_of,
)
from .limits import Limits
from .tags import BOOLEAN, FUNCTION, FUNCTION_LEGACY, FUNCTION_WITHOUT_INDEX, STRING, TABLE, TORCH
from .tokens_binary import BinaryTokens
from .values import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value

_VERSION = re.compile(rb"V (0|[1-9][0-9]{0,8})\Z")
_CLASSES: dict[int, tuple[type, ...]] = {
    TABLE: (LuaTable,),
    TORCH: (LuaObject, Tensor, Storage),
    FUNCTION: (LuaFunction,),
    FUNCTION_LEGACY: (LuaFunction,),
}
_Opened = tuple[Value, Frame | None]


class Reader:
    """Reads the objects of one file; indices go on from one object to the next.

    Attributes:
        tokens: where the tokens come from.
        functions: number of Lua functions so far.
        known: everything with an index so far.
    """

    def __init__(self, tokens: BinaryTokens, limits: Limits) -> None:
        self.tokens = tokens
        self.limits = limits
        self.functions = 0
        self.known: dict[int, Value] = {}
        self._objects_read = 0
        self._entries = 0
        self._elements = 0

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
            raise self._error(fault, stack) from None
        return root.value

    def _fill(self, stack: list[Frame]) -> None:
        """Reads until the last frame of the stack is complete."""
        head = self.tokens.head
        known = self.known
        depth = self.limits.depth
        frame = stack[-1]
        while True:
            tag, value = head()
            if tag <= STRING or tag == BOOLEAN:
                frame.take(value)
            else:
                found = known.get(value)
                if found is None:
                    item, child = self._open(tag, value)
                    frame.take(item)
                    if child is not None:
                        if len(stack) > depth:
                            raise self._limit("depth", "objects are nested deeper than")
                        stack.append(child)
                        frame = child
                else:
                    if type(found) not in _CLASSES[tag]:
                        raise Fault(f"object {value} was {describe(found)} before, and is another kind of object here")
                    frame.take(found)
            while not frame.left:
                stack.pop()
                if not stack:
                    return
                frame = stack[-1]

    def _open(self, tag: int, index: int | None) -> _Opened:
        """Begins an object that was not met before: the object, and the frame that waits for what it holds."""
        if index is not None:
            if index < 1:
                raise Fault(f"the index of an object is {index}, but indices count from 1")
            if len(self.known) >= self.limits.objects:
                raise self._limit("objects", "there are more objects than")
        if tag == TABLE:
            table = LuaTable()
            self.known[index or 0] = table
            count = self._count("a table", self.tokens.integer("the number of entries of a table"), 2)
            return table, TableFrame(table, count) if count else None
        if tag == TORCH:
            return self._open_torch(index or 0)
        bytecode = self._bytes("a function")
        function = LuaFunction(bytecode, None, tag)
        if tag != FUNCTION_WITHOUT_INDEX:
            self.known[index or 0] = function
        self.functions += 1
        return function, FunctionFrame(function)

    def _open_torch(self, index: int) -> _Opened:
        first = self._bytes("the version of an object")
        match = _VERSION.match(first)
        name = first if match is None else self._bytes("the class name of an object")
        version = 0 if match is None else int(match[1])
        try:
            typename = name.decode()
        except UnicodeDecodeError:
            raise Fault(f"the class name {name[:40]!r} is not text") from None
        versioned = match is not None
        body = BODIES.get(typename, ONE_TABLE).of(version)
        if body.form == "storage":
            storage = self._storage(typename, body, version, versioned)
            self.known[index] = storage
            return storage, None
        if body.form == "tensor":
            tensor = self._tensor(typename, version, versioned)
            self.known[index] = tensor
            return tensor, TensorFrame(tensor, body.storage, self.limits)
        item = LuaObject(typename, version=version, parts=[], versioned=versioned)
        self.known[index] = item
        if body.form == "objects":
            return item, ObjectFrame(item, body.count) if body.count else None
        if body.form == "raw":
            item.parts.append(self.tokens.raw(body.raw_bytes(self.tokens.long_size), f"the memory of a {typename}"))
            self.tokens.longs_read = True
            return item, None
        table = LuaTable()
        item.parts.append(table)
        (count,) = self.tokens.longs(1, f"the number of entries of a {typename}")
        count = self._count(f"a {typename}", count, 2 if body.form == "hash" else 1)
        if not count:
            return item, None
        return item, TableFrame(table, count) if body.form == "hash" else VecFrame(table, count)

    def _storage(self, typename: str, body: Body, version: int, versioned: bool) -> Storage:
        (count,) = self.tokens.longs(1, f"the size of a {typename}")
        if count < 0:
            raise Fault(f"a {typename} has a size of {count}", hint="The file is damaged.")
        assert body.dtype is not None
        data = self.tokens.elements(body.dtype, count, f"a {typename} of {count} elements")
        return Storage(typename, data, version=version, versioned=versioned)

    def _tensor(self, typename: str, version: int, versioned: bool) -> Tensor:
        tokens = self.tokens
        dimensions = tokens.integer(f"the number of dimensions of a {typename}")
        if dimensions < 0:
            raise Fault(f"a {typename} has {dimensions} dimensions", hint="The file is damaged.")
        if dimensions > self.limits.dimensions:
            raise self._limit("dimensions", f"a {typename} has {dimensions} dimensions, more than")
        size = tokens.longs(dimensions, f"the size of a {typename}")
        stride = tokens.longs(dimensions, f"the stride of a {typename}")
        (offset,) = tokens.longs(1, f"the offset of a {typename}")
        if any(extent < 0 for extent in size):
            raise Fault(f"a {typename} has the negative size {size}", hint="The file is damaged.")
        tensor = Tensor(typename, size, stride, offset, None, version=version, versioned=versioned)
        self._elements += tensor.numel()
        if self._elements > self.limits.elements:
            raise self._limit("elements", f"with this {typename} of size {size} the tensors have more elements than")
        return tensor

    def _bytes(self, what: str) -> bytes:
        """A string without a tag: its length and its bytes."""
        tokens = self.tokens
        length = tokens.integer(f"the length of {what}")
        if length < 0:
            raise Fault(f"{what} has a length of {length}", hint="The file is damaged, or not a .t7 file.")
        if length > self.limits.string_bytes:
            raise self._limit("string_bytes", f"{what} has {length} bytes, more than")
        return tokens.raw(length, what)

    def _count(self, what: str, count: int, objects_each: int) -> int:
        """Checks a number of entries of which each takes some objects."""
        tokens = self.tokens
        if count < 0:
            raise Fault(f"{what} has {count} entries", hint="The file is damaged.")
        fewest = count * objects_each * tokens.smallest_object
        if fewest > tokens.size - tokens.pos:
            raise Fault(
                f"{what} of {count} entries needs at least {fewest} bytes, but the file has only "
                f"{tokens.size - tokens.pos} more",
                hint="The file is cut off or damaged.",
            )
        self._entries += count
        if self._entries > self.limits.entries:
            raise self._limit("entries", f"with {what} of {count} entries there are more than")
        return count

    def _limit(self, name: str, message: str) -> Fault:
        return Fault(
            f"{message} Limits.{name} = {getattr(self.limits, name)} allow",
            hint=f"Raise Limits.{name} if you trust the file.",
            limit=True,
        )

    def _error(self, fault: Fault, stack: list[Frame]) -> T7Error:
        name = innermost_name(stack)
        message = f"{fault.message}, inside {name}" if name else fault.message
        offset = self.tokens.pos if fault.offset is None else fault.offset
        kind = LimitExceeded if fault.limit else T7Error
        return kind(message[:1].upper() + message[1:], offset=offset, path=path_of(stack), hint=fault.hint)

"""Objects that have begun and wait for what they hold: the reader keeps a stack of them instead of recursing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .fault import Fault
from .limits import Limits
from .values import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value, table_key

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}\Z")
_PATH_STEPS = 24


class Frame:
    """An object being read.

    Attributes:
        left: how many more values it takes; 0 when it is complete.
    """

    __slots__ = ("left",)

    left: int

    def take(self, value: Value) -> None:
        """Hands it the next value; raises a `Fault` without an offset."""
        raise NotImplementedError

    def step(self, *, child: bool) -> str:
        """The part of a path that leads to the value being read (if `child`, it was handed over already)."""
        raise NotImplementedError

    def name(self) -> str:
        """The class of the object, "" for a table."""
        return ""


class RootFrame(Frame):
    """Takes the one object that is read."""

    __slots__ = ("number", "value")

    def __init__(self, number: int) -> None:
        self.left = 1
        self.number = number
        self.value: Value = None

    def take(self, value: Value) -> None:
        self.value = value
        self.left = 0

    def step(self, *, child: bool) -> str:
        return "" if self.number == 1 else f"<object {self.number}>"


class TableFrame(Frame):
    """A table: takes keys and values in turn."""

    __slots__ = ("entries", "key")

    def __init__(self, table: LuaTable, count: int) -> None:
        self.left = count
        self.entries = table._entries
        # nil can't be a key, so None says that the key comes next
        self.key: Value = None

    def take(self, value: Value) -> None:
        key = self.key
        if key is None:
            if type(value) is not str:
                try:
                    value = table_key(value)
                except ValueError as error:
                    raise Fault(str(error)) from None
            if value in self.entries:
                raise Fault(f"a table has the key {key_text(value)} twice")
            self.key = value
        else:
            self.entries[key] = value
            self.key = None
            self.left -= 1

    def step(self, *, child: bool) -> str:
        if child and self.key is None:
            return key_text(next(reversed(self.entries)))
        if child or self.key is None:
            return f"<key {len(self.entries) + 1}>"
        return key_text(self.key)


class VecFrame(Frame):
    """A list whose keys are not in the file."""

    __slots__ = ("entries",)

    def __init__(self, table: LuaTable, count: int) -> None:
        self.left = count
        self.entries = table._entries

    def take(self, value: Value) -> None:
        self.entries[len(self.entries) + 1.0] = value
        self.left -= 1

    def step(self, *, child: bool) -> str:
        return f"[{len(self.entries) + (0 if child else 1)}]"


class ObjectFrame(Frame):
    """An object of a Torch class whose body is some objects one after the other."""

    __slots__ = ("parts", "typename")

    def __init__(self, item: LuaObject, count: int) -> None:
        self.left = count
        self.parts = item.parts
        self.typename = item.typename

    def take(self, value: Value) -> None:
        self.parts.append(value)
        self.left -= 1

    def step(self, *, child: bool) -> str:
        left = self.left + 1 if child else self.left
        # the fields come last, and need no step of their own
        return "" if left == 1 else f"<part {len(self.parts) + (0 if child else 1)}>"

    def name(self) -> str:
        return self.typename


class FunctionFrame(Frame):
    """A function: takes its upvalues."""

    __slots__ = ("function",)

    def __init__(self, function: LuaFunction) -> None:
        self.left = 1
        self.function = function

    def take(self, value: Value) -> None:
        self.function.upvalues = value
        self.left = 0

    def step(self, *, child: bool) -> str:
        return "<upvalues>"

    def name(self) -> str:
        return "a function"


class TensorFrame(Frame):
    """A tensor: takes its storage, and checks that every element lies inside it."""

    __slots__ = ("limits", "storage", "tensor")

    def __init__(self, tensor: Tensor, storage: str, limits: Limits) -> None:
        self.left = 1
        self.tensor = tensor
        self.storage = storage
        self.limits = limits

    def take(self, value: Value) -> None:
        tensor = self.tensor
        if value is not None:
            if type(value) is not Storage:
                raise Fault(f"the storage of a {tensor.type} is {describe(value)}")
            if value.typename != self.storage:
                raise Fault(f"the storage of a {tensor.type} is a {value.typename}, not a {self.storage}")
            tensor.storage = value
        self.left = 0
        count = tensor.numel()
        if count == 0:
            return
        available = 0 if value is None else len(value.data)
        lowest = highest = tensor.offset
        for extent, stride in zip(tensor.size, tensor.stride, strict=True):
            reach = (extent - 1) * stride
            if reach < 0:
                lowest += reach
            else:
                highest += reach
        if lowest < 1 or highest > available:
            raise Fault(
                f"a {tensor.type} of size {tensor.size}, stride {tensor.stride} and offset {tensor.offset} reaches from "
                f"element {lowest} to {highest} of a storage that has {available}",
                hint="The file is damaged.",
            )
        if count - available > self.limits.expanded_elements:
            raise Fault(
                f"a {tensor.type} of size {tensor.size} expands {available} elements to {count}, more than "
                f"Limits.expanded_elements = {self.limits.expanded_elements} allow",
                hint="Raise the limit if you trust the file.",
                limit=True,
            )

    def step(self, *, child: bool) -> str:
        return ""

    def name(self) -> str:
        return self.tensor.type


def describe(value: Value) -> str:
    """What a value is, in a few words for an error."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, float):
        return "a number"
    if isinstance(value, (str, bytes)):
        return "a string"
    if isinstance(value, LuaTable):
        return "a table"
    if isinstance(value, LuaFunction):
        return "a function"
    return f"a {value.type if isinstance(value, Tensor) else value.typename}"


def key_text(key: Value) -> str:
    """The step of a path that a key of a table makes: `.weight`, `[3]`, `["two words"]`."""
    if isinstance(key, str) and _IDENTIFIER.match(key):
        return f".{key}"
    if isinstance(key, (str, bytes)):
        shown = repr(key[:40])
        return f"[{shown}…]" if len(key) > 40 else f"[{shown}]"
    if isinstance(key, float):
        return f"[{int(key)}]" if key.is_integer() and abs(key) < 2**53 else f"[{key!r}]"
    value = getattr(key, "value", None)
    if isinstance(value, bool):
        return f"[{str(value).lower()}]"
    return f"[{describe(key)}]"


def path_of(stack: Sequence[Frame]) -> str:
    """Where in the tree of objects the innermost frame is reading, such as `[1].modules[3].weight`."""
    last = len(stack) - 1
    chosen = range(len(stack))
    if len(stack) <= _PATH_STEPS:
        return "".join(stack[i].step(child=i < last) for i in chosen).removeprefix(".")
    half = _PATH_STEPS // 2
    first = "".join(stack[i].step(child=True) for i in chosen[:half])
    return f"{first}…{''.join(stack[i].step(child=i < last) for i in chosen[-half:])}".removeprefix(".")


def innermost_name(stack: Sequence[Frame]) -> str:
    """The class of the innermost object that has one, or ""."""
    return next((name for frame in reversed(stack) if (name := frame.name())), "")

"""Objects that have begun and wait for what they hold: the reader keeps a stack of them instead of recursing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from .bodies import Field
from .faults import Fault
from .keys import table_key
from .tags import FUNCTION, FUNCTION_LEGACY, TABLE, TORCH
from .values import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}\Z")
_PATH_STEPS = 24

#: The classes of the values that a tag with an index can stand for.
CLASSES: dict[int, tuple[type, ...]] = {
    TABLE: (LuaTable,),
    TORCH: (LuaObject, Tensor, Storage),
    FUNCTION: (LuaFunction,),
    FUNCTION_LEGACY: (LuaFunction,),
}

#: Makes an instance without calling its constructor: there can be millions.
new_object = object.__new__


class Frame:
    """An object being read.

    Attributes:
        left: how many more values it takes; 0 when it is complete.
        typename: the class of the object, "" for a table.
    """

    __slots__ = ("left", "typename")

    left: int
    typename: str

    def take(self, value: Value) -> None:
        """Hands it the next value; raises a `Fault` without an offset."""
        raise NotImplementedError

    def step(self, *, child: bool) -> str:
        """The part of a path that leads to the value being read (if `child`, it was handed over already)."""
        raise NotImplementedError

    def progress(self) -> tuple[int, int]:
        """(how many values it has, how many it takes), for one that was cut off; entries of a table count as one."""
        return 0, self.left


class RootFrame(Frame):
    """Takes the one object that is read."""

    __slots__ = ("number", "value")

    def __init__(self, number: int) -> None:
        self.left = 1
        self.typename = ""
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

    def __init__(self, entries: dict[Value, Value], count: int, typename: str = "") -> None:
        self.left = count
        self.entries = entries
        self.typename = typename
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

    def progress(self) -> tuple[int, int]:
        return len(self.entries), len(self.entries) + self.left


class VecFrame(TableFrame):
    """A list whose keys are not in the file."""

    __slots__ = ()

    def take(self, value: Value) -> None:
        self.entries[len(self.entries) + 1.0] = value
        self.left -= 1

    def step(self, *, child: bool) -> str:
        return f"[{len(self.entries) + (0 if child else 1)}]"


class ObjectFrame(Frame):
    """An object of a Torch class whose body is some objects one after the other."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[Value], count: int, typename: str) -> None:
        self.left = count
        self.parts = parts
        self.typename = typename

    def take(self, value: Value) -> None:
        self.parts.append(value)
        self.left -= 1

    def step(self, *, child: bool) -> str:
        left = self.left + 1 if child else self.left
        # the fields come last, and need no step of their own
        return "" if left == 1 else f"<part {len(self.parts) + (0 if child else 1)}>"


class PlainTokens(Protocol):
    """What a `FieldsFrame` reads its plain fields from."""

    def integer(self, what: str) -> int:
        """A C int."""

    def longs(self, count: int, what: str) -> tuple[int, ...]:
        """C longs."""

    def double(self, what: str) -> float:
        """A C double."""


class FieldsFrame(Frame):
    """An object whose fields follow each other without their names: takes those that are objects."""

    __slots__ = ("fields", "object", "position")

    def __init__(self, item: LuaObject, fields: tuple[Field, ...]) -> None:
        self.object = item
        self.fields = fields
        self.position = 0
        self.left = len(fields)
        self.typename = item.typename
        if fields[0].kind != "@":
            item.parts.append(LuaTable())

    def read_plain(self, tokens: PlainTokens) -> None:
        """Reads the fields before the next one that is an object."""
        while self.left:
            name, kind = self.fields[self.position]
            if kind in ("object", "@"):
                return
            value = self._plain(tokens, name, kind)
            if value is not None:
                self.object.fields[name] = value
            self._next()

    def _plain(self, tokens: PlainTokens, name: str, kind: str) -> Value:
        what = f"the field {name}"
        if kind == "d":
            return tokens.double(what)
        if kind == "l":
            return float(tokens.longs(1, what)[0])
        if kind == "t" and not isinstance(self.object.get("kernel"), LuaTable):
            return None
        number = tokens.integer(what)
        if kind == "b" and number not in (0, 1):
            raise Fault(f"{what} is a boolean, but {number}", hint="The file is damaged.")
        return bool(number) if kind == "b" else float(number)

    def _next(self) -> None:
        self.position += 1
        self.left -= 1

    def take(self, value: Value) -> None:
        name, kind = self.fields[self.position]
        if kind != "@":
            self.object.fields[name] = value
        elif isinstance(value, LuaTable):
            self.object.parts.append(value)
        else:
            raise Fault(f"the fields of a {self.typename} are no table")
        self._next()

    def step(self, *, child: bool) -> str:
        name = self.fields[self.position - 1 if child else min(self.position, len(self.fields) - 1)].name
        return key_text(name) if name else ""

    def progress(self) -> tuple[int, int]:
        return self.position, len(self.fields)


class FunctionFrame(Frame):
    """A function: takes its upvalues."""

    __slots__ = ("function",)

    def __init__(self, function: LuaFunction) -> None:
        self.left = 1
        self.typename = "a function"
        self.function = function

    def take(self, value: Value) -> None:
        self.function.upvalues = value
        self.left = 0

    def step(self, *, child: bool) -> str:
        return "<upvalues>"


_KINDS = {bool: "a boolean", float: "a number", str: "a string", bytes: "a string", LuaTable: "a table"}


def describe(value: Value) -> str:
    """What a value is, in a few words for an error."""
    if value is None or isinstance(value, LuaFunction):
        return "nil" if value is None else "a function"
    return _KINDS.get(type(value)) or f"a {value.type if isinstance(value, Tensor) else value.typename}"


def key_text(key: Value) -> str:
    """The step of a path that a key of a table makes: `.weight`, `[3]`, `["two words"]`."""
    if isinstance(key, str) and _IDENTIFIER.match(key):
        return f".{key}"
    if isinstance(key, (str, bytes)):
        shown = repr(key[:40])
        return f"[{shown}…]" if len(key) > 40 else f"[{shown}]"
    if isinstance(key, (float, int)) and not isinstance(key, bool):
        key = float(key)
        return f"[{int(key)}]" if key.is_integer() and abs(key) < 2**53 else f"[{key!r}]"
    plain = key if isinstance(key, bool) else getattr(key, "value", None)
    if isinstance(plain, bool):
        return f"[{str(plain).lower()}]"
    return f"[{describe(key)}]"


def path_of(stack: Sequence[Frame], *, child: bool = False) -> str:
    """Where in the tree of objects the innermost frame is reading, such as `[1].modules[3].weight`.

    Args:
        stack: the objects being read.
        child: name the innermost frame itself, not what is read in it.
    """
    last = len(stack) - 1
    chosen = range(last if child else last + 1)
    if len(chosen) <= _PATH_STEPS:
        return "".join(stack[i].step(child=i < last) for i in chosen).removeprefix(".")
    half = _PATH_STEPS // 2
    first = "".join(stack[i].step(child=True) for i in chosen[:half])
    return f"{first}…{''.join(stack[i].step(child=i < last) for i in chosen[-half:])}".removeprefix(".")


def innermost_name(stack: Sequence[Frame]) -> str:
    """The class of the innermost object that has one, or ""."""
    return next((frame.typename for frame in reversed(stack) if frame.typename), "")

"""Writes Lua values, and plain Python ones, with a stack of its own instead of recursion."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...base.errors import T7Error
from ..bodies import BODIES, ONE_TABLE, Body
from ..faults import Fault
from ..keys import table_key
from ..open_objects import key_text
from ..tags import BOOLEAN, FUNCTION, FUNCTION_LEGACY, FUNCTION_WITHOUT_INDEX, NIL, NUMBER, STRING, TABLE, TORCH
from ..tensors import outside
from ..values import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value
from .output_ascii import AsciiOutput
from .output_binary import BinaryOutput

if TYPE_CHECKING:
    from ..values import Array

_VERSION = re.compile(r"V [0-9]+\Z")
_NO_STEP: Any = object()

#: What an object holds: each value with the key that leads to it, or with _NO_STEP.
_Inner = Iterator[tuple[Value, Value]]


class Writer:
    """Writes the objects of one file; indices count from 1 and go on from one object to the next."""

    def __init__(self, output: BinaryOutput | AsciiOutput, bodies: Mapping[str, Body] = BODIES) -> None:
        self._output = output
        self._bodies = bodies
        # the object is kept as well, so that its id stays its own
        self._indices: dict[int, tuple[int, Any]] = {}
        self._tensors: dict[int, tuple[Array, Tensor]] = {}

    def write(self, value: Value) -> None:
        """Writes the next object.

        Raises:
            T7Error: with the path of a value that can't be written exactly.
        """
        stack: list[_Inner] = [iter([(_NO_STEP, value)])]
        steps: list[Value] = [_NO_STEP]
        try:
            while stack:
                entry = next(stack[-1], None)
                if entry is None:
                    stack.pop()
                    steps.pop()
                    continue
                steps[-1], item = entry
                inner = self._begin(item)
                if inner is not None:
                    stack.append(inner)
                    steps.append(_NO_STEP)
        except (ValueError, TypeError, Fault) as error:
            path = "".join(key_text(step) for step in steps if step is not _NO_STEP)
            raise T7Error(f"Can't be written: {error}", path=path.removeprefix(".")) from error

    def _begin(self, value: Value) -> _Inner | None:
        """Writes a value up to the values that it holds, and returns these."""
        output = self._output
        if value is None:
            output.integer(NIL)
        elif isinstance(value, bool):
            output.integer(BOOLEAN)
            output.integer(int(value))
        elif isinstance(value, (float, int)):
            number = _exact(value)
            output.integer(NUMBER)
            output.double(number)
        elif isinstance(value, (str, bytes)):
            raw = value.encode() if isinstance(value, str) else value
            output.integer(STRING)
            output.text(raw)
        elif isinstance(value, (LuaTable, dict, list, tuple)):
            return self._table(value)
        elif isinstance(value, Tensor):
            return self._tensor(value)
        elif isinstance(value, Storage):
            self._storage(value)
        elif isinstance(value, LuaObject):
            return self._object(value)
        elif isinstance(value, LuaFunction):
            return self._function(value)
        elif isinstance(value, np.ndarray):
            _, tensor = self._tensors.setdefault(id(value), (value, Tensor.from_numpy(value)))
            return self._tensor(tensor)
        else:
            raise TypeError(
                f"Lua has nothing like a {type(value).__name__}; it has None, bool, numbers, str, bytes, dict, list, "
                "numpy arrays and the classes of torchmigrate.t7"
            )
        return None

    def _is_new(self, tag: int, value: Value) -> bool:
        """Writes the tag and the index of an object; False if it was written before, so that the index says it all."""
        self._output.integer(tag)
        found = self._indices.get(id(value))
        index = len(self._indices) + 1 if found is None else found[0]
        self._output.integer(index)
        if found is None:
            self._indices[id(value)] = (index, value)
        return found is None

    def _table(self, value: Value) -> _Inner | None:
        if not self._is_new(TABLE, value):
            return None
        entries = _entries(value)
        self._output.integer(len(entries))
        return _in_turn(entries)

    def _function(self, value: LuaFunction) -> _Inner | None:
        if value.tag == FUNCTION_WITHOUT_INDEX:
            self._output.integer(value.tag)
        elif value.tag not in (FUNCTION, FUNCTION_LEGACY):
            raise ValueError(f"a function has the tag 6, 7 or 8, not {value.tag}")
        elif not self._is_new(value.tag, value):
            return None
        self._output.text(value.bytecode)
        return iter([(_NO_STEP, value.upvalues)])

    def _class(self, typename: str, version: int, *, versioned: bool) -> None:
        """The version and the class name of a Torch object."""
        if versioned:
            if version < 0:
                raise ValueError(f"a {typename} has the version {version}")
            self._output.text(b"V %d" % version)
        elif version or _VERSION.match(typename):
            raise ValueError(f"a {typename} of version {version} can't be written without its version")
        self._output.text(typename.encode())

    def _object(self, value: LuaObject) -> _Inner | None:
        body = self._bodies.get(value.typename, ONE_TABLE).of(value.version)
        if body.form in ("tensor", "storage"):
            raise ValueError(f"a {value.typename} must be a {body.form.capitalize()}, not a LuaObject")
        if not self._is_new(TORCH, value):
            return None
        self._class(value.typename, value.version, versioned=value.versioned)
        if body.form == "objects":
            if len(value.parts) != body.count:
                raise ValueError(f"the body of a {value.typename} has {body.count} parts, not {len(value.parts)}")
            return iter([(_NO_STEP, part) for part in value.parts])
        if body.form == "fields":
            return self._fields(value, body)
        if body.form == "raw":
            self._raw_body(value, body)
            return None
        entries = _entries(value.fields)
        if len(value.parts) != 1 or not isinstance(value.parts[0], LuaTable):
            raise ValueError(f"the body of a {value.typename} must be one LuaTable")
        self._output.longs([len(entries)])
        if body.form == "hash":
            return _in_turn(entries)
        if not value.fields.is_list:
            raise ValueError(f"the keys of a {value.typename} must be 1, 2, 3, …")
        return iter(entries)

    def _fields(self, value: LuaObject, body: Body) -> _Inner:
        """Writes the plain fields, in turn with those that are objects."""
        output = self._output
        for name, kind in body.fields:
            if kind == "@":
                yield _NO_STEP, value.fields
                continue
            field = value.get(name)
            if kind == "object":
                yield name, field
            elif kind == "t" and not isinstance(value.get("kernel"), LuaTable):
                continue
            elif not isinstance(field, (bool, float)):
                raise TypeError(f"the field {name} of a {value.typename} must be a plain number or boolean")
            elif kind == "d":
                output.double(float(field))
            elif kind == "l":
                output.longs([int(field)])
            else:
                output.integer(int(field))

    def _raw_body(self, value: LuaObject, body: Body) -> None:
        expected = body.raw_bytes(self._output.long_size)
        if len(value.parts) != 1 or not isinstance(value.parts[0], bytes) or len(value.parts[0]) != expected:
            raise ValueError(f"the body of a {value.typename} must be {expected} bytes")
        self._output.raw(value.parts[0])

    def _tensor(self, value: Tensor) -> _Inner | None:
        body = BODIES.get(value.type)
        if body is None or body.form != "tensor":
            raise ValueError(f"Torch7 has no tensor type {value.type!r}")
        if value.storage is not None and value.storage.typename != body.storage:
            raise ValueError(f"the storage of a {value.type} is a {value.storage.typename}, not a {body.storage}")
        if len(value.size) != len(value.stride):
            raise ValueError(f"a tensor of size {value.size} has the stride {value.stride}")
        if problem := outside(value):
            raise ValueError(problem)
        if not self._is_new(TORCH, value):
            return None
        self._class(value.type, value.version, versioned=value.versioned)
        self._output.integer(len(value.size))
        self._output.longs(value.size)
        self._output.longs(value.stride)
        self._output.longs([value.offset])
        return iter([(_NO_STEP, value.storage)])

    def _storage(self, value: Storage) -> None:
        body = BODIES.get(value.typename)
        if body is None or body.form != "storage":
            raise ValueError(f"Torch7 has no storage type {value.typename!r}")
        if value.data.ndim != 1 or value.data.dtype != body.dtype:
            raise ValueError(f"a {value.typename} holds {value.data.dtype} of shape {value.data.shape}")
        if not self._is_new(TORCH, value):
            return
        self._class(value.typename, value.version, versioned=value.versioned)
        self._output.longs([len(value.data)])
        self._output.elements(value.data)


def _exact(value: float) -> float:
    """A Python number as the double that Lua has."""
    try:
        number = float(value)
    except OverflowError:
        number = 0.0
    if isinstance(value, int) and number != value:
        raise ValueError(f"no double is equal to {value}")
    return number


def _entries(value: Value) -> list[tuple[Value, Value]]:
    """The keys and values of a table; of a list, the keys are 1, 2, 3, …"""
    if isinstance(value, LuaTable):
        return value.items()
    if isinstance(value, dict):
        if len({table_key(key) for key in value}) != len(value):
            raise ValueError("two keys of the dict are the same key in Lua")
        return list(value.items())
    return [(float(i), item) for i, item in enumerate(value, 1)]


def _in_turn(entries: list[tuple[Value, Value]]) -> _Inner:
    for key, value in entries:
        table_key(key)
        yield _NO_STEP, key
        yield key, value

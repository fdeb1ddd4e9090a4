"""Lua values as JSON, and back.

What JSON has no word for is an object with one of these keys:

    {"$tensor": "torch.FloatTensor", "size": [2, 2], "values": [[1, 2], [3, 4]]}   a summary has no "values"
    {"$storage": "torch.LongStorage", "size": [2], "values": [2, 2]}
    {"$number": "nan"}                         nan, inf, -inf
    {"$bytes": "base64"}                       a string that is not UTF-8
    {"$entries": [[key, value], …]}            a table with other keys than text
    {"$class": "nn.Linear", "fields": {…}}     an object; a summary has no "fields"
    {"$function": 123}                         a Lua function of so many bytes
    {"$ref": "#/opt/sizes"}                    the same table, object or tensor as at that place (a JSON pointer)
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..base.errors import UsageError
from .keys import join
from .tensors import distinct
from .values import ELEMENT_TYPES, LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value

#: Tensors of so many numbers are written whole in any case.
SMALL = 64

#: Each takes some hundred bytes on the way to a text; a tensor of few numbers may expand to many more.
MOST_NUMBERS = 1 << 24

#: Deeper than any checkpoint; it bounds the recursion, here and in the readers of JSON.
MAX_DEPTH = 200

_Array = np.ndarray[Any, np.dtype[Any]]


class ToJson:
    """Turns values into what `json` takes.

    Attributes:
        full: write the numbers of every tensor and the fields of every module, rather than summaries.
        left_out: what was summarised or changed: path and description.
    """

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.left_out: list[str] = []
        self._written = 0
        self._places: dict[int, str] = {}
        self._kept: list[Value] = []

    def convert(self, value: Value, path: str = "", place: str = "#", depth: int = 0) -> Any:
        """The value as dicts, lists, strings, numbers, booleans and None.

        Args:
            value: from `load()`.
            path: its dotted path, for messages.
            place: where it stands in the JSON, as a pointer.
            depth: how deep it is nested.

        Raises:
            UsageError: it is nested deeper than anybody nests.
        """
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, bytes):
            return {"$bytes": base64.b64encode(value).decode()}
        if isinstance(value, (float, int)):
            return _number(float(value))
        if depth > MAX_DEPTH:
            raise UsageError(f"{path[:80]}… is nested more than {MAX_DEPTH} deep; extract a part of it with --key.")
        if id(value) in self._places:
            return {"$ref": self._places[id(value)]}
        self._places[id(value)] = place
        self._kept.append(value)  # an id is only unique while its object lives
        if isinstance(value, Tensor):
            return {"$tensor": value.type, "size": list(value.size), **self._numbers(value.numpy(), path, repr(value))}
        if isinstance(value, Storage):
            return {"$storage": value.typename, "size": [len(value)], **self._numbers(value.data, path, repr(value))}
        if isinstance(value, LuaTable):
            return self._table(value, path, place, depth)
        if isinstance(value, LuaObject):
            return self._object(value, path, place, depth)
        if isinstance(value, LuaFunction):
            self._leave(path, "a Lua function; it is never run")
            return {"$function": len(value.bytecode)}
        raise UsageError(f"{path} is a {type(value).__name__}, which no .t7 file holds.")

    def _table(self, table: LuaTable, path: str, place: str, depth: int) -> Any:
        items = table.items()
        if table.is_list and items:
            return [
                self.convert(item, join(path, float(i + 1)), f"{place}/{i}", depth + 1)
                for i, item in enumerate(table.list())
            ]
        names = {join("", key) for key, _ in items if isinstance(key, str) or _is_index(key)}
        numbers = any(not isinstance(key, str) for key, _ in items)
        if len(names) == len(items) and not any(name.startswith("$") for name in names) and not (numbers and self.full):
            if numbers:
                self._leave(path, "its keys that are numbers in Lua are text here; --full keeps them")
            return {
                name: self.convert(item, join(path, key), f"{place}/{_escaped(name)}", depth + 1)
                for key, item in items
                for name in [join("", key)]
            }
        return {
            "$entries": [
                [
                    self.convert(key, f"{path}<key {i + 1}>", f"{place}/$entries/{i}/0", depth + 1),
                    self.convert(item, join(path, _name(key)), f"{place}/$entries/{i}/1", depth + 1),
                ]
                for i, (key, item) in enumerate(items)
            ]
        }

    def _object(self, value: LuaObject, path: str, place: str, depth: int) -> Any:
        made: dict[str, Any] = {"$class": value.typename}
        if value.version != 1:
            made["version"] = value.version
        if not self.full and ("gradInput" in value or "modules" in value):
            self._leave(path, f"the fields of a {value.typename}; --full writes them, `torchmigrate convert` uses them")
            return made
        if len(value.parts) == 1 and isinstance(value.parts[0], LuaTable):
            return made | {"fields": self._table(value.parts[0], path, f"{place}/fields", depth + 1)}
        parts = [self.convert(part, path, f"{place}/parts/{i}", depth + 1) for i, part in enumerate(value.parts)]
        return made | {"parts": parts}

    def _numbers(self, array: _Array, path: str, text: str) -> dict[str, Any]:
        if self.full or array.size <= SMALL:
            self._written += int(array.size)
            if self._written > MOST_NUMBERS:
                raise UsageError(
                    f"JSON of more than {MOST_NUMBERS} numbers, up to {path}: write -o x.npz in its place."
                )
            return {"values": _listed(array)}
        self._leave(path, f"the numbers of {text}; --full writes them, -o x.npz or x.safetensors too")
        array, times = distinct(array)
        finite = array[np.isfinite(array)]
        lost = int(array.size - finite.size) * times
        summary: dict[str, Any] = {"not_finite": lost} if lost else {}
        if finite.size:
            mean = float(finite.mean(dtype=np.float64))
            summary |= {"min": _number(float(finite.min())), "max": _number(float(finite.max())), "mean": _number(mean)}
        return summary

    def _leave(self, path: str, what: str) -> None:
        self.left_out.append(f"{path or 'the top'}: {what}")


def _name(key: Value) -> Value:
    """A key as a step of a path."""
    return key if isinstance(key, (str, float)) else f"<{type(key).__name__}>"


def _is_index(key: Value) -> bool:
    return isinstance(key, float) and abs(key) < 2**53 and key == int(key)


def _escaped(name: str) -> str:
    """A key as a step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _number(value: float) -> Any:
    """A number as short as it can be said; JSON has no word for those that are not finite."""
    if not math.isfinite(value):
        return {"$number": str(value)}
    negative_zero = value == 0 and math.copysign(1, value) < 0
    return int(value) if abs(value) < 2**53 and value == int(value) and not negative_zero else value


def _listed(array: _Array) -> Any:
    if array.ndim > 1:
        return [_listed(row) for row in array]
    if array.dtype.kind == "f":
        return [_number(float(x)) for x in array]
    return [int(x) for x in array]


def json_text(value: Any, indent: str = "") -> str:
    """JSON with one entry a line, and lists of numbers on one line."""
    inner = indent + " "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(str(key))}: {json_text(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + indent + "}"
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return "[\n" + ",\n".join(f"{inner}{json_text(item, inner)}" for item in value) + "\n" + indent + "]"
    return json.dumps(value, allow_nan=False)


def from_json(text: str) -> Value:
    """The Lua value of a JSON text, in the form above or any other.

    Numbers become doubles, arrays list-like tables, objects tables with text keys.

    Raises:
        UsageError: it is no JSON, or has what Lua has not: null in a table, whole numbers that no double equals.
    """
    try:
        parsed = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_refuse_constant)
        return _FromJson().value(parsed, "#")
    except (ValueError, RecursionError) as error:
        raise UsageError(f"This is no JSON that Lua can hold: {error}.") from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has the key {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


def _refuse_constant(word: str) -> Any:
    raise ValueError(f'{word} is no JSON; write {{"$number": "{word.replace("Infinity", "inf").lower()}"}}')


class _FromJson:
    """Makes Lua values; remembers where each stands, since references lead there."""

    def __init__(self) -> None:
        self._made: dict[str, Value] = {}

    def value(self, item: Any, place: str) -> Value:
        if isinstance(item, dict):
            marker = next((key for key in item if key.startswith("$")), None)
            if marker is not None:
                return self._marked(marker, item, place)
            return self._table([(key, entry, f"{place}/{_escaped(key)}") for key, entry in item.items()], place)
        if isinstance(item, list):
            return self._table([(float(i + 1), entry, f"{place}/{i}") for i, entry in enumerate(item)], place)
        return _double(item, place) if isinstance(item, int) and not isinstance(item, bool) else item

    def _table(self, entries: list[tuple[Value, Any, str]], place: str) -> LuaTable:
        made = self._made[place] = LuaTable()
        for key, entry, inner in entries:
            made[key] = self._present(entry, inner)
        return made

    def _present(self, item: Any, place: str) -> Value:
        if item is None:
            raise ValueError(f"{place} is null, and a Lua table can't hold nil; leave it out or give it a value")
        return self.value(item, place)

    def _marked(self, marker: str, item: Mapping[str, Any], place: str) -> Value:
        content = item[marker]
        if marker == "$number" and content in ("nan", "inf", "-inf"):
            return float(content)
        if marker == "$ref" and content in self._made:
            return self._made[content]
        if marker == "$bytes" and isinstance(content, str):
            try:
                return base64.b64decode(content, validate=True)
            except binascii.Error as error:
                raise ValueError(f"{place} is no base64: {error}") from error
        if marker == "$entries" and isinstance(content, list):
            made = self._made[place] = LuaTable()
            for i, entry in enumerate(content):
                if not isinstance(entry, list) or len(entry) != 2:
                    raise ValueError(f"{place} should be a list of [key, value]")
                key = self._present(entry[0], f"{place}/$entries/{i}/0")
                made[key] = self._present(entry[1], f"{place}/$entries/{i}/1")
            return made
        if marker in ("$tensor", "$storage") and "values" in item:
            self._made[place] = _tensor(marker, str(content), item, place)
            return self._made[place]
        if marker == "$class" and ("fields" in item or isinstance(item.get("parts"), list)):
            return self._object(str(content), item, place)
        raise ValueError(f"{place} ({marker}) is a summary, or leads nowhere; extract it with --full")

    def _object(self, typename: str, item: Mapping[str, Any], place: str) -> LuaObject:
        made = self._made[place] = LuaObject(typename, version=int(item.get("version", 1)), parts=[])
        if "fields" in item:
            made.parts.append(self.value(item["fields"], f"{place}/fields"))
        else:
            made.parts.extend(self.value(part, f"{place}/parts/{i}") for i, part in enumerate(item["parts"]))
        return made


def _double(number: int, place: str) -> float:
    if abs(number) > 2**53 and (abs(number) >= 2**1023 or int(float(number)) != number):
        raise ValueError(f"{place} is {number}, which no Lua number equals; make it a LongTensor")
    return float(number)


def _tensor(marker: str, name: str, item: Mapping[str, Any], place: str) -> Value:
    kind = name.removeprefix("torch.").removesuffix("Tensor" if marker == "$tensor" else "Storage")
    if kind not in ELEMENT_TYPES:
        raise ValueError(f"{place} is a {name!r}, which Torch7 has not")
    dtype = ELEMENT_TYPES[kind]
    floating = dtype.kind == "f"
    array = np.array(_plain(item["values"], place, floating=floating), dtype=np.float64 if floating else object)
    if not floating:
        limits = np.iinfo(dtype)
        if any(not isinstance(x, int) or not limits.min <= x <= limits.max for x in array.reshape(-1)):
            raise ValueError(f"{place} holds numbers that are none of a {name}")
    made = Tensor.from_numpy(array.astype(dtype), kind)
    if list(made.size) != list(item.get("size", made.size)):
        raise ValueError(f"{place} says that its size is {item['size']}, but its values have {list(made.size)}")
    if marker == "$tensor":
        return made
    return made.storage if made.storage is not None else Storage(name, np.empty(0, dtype))


def _plain(values: Any, place: str, *, floating: bool) -> Any:
    """The numbers of a tensor as nested lists."""
    if isinstance(values, list):
        return [_plain(value, place, floating=floating) for value in values]
    if isinstance(values, dict) and values.get("$number") in ("nan", "inf", "-inf") and floating:
        return float(values["$number"])
    if isinstance(values, (int, float)) and not isinstance(values, bool):
        return float(values) if floating else values
    raise ValueError(f"{place} holds {values!r} where a number should be")

"""What else is in a checkpoint: options, vocabulary, histories, the optimizer's state, a confusion matrix, …"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..model.locate import candidates, is_criterion, is_module
from ..t7 import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value
from ..t7.keys import join
from .tree import size_text

#: How deep tables are looked into, and how many entries of one are shown.
_MAX_DEPTH = 3
_MAX_ENTRIES = 200
_MAX_TEXT = 60

#: Fields by which the state of an optimizer of Torch's optim is known, the telling ones first.
_OPTIMIZERS: tuple[tuple[str, frozenset[str]], ...] = (
    ("adadelta", frozenset({"paramVariance", "delta", "accDelta"})),
    ("adagrad", frozenset({"paramVariance", "paramStd"})),
    ("adamax", frozenset({"m", "u", "t"})),
    ("adam", frozenset({"m", "v", "t"})),
    ("rmsprop", frozenset({"m", "tmp"})),
    ("sgd with momentum", frozenset({"dfdx"})),
    ("sgd", frozenset({"evalCounter"})),
)
_OPTIMIZER_OPTIONS = frozenset({"learningRate", "learningRateDecay", "momentum", "dampening", "weightDecay", "beta1"})


@dataclass
class Content:
    """One entry of a checkpoint.

    Attributes:
        kind: "model", "criterion", "optimizer state", "options", "vocabulary", "names", "history", "confusion matrix",
            "tensor", "storage", "table", "list", "number", "text", "boolean", "function", "object" or "nil".
        text: one line about it.
        entries: what is in it, where it is a table.
    """

    kind: str
    text: str
    entries: dict[str, Content] = field(default_factory=dict)


def contents_of(value: Value, known: Collection[str]) -> dict[str, Content]:
    """Each entry of the table at the top; the one content of anything else under ""."""
    models = {id(found.object) for found in candidates(value, known) if is_module(found.object, known)}
    if isinstance(value, LuaTable):
        return _entries(value, models, 0, {id(value)})
    return {"": content_of(value, models)}


def content_of(
    value: Value, models: Collection[int] = (), depth: int = 0, above: frozenset[int] | None = None
) -> Content:
    """What a value is."""
    above = above or frozenset()
    if isinstance(value, LuaObject) and not value.typename.startswith("tds."):
        return _object(value, models)
    if isinstance(value, LuaObject):
        return Content("table", f"{value.typename} of {len(value)}", _entries(value.fields, models, depth, above))
    if isinstance(value, LuaTable):
        kind, text = _table(value)
        entries = {}
        if id(value) not in above and depth < _MAX_DEPTH and kind not in ("vocabulary", "names", "history"):
            entries = _entries(value, models, depth, above | {id(value)})
        return Content(kind, text, entries)
    return Content(_kind(value), summary(value))


def _entries(table: LuaTable, models: Collection[int], depth: int, above: Collection[int]) -> dict[str, Content]:
    shown = table.items()[:_MAX_ENTRIES]
    found = {
        join("", key) if isinstance(key, (str, float)) else summary(key): content_of(
            item, models, depth + 1, frozenset(above)
        )
        for key, item in shown
    }
    if len(table) > len(shown):
        found["…"] = Content("table", f"{len(table) - len(shown)} more")
    return found


def _kind(value: Value) -> str:
    kinds = {Tensor: "tensor", Storage: "storage", LuaFunction: "function", bool: "boolean", float: "number"}
    return kinds.get(type(value), "nil" if value is None else "text")


def _object(obj: LuaObject, models: Collection[int]) -> Content:
    if obj.typename == "optim.ConfusionMatrix":
        return Content("confusion matrix", _confusion(obj))
    if id(obj) in models:
        kind = "criterion" if is_criterion(obj.typename) else "model"
        return Content(kind, obj.typename)
    return Content("object", f"{obj.typename} with {len(obj)} fields")


def _confusion(obj: LuaObject) -> str:
    matrix, classes = obj.get("mat"), obj.get("classes")
    text = "optim.ConfusionMatrix"
    if isinstance(classes, LuaTable):
        text += f" of {len(classes)} classes"
    if isinstance(matrix, Tensor) and len(matrix.size) == 2 and matrix.size[0] == matrix.size[1]:
        numbers = matrix.numpy()
        total = float(numbers.sum())
        if total > 0:
            text += f", {total:,.0f} samples, {float(numbers.trace()) / total:.2%} right"
    return text


def _table(table: LuaTable) -> tuple[str, str]:
    """Kind and line of a table."""
    count = len(table)
    if optimizer := _optimizer(table):
        return "optimizer state", optimizer
    values, keys = table.values(), table.keys()
    if not count:
        return "table", "empty table"
    if table.is_list:
        if all(isinstance(item, float) for item in values):
            return "history", f"list of {count} numbers, the last {number_text(values[-1])}"
        if all(isinstance(item, str) for item in values):
            shown = ", ".join(values[:4])
            return "names", _cut(f"list of {count} texts: {shown}{', …' if count > 4 else ''}")
        return "list", f"list of {count}"
    numbers = all(isinstance(item, float) for item in values)
    if numbers and all(isinstance(key, float) for key in keys):
        last = max(keys)
        return "history", f"{count} numbers by step, at {number_text(last)}: {number_text(table[last])}"
    to_index = numbers and all(isinstance(key, str) for key in keys) and _are_indices(values)
    to_word = all(isinstance(key, float) for key in keys) and all(isinstance(item, (str, bytes)) for item in values)
    if count > 4 and (to_index or to_word):
        return "vocabulary", f"{count} words {'by index' if to_word else 'with their indices'}"
    scalars = sum(isinstance(item, (str, bytes, float, bool)) for item in values)
    if count > 2 and scalars > 0.7 * count and all(isinstance(key, str) for key in keys):
        return "options", f"{count} options"
    return "table", f"table of {count}"


def _are_indices(values: list[float]) -> bool:
    """Distinct whole numbers that begin with 0 or 1: what a vocabulary maps to."""
    return (
        len(set(values)) == len(values) and min(values) in (0.0, 1.0) and max(values) - min(values) == len(values) - 1
    )


def _optimizer(table: LuaTable) -> str:
    """A line about the state of an optimizer; "" if it is none."""
    names = {key for key in table.keys() if isinstance(key, str)}  # noqa: SIM118 - iterating gives the keys, but says less
    tensors = {name for name in names if isinstance(table[name], Tensor)}
    for optimizer, fields in _OPTIMIZERS:
        if fields <= names and (tensors & fields or "evalCounter" in fields):
            told = [
                f"{name} {number_text(table[name])}"
                for name in ("learningRate", "momentum", "weightDecay", "t", "evalCounter")
                if isinstance(table.get(name), float)
            ]
            return ", ".join([f"looks like {optimizer}", *told])
    if len(names & _OPTIMIZER_OPTIONS) >= 2 and len(names) <= 12 and "learningRate" in names:
        return "the settings of an optimizer that has not run"
    return ""


def summary(value: Value) -> str:
    """One line about a value."""
    if isinstance(value, Tensor):
        return f"{value.type} {size_text(value)}"
    if isinstance(value, Storage):
        return f"{value.typename} of {len(value)}"
    if isinstance(value, LuaObject):
        return value.typename
    if isinstance(value, LuaTable):
        return f"{'list' if value.is_list else 'table'} of {len(value)}"
    if isinstance(value, LuaFunction):
        return "Lua function (never run)"
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return number_text(value)
    return _cut(repr(value))


def number_text(value: float) -> str:
    """A Lua number as people write it: 90, 0.001."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."


def to_json(contents: Mapping[str, Content]) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        key: {"kind": item.kind, "text": item.text, **({"entries": to_json(item.entries)} if item.entries else {})}
        for key, item in contents.items()
    }

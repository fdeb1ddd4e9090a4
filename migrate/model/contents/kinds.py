"""What a value of a file is, in a word and a line: a vocabulary, options, a history, the state of an optimizer, …"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from ...t7 import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value
from ..preprocessing import numbers_text, statistic
from .labels import is_vocabulary, word

_MAX_TEXT = 60

#: More numbers than a size or a mean of channels has: a history.
_FEW_NUMBERS = 8

#: More entries of one kind than are told one by one: below numbers, and below words, which may be settings.
_FEW, _MANY = 12, 60

#: More nodes of a tree than are counted; more entries of a list than are looked at.
_MAX_NODES = 10_000
_MOST_LOOKED = 1_000

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


_KINDS: dict[type, str] = {
    Tensor: "tensor",
    Storage: "storage",
    LuaFunction: "function",
    bool: "boolean",
    float: "number",
}


@dataclass(frozen=True)
class Kind:
    """What a value is.

    Attributes:
        name: "optimizer state", "options", "vocabulary", "names", "numbers", "history", "statistics", "data set",
            "confusion matrix", "tree", "tensors", "tensor", "storage", "table", "list", "number", "text", "boolean",
            "function", "object" or "nil".
        text: one line about it.
        uniform: has it so many entries of one kind, or in a list, that a few show what all are?
    """

    name: str
    text: str
    uniform: bool = False

    def __str__(self) -> str:
        return self.text if self.text.startswith(self.name) else f"{self.name}, {self.text}"


def kind_of(value: Value, key: str = "") -> Kind:
    """What a value is that stands under `key`, where that is known; models are not told from other objects."""
    if isinstance(value, LuaObject):
        return _object(value)
    if isinstance(value, LuaTable):
        return _table(value, key)
    return Kind(_class(value), summary(value))


def size_text(tensor: Tensor) -> str:
    """The size of a tensor as Torch7 people write it: 16x3x3x3."""
    return "x".join(map(str, tensor.size)) or "empty"


def _object(obj: LuaObject) -> Kind:
    text = f"{obj.typename} with {len(obj)} fields"
    if obj.typename == "optim.ConfusionMatrix":
        return Kind("confusion matrix", _confusion(obj))
    if is_table_class(obj.typename):
        return Kind("table", f"{obj.typename} of {len(obj)}")
    if isinstance(obj.get("children"), LuaTable):
        return Kind("tree", f"{obj.typename} with {_nodes_text(obj)}")
    words = [len(value) for value in obj.fields.values() if isinstance(value, LuaTable) and is_vocabulary(value)]
    if words:
        return Kind("vocabulary", f"{max(words)} words in {text}")
    if re.search(r"(?i)data|loader|batch", obj.typename):
        return Kind("data set", text)
    return Kind("object", text)


def is_table_class(typename: str) -> bool:
    """Is it a class of tds, whose objects are tables that live outside Lua's heap?"""
    return typename in ("tds.Hash", "tds_hash", "tds.Vec")


def _nodes_text(root: LuaObject) -> str:
    seen: set[int] = set()
    stack: list[Value] = [root]
    while stack and len(seen) < _MAX_NODES:
        node = stack.pop()
        if isinstance(node, LuaObject) and id(node) not in seen:
            seen.add(id(node))
            children = node.get("children")
            stack += children.list() if isinstance(children, LuaTable) else []
    return f"{len(seen)} nodes" if not stack else f"{_MAX_NODES} nodes or more"


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


def _table(table: LuaTable, key: str) -> Kind:
    count = len(table)
    if optimizer := _optimizer(table):
        return Kind("optimizer state", optimizer)
    values, keys = table.values(), table.keys()
    if not count:
        return Kind("table", "empty table")
    if table.is_list:
        return _list(table.list(), key)
    numbers = all(isinstance(item, float) for item in values)
    if numbers and all(isinstance(key, float) for key in keys):
        last = max(keys)
        return Kind("history", f"{count} numbers by step, at {number_text(last)}: {number_text(table[last])}")
    if is_vocabulary(table):
        return Kind("vocabulary", f"{count} words {'by index' if isinstance(keys[0], float) else 'with their indices'}")
    known = {str(name): statistic(name, value) for name, value in table.items()}
    if None not in known.values():
        return Kind("statistics", "; ".join(f"{name} {numbers_text(found)}" for name, found in known.items()))
    if all(isinstance(item, Tensor) for item in values):
        told = [f"{name} {size_text(item)}" for name, item in table.items()[:4] if isinstance(item, Tensor)]
        return Kind("tensors", f"{count} tensors: {', '.join(told)}{', …' if count > 4 else ''}")
    kinds = set(_classes(values))
    if len(kinds) == 1 and count > (_FEW if isinstance(keys[0], float) else _MANY):
        return Kind("table", f"table of {count}, each a {kinds.pop()}", uniform=True)
    scalars = sum(isinstance(item, (str, bytes, float, bool)) for item in values)
    if count > 2 and scalars > 0.7 * count and all(isinstance(key, str) for key in keys):
        return Kind("options", f"{count} options")
    return Kind("table", f"table of {count}")


def _list(values: list[Value], key: str) -> Kind:
    count = len(values)
    if all(isinstance(item, float) for item in values):
        if count <= _FEW_NUMBERS and (statistic(key, values[0]) or re.search(r"(?i)size|shape|dim", key)):
            return Kind("numbers", ", ".join(map(summary, values)))
        return Kind("history", f"list of {count} numbers, the last {summary(values[-1])}")
    words = [word(item) for item in values if isinstance(item, (str, bytes))]
    if len(words) == count:
        return Kind("names", _cut(f"list of {count} texts: {', '.join(words[:4])}{', …' if count > 4 else ''}"))
    kinds = _classes(values)
    (kind, most), *others = kinds.most_common()
    uniform = not others and most > 1
    return Kind("list", f"list of {count}, each a {kind}" if uniform else f"list of {count}", uniform=count > _FEW)


def _classes(values: list[Value]) -> Counter[str]:
    """How many there are of each class; what is there again is looked at once."""
    looked = values[:_MOST_LOOKED]
    known = {number: _class(item) for number, item in {id(item): item for item in looked}.items()}
    return Counter(known[id(item)] for item in looked)


def _class(value: Value) -> str:
    if isinstance(value, LuaObject):
        return value.typename
    if isinstance(value, LuaTable):
        return "list" if value.is_list else "table"
    return _KINDS.get(type(value), "nil" if value is None else "text")


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

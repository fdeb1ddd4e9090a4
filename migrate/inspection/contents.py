"""What else is in a checkpoint: options, vocabulary, histories, the optimizer's state, a confusion matrix, …"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..model.contents.kinds import Kind, kind_of, summary
from ..model.locate import ModelCandidate, as_model, candidates, is_criterion, networks
from ..t7 import LuaObject, LuaTable, Value
from ..t7.keys import join

#: How deep tables are looked into, and how many entries of one are shown.
_MAX_DEPTH = 3
_MAX_ENTRIES = 200

#: How many entries of all tables together are shown before no further table is opened.
_MAX_SHOWN = 20_000

#: How many entries of a long list or table of one kind at the top are told.
_SHOWN = 3

#: What is told in one line, at the top of a file as well.
_IN_A_LINE = ("vocabulary", "names", "history", "numbers", "statistics", "confusion matrix")


@dataclass
class Content:
    """One entry of a checkpoint.

    Attributes:
        kind: "model", "criterion", or one of those of `model.contents.kinds.Kind`.
        text: one line about it.
        entries: what is in it, where it is a table or an object of a class that nobody knows.
    """

    kind: str
    text: str
    entries: dict[str, Content] = field(default_factory=dict)


def contents_of(value: Value, known: Collection[str]) -> dict[str, Content]:
    """Each entry of the table at the top; the one content of anything else, or of a long list, under ""."""
    models = {id(found.object.fields if found.remark else found.object) for found in shown_models(value, known)}
    walk = _Walk(models)
    if not isinstance(value, LuaTable) or id(value) in models:
        return {"": walk.content(value)}
    found = kind_of(value)
    if found.name in _IN_A_LINE:
        return {"": Content(found.name, found.text)}
    if found.uniform and not models:
        return {"": Content(found.name, found.text, walk.entries(value, 0, frozenset({id(value)}), _SHOWN))}
    return walk.entries(value, 0, frozenset({id(value)}))


def shown_models(value: Value, known: Collection[str]) -> list[ModelCandidate]:
    """The models where people keep them, and behind them those in objects of classes that nobody knows."""
    found = candidates(value, known)
    seen = {candidate.key for candidate in found}
    return found + [candidate for candidate in networks(value, known) if candidate.key not in seen]


def content_of(value: Value) -> Content:
    """What a value is in which no model is known."""
    return _Walk(()).content(value)


class _Walk:
    """Looks into tables; one that is shared is shown in each place, as long as that is not too much.

    Args:
        models: ids of what is a model.
    """

    def __init__(self, models: Collection[int]) -> None:
        self.models = models
        self.shown = 0
        self.kinds: dict[tuple[int, str], Kind] = {}

    def content(self, value: Value, depth: int = 0, above: frozenset[int] = frozenset(), key: str = "") -> Content:
        """What a value is."""
        fields = value.fields if isinstance(value, LuaObject) else value
        if id(value) in self.models:
            model, remark = as_model(value, ())
            typename = model.typename if model is not None else summary(value)
            kind = "criterion" if is_criterion(typename) else "model"
            return Content(kind, f"{typename}: {remark}" if remark else typename)
        found = self.kinds.get((id(value), key)) or kind_of(value, key)
        if isinstance(value, (LuaTable, LuaObject)):
            self.kinds[id(value), key] = found
        entries = {}
        opened = depth < _MAX_DEPTH and self.shown < _MAX_SHOWN and found.name not in _IN_A_LINE
        if isinstance(fields, LuaTable) and id(fields) not in above and opened:
            entries = self.entries(fields, depth, above | {id(fields)})
        return Content(found.name, found.text, entries)

    def entries(
        self, table: LuaTable, depth: int, above: frozenset[int], most: int = _MAX_ENTRIES
    ) -> dict[str, Content]:
        """What the first entries of a table are."""
        shown = table.items()[:most]
        self.shown += len(shown)
        found = {}
        for key, item in shown:
            name = join("", key) if isinstance(key, (str, float)) else summary(key)
            found[name] = self.content(item, depth + 1, above, name)
        if len(table) > len(shown):
            found["…"] = Content("table", f"{len(table) - len(shown)} more")
        return found


def to_json(contents: Mapping[str, Content]) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        key: {"kind": item.kind, "text": item.text, **({"entries": to_json(item.entries)} if item.entries else {})}
        for key, item in contents.items()
    }

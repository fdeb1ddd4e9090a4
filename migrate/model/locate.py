"""Finds the model inside a checkpoint: a table of options, histories, optimizer state and, somewhere, a network."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeGuard

from ..base.errors import ModelNotFound
from ..base.messages import counted
from ..t7 import LuaObject, LuaTable, Value
from ..t7.keys import join

#: How many tables deep a model is looked for.
_MAX_DEPTH = 6

#: Keys under which people keep the model, best first; used where a file holds several.
_USUAL_KEYS = ("model", "net", "network", "netG", "generator")

#: What a network has and a data loader, a timer or a confusion matrix has not.
_MODULE_FIELDS = frozenset({"modules", "gradInput", "output", "_type", "train", "weight", "fg", "module"})


#: Classes of tds, tables whose entries live outside Lua's heap.
_TABLES = frozenset({"tds.Hash", "tds_hash", "tds.Vec"})


@dataclass(frozen=True)
class ModelCandidate:
    """A model inside a file.

    Attributes:
        key: dotted path of table keys that leads to it, "" for the top-level object.
        object: the Lua object.
        others: keys of the other models in the file that were passed over.
    """

    key: str
    object: LuaObject
    others: tuple[str, ...] = ()


def candidates(value: Value, known: Collection[str] = (), *, inside: bool = False) -> list[ModelCandidate]:
    """Every model in `value` that no other model contains, in the order of the file.

    Args:
        value: as read from a file.
        known: classes that have a converter.
        inside: look into objects that are no modules as well, such as a trainer that holds its network.
    """
    if isinstance(value, LuaObject) and not _is_table(value) and (is_module(value, known) or not inside):
        return [ModelCandidate("", value)]
    found: list[ModelCandidate] = []
    seen: set[int] = set()
    level: list[tuple[str, Value]] = [("", value)]
    for _depth in range(_MAX_DEPTH):
        below: list[tuple[str, Value]] = []
        for path, item in level:
            if id(item) in seen:
                continue
            seen.add(id(item))
            if isinstance(item, LuaObject) and is_module(item, known):
                found.append(ModelCandidate(path, item))
            elif _is_table(item) or (inside and isinstance(item, LuaObject)):
                below += [(join(path, key), child) for key, child in item.items() if isinstance(key, (str, float))]
        level = below
    return found


def _is_table(value: Value) -> TypeGuard[LuaTable | LuaObject]:
    """Is it a table, or a class that stands for one (tds)?"""
    return isinstance(value, LuaTable) or (isinstance(value, LuaObject) and value.typename in _TABLES)


def is_module(obj: LuaObject, known: Collection[str]) -> bool:
    """Is this object a network, a layer or a criterion, rather than a timer or a data loader?"""
    return obj.typename in known or is_criterion(obj.typename) or any(name in obj for name in _MODULE_FIELDS)


def is_criterion(typename: str) -> bool:
    """Is it a loss, by the ending that Torch7 gives to the names of all of them?"""
    return typename.endswith("Criterion")


def locate(value: Value, key: str | None = None, known: Collection[str] = ()) -> ModelCandidate:
    """The model in `value`.

    Args:
        value: as read from a file.
        key: dotted path of table keys, such as `model`, `protos.rnn`, `1`; None looks for it.
        known: classes that have a converter.

    Raises:
        ModelNotFound: there is none, or several of equal right, or `key` leads nowhere.
    """
    if key:
        item = follow(value, key)
        if not isinstance(item, LuaObject):
            raise ModelNotFound(f"What is at {key} is no Torch7 module but {_summary(item)}.")
        return ModelCandidate(key, item)
    found = candidates(value, known)
    if not any(is_module(candidate.object, known) for candidate in found):
        held = candidates(value, known, inside=True)
        if any(candidate.key for candidate in held):
            raise _to_choose(f"The file holds {_summary(value)}, in which models are held; choose one:", held)
    if not found:
        raise ModelNotFound(
            f"There is no Torch7 module in this file: it holds {_summary(value)}. "
            "`torchmigrate extract` takes out what there is."
        )
    networks = [candidate for candidate in found if not is_criterion(candidate.object.typename)] or found
    if len(networks) == 1:
        return networks[0]
    for usual in _USUAL_KEYS:
        matches = [candidate for candidate in networks if candidate.key == usual]
        if len(matches) == 1:
            chosen = matches[0]
            others = tuple(candidate.key for candidate in networks if candidate is not chosen)
            return ModelCandidate(chosen.key, chosen.object, others)
    raise _to_choose(f"The file holds {len(networks)} models; choose one:", networks)


def _to_choose(why: str, models: list[ModelCandidate]) -> ModelNotFound:
    listed = "\n".join(f"  --key {model.key}  ({model.object.typename})" for model in models)
    return ModelNotFound(f"{why}\n{listed}", [model.key for model in models])


def follow(value: Value, key: str) -> Value:
    """What is at a dotted path of table keys and fields, such as `opt.batchSize` or `model.modules.1.weight`.

    A key that holds a dot itself is found too, since the longest one that fits is taken.

    Raises:
        ModelNotFound: the path leads nowhere; it says how far it leads, and which keys there are.
    """
    item, walked, rest = value, "", key
    while rest:
        table = item if isinstance(item, (LuaTable, LuaObject)) else None
        step, found = _longest_step(table, rest)
        if found is None:
            names = [join("", k) for k, _ in table.items() if isinstance(k, (str, float))] if table else []
            where = f"in {walked}" if walked else "at the top"
            there = ", ".join(sorted(names)) or "nothing"
            raise ModelNotFound(f"There is no key {step!r} {where}; there is: {there}.")
        walked, item = join(walked, step), found
        rest = rest[len(step) + 1 :]
    return item


def _longest_step(table: LuaTable | LuaObject | None, rest: str) -> tuple[str, Value]:
    """The longest beginning of `rest` that is a key, and what is there; the first part of it and None if none is."""
    step = rest
    while table is not None:
        found = table.get(step)
        if found is None and step.lstrip("-").isdigit():
            found = table.get(float(step))
        if found is not None or "." not in step:
            return step, found
        step = step.rpartition(".")[0]
    return rest.partition(".")[0], None


def _summary(value: Value) -> str:
    if isinstance(value, LuaTable):
        keys = [join("", key) for key in value.keys()[:12] if isinstance(key, (str, float))]
        more = ", …" if len(value) > 12 else ""
        return (
            f"a table with {counted(len(value), 'entry', 'entries')} ({', '.join(keys)}{more})" if keys else "a table"
        )
    return "nil" if value is None else repr(value)[:80]

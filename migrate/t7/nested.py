"""Lists in lists: how much is in them, counted without going through what is shared more than once."""

from __future__ import annotations

import math

from .values import LuaTable, Value


def nested_count(value: Value) -> float:
    """How many values that are no lists a list holds, with those of the lists in it; infinite if one holds itself.

    Lists that hold one list a hundred times, and so on, take a kilobyte, and longer to go through than anybody waits.
    """
    counts: dict[int, float] = {}
    waiting = [value]
    opened: set[int] = set()
    while waiting:
        item = waiting[-1]
        if id(item) in counts or not (isinstance(item, LuaTable) and _is_list(item)):
            waiting.pop()
            continue
        inner = item.list()
        unknown = [part for part in inner if id(part) not in counts and _is_list(part)]
        if id(item) not in opened:
            opened.add(id(item))
            waiting += unknown
            continue
        if unknown:  # a list that is not finished, since it holds this one
            return math.inf
        waiting.pop()
        counts[id(item)] = sum(counts.get(id(part), 1) for part in inner)
    return counts.get(id(value), 1)


def _is_list(value: Value) -> bool:
    return isinstance(value, LuaTable) and len(value) > 0 and value.is_list

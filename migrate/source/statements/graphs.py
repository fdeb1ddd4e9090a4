"""What nodes of graphs get: values, entries of them, and what takes the place of another."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from ...model.memory.overwritten import Overwritten
from ..expressions import Value, Variable, entry, entry_type
from ..scopes import Scope


def entries(values: list[Value], sources: list[Any], scope: Scope) -> Value:
    """What a node of a Graph gets."""
    found = [_taken(values, source, scope) for source in sources]
    return found[0] if len(found) == 1 else found


def _taken(values: list[Value], source: list[Any], scope: Scope) -> Value:
    if not source or isinstance(source[0], list):
        return [_taken(values, inner, scope) for inner in source]
    value = values[source[0]]
    for index in source[1:]:
        value = taken(value, index, scope)
    return value


def taken(value: Value, index: int, scope: Scope) -> Value:
    """An entry of a list, which is a line of its own where its members are not known one by one."""
    if isinstance(value, list):
        return value[index]
    found = scope.assign(entry(value, index), tuple(example[index] for example in value.values))
    found.type = entry_type(value)
    return found


def users_of(graph: Any) -> dict[int, list[int]]:
    """The nodes of a Graph that take something of a node, by its number; the node after the last is the output."""
    users: dict[int, list[int]] = defaultdict(list)
    for place, (_, sources) in enumerate([*graph.nodes, [-1, graph.outputs]], 1):
        for source in sources:
            users[source[0]].append(place)
    return users


def newer_of(module: Overwritten, given: list[Value]) -> Variable | None:
    """The newer one of two results, if it takes the place of the older one as it is."""
    old, new = given
    if not isinstance(new, Variable):
        return None
    same = module.resized or (isinstance(old, Variable) and bool(new.shapes) and old.shapes == new.shapes)
    return new if same else None

"""The modules that an object holds, and the parameters in them, as the file has them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from ...t7 import LuaObject, LuaTable, Tensor, Value
from ...t7.keys import join

#: How many tables deep the fields of a class that nobody knows are looked into.
_MAX_TABLES = 6


def parameters_of(obj: LuaObject) -> dict[str, Tensor]:
    """Weight, bias, and whatever has a gradient beside it (`weight` has `gradWeight`)."""
    found = {}
    for name, value in obj.items():
        if isinstance(value, Tensor) and isinstance(name, str) and value.numel():
            gradient = f"grad{name[:1].upper()}{name[1:]}"
            if name in ("weight", "bias") or (gradient in obj and name not in ("input", "output")):
                found[name] = value
    return found


def count_parameters(obj: LuaObject, known: Collection[str]) -> int:
    """Distinct numbers in the parameters of a module and of all that it holds; `known` classes have a converter."""
    regions: dict[tuple[int, int, tuple[int, ...]], int] = {}
    seen: set[int] = set()
    stack = [obj]
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        for tensor in parameters_of(item).values():
            regions[id(tensor.storage), tensor.offset, tensor.size] = tensor.numel()
        stack += [child for _, child in children_of(item, known)]
    return sum(regions.values())


def outputs_of(model: LuaObject) -> int | None:
    """How many numbers or planes the last layer with weights gives, in the order of the file; None if none tells."""
    return next((outputs for _, outputs in reversed(_widths(model))), None)


def inputs_of(model: LuaObject) -> int | None:
    """How many numbers or planes the first layer with weights takes, in the order of the file; None if none tells."""
    return next((inputs for inputs, _ in _widths(model)), None)


def _widths(model: LuaObject) -> list[tuple[int, int]]:
    """What each layer with weights takes and gives."""
    found: list[tuple[int, int]] = []
    seen: set[int] = set()
    stack = [model]
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        weight, before, after = (item.get(name) for name in ("weight", "nInputPlane", "nOutputPlane"))
        if isinstance(weight, Tensor) and weight.numel():
            if isinstance(before, float) and isinstance(after, float):
                found.append((int(before), int(after)))
            elif len(weight.size) == 2:
                found.append((weight.size[1], weight.size[0]))
        stack += [child for _, child in reversed(children_of(item))]
    return found


def children_of(obj: LuaObject, known: Collection[str] | None = None) -> list[tuple[str, LuaObject]]:
    """The modules that an object holds: those in `modules` and in nodes of a graph, else those in fields of its own.

    Args:
        obj: the object.
        known: classes that have a converter: tables in the fields of another class are looked into too. None: no
            tables are.
    """
    modules = obj.get("modules")
    listed = modules.list() if isinstance(modules, LuaTable) and len(modules) else []
    listed = [*listed, *_of_nodes(obj, listed)]
    found = [(str(i), child) for i, child in enumerate(listed, 1) if isinstance(child, LuaObject)]
    if found and (known is None or obj.typename in known):
        return found
    seen = {id(child) for _, child in found}
    tables = 0 if known is None or obj.typename in known else _MAX_TABLES
    level: list[tuple[str, Value]] = [
        (str(name), value) for name, value in obj.items() if isinstance(name, str) and name != "modules"
    ]
    for depth in range(tables + 1):
        below: list[tuple[str, Value]] = []
        for path, value in level:
            if id(value) in seen:
                continue
            if isinstance(value, LuaObject) and _looks_like_module(value, known or ()):
                seen.add(id(value))
                found.append((path, value))
            elif isinstance(value, LuaTable) and depth < tables:
                seen.add(id(value))
                below += [(join(path, key), item) for key, item in value.items() if isinstance(key, (str, float))]
        level = below
    return found


def _of_nodes(graph: LuaObject, listed: list[Value]) -> Iterator[LuaObject]:
    """The modules of the nodes of a graph that are not in its list: graphs of 2014 and before have none."""
    nodes = graph.get("forwardnodes")
    seen = {id(module) for module in listed}
    for node in nodes.list() if isinstance(nodes, LuaTable) else []:
        data = node.get("data") if isinstance(node, LuaObject) else None
        module = data.get("module") if isinstance(data, LuaTable) else None
        if isinstance(module, LuaObject) and id(module) not in seen:
            seen.add(id(module))
            yield module


def _looks_like_module(obj: LuaObject, known: Collection[str]) -> bool:
    if obj.typename in known:  # a script may have taken all from it that a run leaves
        return True
    return re.match(r"(torch|graph|nngraph|tds)\.", obj.typename) is None and ("gradInput" in obj or "modules" in obj)

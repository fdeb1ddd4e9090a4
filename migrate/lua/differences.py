"""In what two builds of one model differ: random numbers, memory that nothing was written to, the order of names."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..model.leftover_fields import LEFTOVERS
from ..t7 import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value


def differences(first: Value, second: Value) -> tuple[list[tuple[Tensor, str]], list[str]]:
    """Compares two values that hold the same unless they depend on what no run repeats.

    Fields that only a run or training writes, such as `output` and `gradWeight`, are left out.

    Returns:
        The tensors of the first that hold other numbers in the second, with where they are; and where else the two
        differ.
    """
    drawn: list[tuple[Tensor, str]] = []
    structure: list[str] = []
    partner: dict[int, Value] = {}
    stack: list[tuple[Value, Value, str]] = [(first, second, "")]
    while stack:
        a, b, path = stack.pop()
        if type(a) is not type(b):
            structure.append(f"{path}: {_shown(a)} or {_shown(b)}")
        elif isinstance(a, (LuaTable, LuaObject, Tensor, Storage, LuaFunction)):
            if id(a) in partner:
                if partner[id(a)] is not b:
                    structure.append(f"{path}: it is shared with another")
                continue
            partner[id(a)] = b
            if isinstance(a, Tensor):
                _tensors(a, b, path, drawn, structure)
            elif isinstance(a, Storage):
                if a.typename != b.typename or not _equal(a.data, b.data):
                    structure.append(f"{path}: a storage")
            elif isinstance(a, (LuaTable, LuaObject)):
                stack += reversed(_entries(a, b, path, partner, structure))
        elif a != b and not (a != a and b != b):
            structure.append(f"{path}: {_shown(a)} or {_shown(b)}")
    return drawn, structure


def _entries(
    a: Any, b: Any, path: str, partner: dict[int, Value], structure: list[str]
) -> list[tuple[Value, Value, str]]:
    if isinstance(a, LuaObject) and a.typename != b.typename:
        structure.append(f"{path}: {a.typename} or {b.typename}")
        return []
    plain: list[tuple[Value, Value]] = []
    by_object: list[tuple[Value, Value]] = []
    held = a.items()
    for key, value in held:
        is_object = isinstance(key, (LuaTable, LuaObject, Tensor, Storage, LuaFunction))
        (by_object if is_object else plain).append((key, value))
    if len(held) != len(b.items()):
        structure.append(f"{path}: {len(held)} or {len(b.items())} entries")
    found: list[tuple[Value, Value, str]] = []
    for key, value in plain:
        where = f"{path}.{key:g}" if isinstance(key, float) else f"{path}.{key}"
        if isinstance(a, LuaObject) and isinstance(key, str) and (key in LEFTOVERS or key.startswith("grad")):
            continue
        if key not in b:
            structure.append(f"{where}: there or not")
        else:
            found.append((value, b.get(key), where))
    # keys that are objects, as in nngraph's children: their partners are known once the rest was compared
    for key, value in by_object:
        other = partner.get(id(key))
        if other is None:
            continue
        if other not in b:
            structure.append(f"{path}: an object as a key is there or not")
        else:
            found.append((value, b.get(other), f"{path}[…]"))
    return found


def _tensors(a: Tensor, b: Tensor, path: str, drawn: list[tuple[Tensor, str]], structure: list[str]) -> None:
    if (a.type, a.size, a.stride, a.offset) != (b.type, b.size, b.stride, b.offset):
        structure.append(f"{path}: {a!r} or {b!r}")
    elif not _equal(a.numpy(), b.numpy()):
        drawn.append((a, path))


def _equal(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _shown(value: Value) -> str:
    return repr(value)[:60]

"""Compares objects that constructors of the product made with those that Torch7 made."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

import torchmigrate as tm

#: Labels that say where in which file a node of nngraph was made.
LABELS = frozenset({"_debugLabel"})


def differences(wanted: Any, got: Any, *, ignored: Collection[str] = LABELS, zeros_are_any: bool = False) -> list[str]:
    """Where two values differ in their fields, types, sizes, numbers, or in what they share.

    Args:
        wanted: what Torch7 made.
        got: what the product made.
        ignored: fields that are left out on both sides.
        zeros_are_any: a tensor of zeros in `wanted` stands for random numbers.
    """
    found: list[str] = []
    partner: dict[int, Any] = {}
    stack = [(wanted, got, "")]
    while stack:
        a, b, path = stack.pop()
        if isinstance(a, (float, int)) and not isinstance(a, bool):
            if a != b:
                found.append(f"{path}: {b!r} is not {a!r}")
        elif type(a) is not type(b):
            found.append(f"{path}: {b!r} is not {a!r}")
        elif isinstance(a, (tm.LuaTable, tm.LuaObject)):
            if id(a) in partner:
                if partner[id(a)] is not b:
                    found.append(f"{path}: it is shared with another")
                continue
            partner[id(a)] = b
            if isinstance(a, tm.LuaObject) and a.typename != b.typename:
                found.append(f"{path}: {b.typename} is not {a.typename}")
                continue
            keys = {key for key, _ in (*a.items(), *b.items()) if isinstance(key, (str, float))} - set(ignored)
            for key in sorted(keys, key=str):
                if key not in a or key not in b:
                    found.append(f"{path}.{key}: {'there' if key in b else 'not there'}")
                else:
                    stack.append((a.get(key), b.get(key), f"{path}.{key}"))
            if len([k for k in a.items() if not isinstance(k[0], str)]) != len(
                [k for k in b.items() if not isinstance(k[0], str)]
            ):
                found.append(f"{path}: another number of entries")
        elif isinstance(a, tm.Tensor):
            if (a.type, a.size) != (b.type, b.size) or (a.size and a.stride != b.stride):
                found.append(f"{path}: {b!r} is not {a!r}")
            elif a.size and not (zeros_are_any and not a.numpy().any()) and not _near(a.numpy(), b.numpy()):
                found.append(f"{path}: other numbers")
        elif isinstance(a, tm.Storage):
            if a.typename != b.typename or not np.array_equal(a.data, b.data):
                found.append(f"{path}: {b.data.tolist()} is not {a.data.tolist()}")
        elif a != b:
            found.append(f"{path}: {b!r} is not {a!r}")
    return found


def _near(a: Any, b: Any) -> bool:
    return bool(np.allclose(a, b, rtol=1e-12, atol=0, equal_nan=True))

"""Takes values that another reader made (bshillingford's torchfile) as if `load()` had read them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.errors import UsageError
from ..t7 import LuaObject, LuaTable, Storage, Tensor, Value
from ..t7.keys import text_or_bytes

_OWN = (LuaTable, LuaObject, Tensor, Storage)


def adopt(value: Any) -> Value:
    """`value` itself if it is one of ours; else what it means in our terms.

    Args:
        value: from `load()`, or from `torchfile.load` (TorchObject, dict, list, numpy array, bytes, number).

    Raises:
        UsageError: it is neither.
    """
    return _adopt(value, {}, "the value")


def _adopt(value: Any, seen: dict[int, Any], path: str) -> Value:
    if id(value) in seen:
        return seen[id(value)]
    if value is None or isinstance(value, (bool, float, str, *_OWN)):
        return value
    if isinstance(value, (int, np.integer, np.floating)):
        return float(value)
    if isinstance(value, bytes):
        return text_or_bytes(value)
    if isinstance(value, np.ndarray):
        seen[id(value)] = made = Tensor.from_numpy(value)
        return made
    if isinstance(value, (dict, list)):
        seen[id(value)] = table = LuaTable()
        for key, item in value.items() if isinstance(value, dict) else enumerate(value, 1):
            table[_adopt(key, seen, path)] = _adopt(item, seen, f"{path}[{key!r}]")
        return table
    if hasattr(value, "torch_typename") and hasattr(value, "_obj"):
        name = value.torch_typename()
        made_object = LuaObject(str(text_or_bytes(name) if isinstance(name, bytes) else name))
        seen[id(value)] = made_object
        fields = _adopt(value._obj, seen, path)
        made_object.parts = [fields]
        return made_object
    raise UsageError(
        f"{path} is a {type(value).__name__}: convert() takes a path, or a value from load() or torchfile.load()."
    )

"""Sizes as users write them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import prod
from typing import Any

from ..base.errors import UsageError
from ..base.tensor_trees import apply

#: So many numbers fill no memory that there is.
_MOST = 2**48


def parse_shape(text: str) -> Any:
    """Reads sizes as users write them: `2x3x224x224`, or `{2x10,{2x20,2x20}}` for a table input.

    Returns:
        A tuple of sizes, or a nested list of them.

    Raises:
        UsageError: it is written otherwise.
    """
    plain = re.sub(r"[^0-9x{},]|{}|^$", "?", text.replace(" ", ""))  # which no JSON holds
    lists = re.sub(r"[0-9x]+", r'"\g<0>"', plain).replace("{", "[").replace("}", "]")
    try:
        found = apply(json.loads(f"[{lists}]"), _sizes, str)
    except ValueError as error:
        raise UsageError(
            f"The input shape {text!r} is not understood; write 2x3x224x224, or {{2x10,2x20}} for a table of inputs."
        ) from error
    if any(prod(sizes) > _MOST for sizes in _tuples(found)):
        raise UsageError(f"An input of {text[:200]} has more numbers than any machine holds.")
    return found if len(found) > 1 else found[0]


def _tuples(value: Any) -> Iterator[tuple[int, ...]]:
    if isinstance(value, tuple):
        yield value
    else:
        for item in value:
            yield from _tuples(item)


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(map(int, text.split("x")))
    if 0 in sizes:
        raise ValueError
    return sizes


def spelled(sizes: Any) -> str:
    """Sizes as users write them."""
    if isinstance(sizes, list):
        return "{" + ",".join(spelled(item) for item in sizes) + "}"
    return "x".join(map(str, sizes))

"""Sizes as users write them."""

from __future__ import annotations

from typing import Any

from ..base.errors import UsageError


def parse_shape(text: str) -> Any:
    """Reads sizes as users write them: `2x3x224x224`, or `{2x10,{2x20,2x20}}` for a table input.

    Returns:
        A tuple of sizes, or a nested list of them.

    Raises:
        UsageError: it is written otherwise.
    """
    value, rest = _parse(text.replace(" ", ""), text)
    if rest.startswith(","):
        value, rest = _parse("{" + text.replace(" ", "") + "}", text)
    if rest:
        raise UsageError(_spelling(text))
    return value


def _parse(rest: str, text: str) -> tuple[Any, str]:
    if rest.startswith("{"):
        items = []
        rest = rest[1:]
        while True:
            item, rest = _parse(rest, text)
            items.append(item)
            if rest.startswith(","):
                rest = rest[1:]
            elif rest.startswith("}"):
                return items, rest[1:]
            else:
                raise UsageError(_spelling(text))
    end = min((i for i in (rest.find(","), rest.find("}")) if i >= 0), default=len(rest))
    sizes = rest[:end].split("x")
    if not all(size.isascii() and size.isdigit() and int(size) > 0 for size in sizes):
        raise UsageError(_spelling(text))
    return tuple(int(size) for size in sizes), rest[end:]


def _spelling(text: str) -> str:
    return f"The input shape {text!r} is not understood; write 2x3x224x224, or {{2x10,2x20}} for a table of two inputs."


def spelled(sizes: Any) -> str:
    """Sizes as users write them."""
    if isinstance(sizes, list):
        return "{" + ",".join(spelled(item) for item in sizes) + "}"
    return "x".join(map(str, sizes))

"""Where a value is in a file: the keys on the way to it, joined by dots."""

from __future__ import annotations

from .values import Value


def join(path: str, key: Value) -> str:
    """`path` with a table key appended: `protos.rnn`, `1`."""
    name = str(int(key)) if isinstance(key, float) and key == int(key) else str(key)
    return f"{path}.{name}" if path else name

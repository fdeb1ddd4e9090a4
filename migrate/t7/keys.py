"""What can be a key of a Lua table, as what Python holds it, and as what it stands in a path."""

from __future__ import annotations

from typing import Any


class BoolKey:
    """Stands for a boolean key, since True == 1 in Python and they are two keys in Lua."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value


_TRUE, _FALSE = BoolKey(True), BoolKey(False)


def text_or_bytes(data: bytes) -> str | bytes:
    """A string of Lua: text where it is UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def table_key(key: Any) -> Any:
    """The form in which a table holds a key: a boolean apart from 1 and 0, an int as float, UTF-8 bytes as str.

    Raises:
        ValueError: Lua has no such key: nil, NaN, or an int that no double equals.
    """
    kind = type(key)
    if kind is str:
        return key
    if kind is float:
        if key != key:
            raise ValueError("a table can't have the key NaN")
        return key
    if kind is bool:
        return _TRUE if key else _FALSE
    if kind is int:
        try:
            number = float(key)
        except OverflowError:
            number = 0.0
        if number != key:
            raise ValueError(f"a table can't have the key {key}: no double is equal to it")
        return number
    if kind is bytes:
        return text_or_bytes(key)
    if key is None:
        raise ValueError("a table can't have the key nil")
    return key


def join(path: str, key: Any) -> str:
    """`path` with a table key appended: `protos.rnn`, `1`."""
    name = str(int(key)) if isinstance(key, float) and key.is_integer() else str(key)
    return f"{path}.{name}" if path else name

"""Dataclasses as JSON values, and JSON as a file that people can look into."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

#: A line of a JSON file is about as long as one of source.
_WIDTH = 120


def compact_json(value: Any, depth: int = 0) -> str:
    """JSON in which whatever fits into a line stands in one, indented by one space a level; without a last newline.

    Args:
        value: what JSON can hold.
        depth: how far it is indented.
    """
    line = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    if len(line) + depth <= _WIDTH or not isinstance(value, (dict, list)):
        return line
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}:{compact_json(item, depth + 1)}" for name, item in value.items()]
    else:
        parts = [compact_json(item, depth + 1) for item in value]
    first, last = ("{", "}") if isinstance(value, dict) else ("[", "]")
    indent = "\n" + " " * (depth + 1)
    return f"{first}{indent}{f',{indent}'.join(parts)}{indent[:-1]}{last}"


class JsonValues:
    """A dataclass that JSON can hold."""

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values, `typename` under "class"; those that its repr leaves out are left out."""
        found: dict[str, Any] = _plain(self)
        return found


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        shown = [field.name for field in fields(value) if field.repr]
        return {"class" if name == "typename" else name: _plain(getattr(value, name)) for name in shown}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value

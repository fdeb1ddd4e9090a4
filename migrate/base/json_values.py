"""Dataclasses as JSON values."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any


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

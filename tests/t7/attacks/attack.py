"""What an attack is."""

from __future__ import annotations

from dataclasses import dataclass

from t7.handwritten import number, string, table, torch

BIG = 2**31 - 1


@dataclass(frozen=True)
class Attack:
    """A file, and what its error says."""

    raw: bytes
    words: str
    offset: int | None = None
    path: str | None = None


def field(name: str, value: bytes) -> bytes:
    """An object with one field, inside a list."""
    return table(1, number(1), torch(2, "nn.Linear", table(3, string(name), value)))

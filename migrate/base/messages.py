"""Text that comes from a file, made fit to be shown."""

from __future__ import annotations


def visible(text: str) -> str:
    r"""The same text with control, formatting and unpaired characters as `\x1b`: nothing is hidden or reordered."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 channel`, `3 channels`, `2 entries`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"

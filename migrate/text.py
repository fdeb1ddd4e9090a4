"""Text that comes from a file, made fit to be shown."""

from __future__ import annotations


def visible(text: str) -> str:
    r"""The same text with control, formatting and unpaired characters as `\x1b`: nothing is hidden or reordered."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)

"""Says what a file is that isn't a `.t7` file."""

from __future__ import annotations


def explain_tag(tag: int) -> tuple[str, str]:
    """What an impossible tag of an object says: (message, hint)."""
    return f"an object can't begin with {tag}", "The file is damaged, or not a .t7 file."

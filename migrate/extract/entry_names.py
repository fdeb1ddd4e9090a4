"""Paths in a file as names that are safe as names of files."""

from __future__ import annotations

import re


def entry_name(path: str) -> str:
    """A path as the name of an entry: what is no letter, digit, dot, dash or underscore is written as %2F."""
    safe = re.sub(r"[^A-Za-z0-9._+-]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), path)
    return re.sub(r"\A\.|(?<=\.)\.", "%2E", safe)

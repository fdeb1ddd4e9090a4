"""Which known class an unknown one may be under another name, as its fields and its name say."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import SequenceMatcher

from ..t7 import LuaObject
from . import registry

#: So many of the most likely classes are tried.
TRIED = 8

#: From here on two names of classes are alike.
ALIKE = 0.4

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|[a-z]+|[0-9]+")


def likely_alias(obj: LuaObject, fields_read: Callable[[str], list[str] | None]) -> str:
    """The known class whose fields an object of an unknown class has, of those whose name is most alike; "" if none.

    Args:
        obj: the object.
        fields_read: gives the fields that the converter of a known class reads of the object; None where it refuses the
            object, or where a field is left that says something.
    """
    own = _leaf(obj.typename)
    likely = sorted(((_likeness(own, _leaf(name)), name) for name in registry.all_converters()), key=_most_alike)
    for likeness, name in likely[:TRIED]:
        read = fields_read(name) if likeness >= ALIKE else None
        if read or (read is not None and likeness == 1):
            return name
    return ""


def _leaf(typename: str) -> str:
    return typename.rpartition(".")[2]


def _most_alike(found: tuple[float, str]) -> tuple[float, bool, str]:
    likeness, name = found
    return -likeness, not name.startswith("nn."), name


def _likeness(own: str, other: str) -> float:
    """From 0 to 1; names that share no word are not alike."""
    if own.lower() == other.lower():
        return 1.0
    shared = {word.lower() for word in _WORD.findall(own)} & {word.lower() for word in _WORD.findall(other)}
    return 0.99 * SequenceMatcher(None, own.lower(), other.lower()).ratio() if shared else 0.0

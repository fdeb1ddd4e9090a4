"""Names of classes and vocabularies, in the forms in which people keep them."""

from __future__ import annotations

from ...t7 import LuaTable, Value

#: Places that no word has, of a vocabulary that leaves some out, are left empty; more of them make it another thing.
_MOST_GAPS = 0.5


def labels_of(value: Value) -> tuple[str, ...] | None:
    """The names in the order of their indices; None if the value is no list of names, nor a map to or from indices.

    Args:
        value: a list of texts, a table of texts by index, or of indices by text; indices begin with 1, or with 0.
    """
    if not isinstance(value, LuaTable) or not len(value):
        return None
    pairs: list[tuple[float, str]] = []
    for key, item in value.items():
        if isinstance(key, float) and isinstance(item, (str, bytes)):
            pairs.append((key, word(item)))
        elif isinstance(key, (str, bytes)) and isinstance(item, float):
            pairs.append((item, word(key)))
        else:
            return None
    by_index = dict(pairs)
    first, last = min(by_index), max(by_index)
    wholes = all(index.is_integer() for index in by_index)
    if len(by_index) < len(pairs) or first not in (0.0, 1.0) or not wholes:
        return None
    count = int(last - first) + 1
    if count > len(pairs) * (1 + _MOST_GAPS):
        return None
    return tuple(by_index.get(first + i, "") for i in range(count))


def is_vocabulary(table: LuaTable) -> bool:
    """Is it a map from words to distinct indices or from numbers to words, too large to be a few settings?"""
    items = table.items()
    if len(items) <= 4 or table.is_list:
        return False
    to_index = all(isinstance(key, (str, bytes)) and isinstance(item, float) for key, item in items)
    to_word = all(isinstance(key, float) and isinstance(item, (str, bytes)) for key, item in items)
    return to_word or (to_index and labels_of(table) is not None)


def word(text: str | bytes) -> str:
    """A word as text; bytes that are no UTF-8 stay visible, as \\xe9."""
    return text if isinstance(text, str) else text.decode(errors="backslashreplace")

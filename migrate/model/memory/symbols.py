"""Values of Torch7 while a network is run on symbols: tensors and tables, whose content may be overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..layer_record import LayerRecord

#: What one run computed: ("run", number), ("entry", symbol, index), ("input",); ("sized", old, new, base): older memory
#: that shows what was written over its base later; ("again", number, old, new): a view of such, by the layer with that
#: number; ("rows", symbol): older rows of a lookup table; ("unknown", path).
Symbol = tuple[Any, ...]
Symbols = Symbol | list[Any]
#: Where something ran: the names of the children on the way there.
Place = tuple[str, ...]


@dataclass(eq=False)
class Buffer:
    """A tensor of Torch7, or a table whose entries are not told apart.

    Attributes:
        content: the numbers that were written there last.
        base: what it is a view of.
        was: what that held when the view was made.
        view: the layer that made the view; None: the view shows the whole of its base.
        parent: the table that it is an entry of, and its index.
        tensor: is it surely no table?
    """

    content: Symbol = ("unknown", "")
    base: Value | None = None
    was: Symbols = ()
    view: LayerRecord | None = None
    parent: tuple[Buffer, int] | None = None
    entries: dict[int, Buffer] = field(default_factory=dict)
    tensor: bool = False


@dataclass(eq=False)
class Table:
    """A table of Torch7."""

    entries: list[Value] = field(default_factory=list)


Value = Buffer | Table
#: A value of Torch7, and what our modules hand on in its place.
Pair = tuple[Value, Symbols]


def entry_symbol(symbols: Symbols, index: int) -> Symbols:
    """The symbol of an entry of what has a symbol."""
    if isinstance(symbols, list):
        return symbols[index] if -len(symbols) <= index < len(symbols) else ("unknown", "")
    return ("entry", symbols, index)


def parts(symbols: Symbols) -> Iterator[Symbol]:
    """The symbols in a nested list."""
    if isinstance(symbols, list):
        for item in symbols:
            yield from parts(item)
    else:
        yield symbols


def snapshot(value: Value) -> Value:
    """What a view of a value is a view of: memory that a layer owns stays the same, and views of it may move."""
    if isinstance(value, Table):
        return Table([snapshot(item) for item in value.entries])
    if value.parent is not None:
        table, index = value.parent
        return value if table.base is None else Buffer(parent=(copied(table), index))
    return value if value.base is None else copied(value)


def copied(view: Buffer) -> Buffer:
    """A view of its own of the same memory."""
    return Buffer(view.content, view.base, view.was, view.view)


def freeze(symbols: Symbols) -> Any:
    """A nested list of symbols as tuples."""
    return ("list", *map(freeze, symbols)) if isinstance(symbols, list) else symbols

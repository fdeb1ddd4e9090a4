"""How tables and objects of a file show themselves: as a tree of text, and in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import Any

from ..base.messages import cut, visible
from .keys import join

#: How many entries of one table are shown, how many of all together, and how long the text of one may be.
MOST_ENTRIES = 40
MOST_ROWS = 2000
_LONGEST = 120

#: Down to which depth a notebook shows a value; what is below the first level is folded.
_NOTEBOOK_DEPTH = 4


class Text(str):
    """A text that shows itself as it is, where Python shows other texts in quotes and on one line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Displayed:
    """A mapping of Lua that can show what is in it."""

    __slots__ = ()

    def items(self) -> list[tuple[Any, Any]]:
        """The (key, value) pairs in the order of the file."""
        raise NotImplementedError

    def tree(self, depth: int = 2) -> str:
        """What is in it, one line an entry.

        Args:
            depth: how many levels are shown; 40 entries of one table, and 2,000 of all together at most.

        Returns:
            The lines as one text, which a console and a notebook show as they are.
        """
        return Text("\n".join([_line(self), *(row.line for row in _shown(self, depth))]))

    def _repr_html_(self) -> str:
        rows = [Row(0, "", _line(self)), *_shown(self, _NOTEBOOK_DEPTH)]
        return f'<div style="font-family:monospace">{"".join(folded(rows))}</div>'

    def _ipython_key_completions_(self) -> list[str]:
        return [key for key, _ in self.items() if isinstance(key, str)]


@dataclass(frozen=True)
class Row:
    """One line of a tree.

    Attributes:
        depth: below how many others it stands.
        indent: the lines of the tree before it.
        text: what it says.
    """

    depth: int
    indent: str
    text: str

    @property
    def line(self) -> str:
        """The row as a line of text."""
        return self.indent + self.text


def folded(rows: Sequence[Row], open_to: int = 1) -> Iterator[str]:
    """Rows as HTML, those below others folded.

    Args:
        rows: the first is the top.
        open_to: down to which depth they are unfolded at first.
    """
    for row, after in zip(rows, [*rows[1:], Row(0, "", "")], strict=True):
        if after.depth > row.depth:
            opened = " open" if row.depth < open_to else ""
            yield f'<details{opened} style="margin-left:1.2em"><summary>{escape(row.text)}</summary>'
        else:
            yield f'<div style="margin-left:1.2em;white-space:pre-wrap">{escape(row.text)}</div>'
            yield "</details>" * (row.depth - after.depth)


def _line(value: Any) -> str:
    """A value on one line."""
    return visible(cut(repr(value), _LONGEST))


def _shown(value: Displayed, depth: int) -> Iterator[Row]:
    """The rows below a value, and what is said where too many are left out."""
    found = _rows(value, depth, 1, "", {id(value)})
    yield from islice(found, MOST_ROWS)
    if next(found, None) is not None:
        yield Row(1, "", f"… what comes after these {MOST_ROWS:,} lines is not shown")


def _rows(value: Displayed, levels: int, depth: int, indent: str, above: set[int]) -> Iterator[Row]:
    """The rows below a value."""
    if levels < 1:
        return
    entries = value.items()
    more = len(entries) - MOST_ENTRIES
    for number, (key, held) in enumerate(entries[:MOST_ENTRIES], 1):
        last = number == len(entries)
        inside = isinstance(held, Displayed)
        again = inside and id(held) in above
        name = visible(cut(join("", key), _LONGEST))
        text = f"{name}: {_line(held)}{' (it is one of those above)' if again else ''}"
        yield Row(depth, indent + ("└── " if last else "├── "), text)
        if inside and not again:
            yield from _rows(held, levels - 1, depth + 1, indent + ("    " if last else "│   "), above | {id(held)})
    if more > 0:
        yield Row(depth, indent + "└── ", f"… {more:,} more")

"""Lua's words, one by one, with where they stand."""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<quiet>\s+|--\[(?P<a>=*)\[.*?\](?P=a)\]|--[^\n]*)
  | (?P<text>\[(?P<b>=*)\[.*?\](?P=b)\]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
  | (?P<number>0[xX][0-9a-fA-F]+(?:[uU]?[lL]{2})?|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:[uU]?[lL]{2}|i)?)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<sign>\.\.\.|\.\.|==|~=|<=|>=|::|[-+*/%^\#<>=(){}\[\];:,.])
    """,
    re.S | re.X,
)
KEYWORDS = frozenset(
    (
        *("and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil"),
        *("not", "or", "repeat", "return", "then", "true", "until", "while"),
    )
)


class NotRead(Exception):
    """The text is not Lua as this reads it."""


class Token(NamedTuple):
    """One word.

    Attributes:
        kind: `name`, `word` (a keyword), `text`, `number`, `sign` or `end`.
        text: as it is written.
        start: where it begins.
    """

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.start + len(self.text)


def tokens(text: str) -> list[Token]:
    """The words of a text, without comments, and one of the kind `end`.

    Raises:
        NotRead: something in it is no word of Lua's.
    """
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotRead(f"character {at}")
        kind = next(name for name in ("quiet", "text", "number", "name", "sign") if match[name] is not None)
        if kind != "quiet":
            word = match[kind]
            found.append(Token("word" if kind == "name" and word in KEYWORDS else kind, word, at))
        at = match.end()
    return [*found, Token("end", "", len(text))]

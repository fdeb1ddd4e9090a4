"""Reads the expressions of an author's Lua, and guards what decides in them."""

from __future__ import annotations

from dataclasses import dataclass

from .tokens import NotRead, Token, tokens

_BINARY = {"or": 1, "and": 2, "<": 3, ">": 3, "<=": 3, ">=": 3, "~=": 3, "==": 3, "..": 4, "+": 5, "-": 5}
_BINARY |= {"*": 6, "/": 6, "%": 6, "^": 8}
_RIGHT = ("..", "^")
_UNARY = 7
_COMPARED = ("<", ">", "<=", ">=", "~=", "==")


@dataclass(frozen=True)
class Part:
    """An expression.

    Attributes:
        start: where it begins.
        end: where it ends.
        kind: `plain` (what is known as it is written), `name`, `call` or `other`.
        target: the variable that an assignment to it changes.
        receiver: the variable whose method it calls.
    """

    start: int
    end: int
    kind: str
    target: str = ""
    receiver: str = ""


class Expressions:
    """Reads expressions, and keeps what is put into the text.

    Args:
        text: of a file.
    """

    def __init__(self, text: str) -> None:
        self._text, self._tokens, self._at, self._depth = text, tokens(text), 0, 0
        self._opened: dict[int, list[str]] = {}
        self._closed: dict[int, list[str]] = {}
        self._instead: dict[int, str] = {}

    # ------------------------------------------------------------------ what is written

    def written(self) -> str:
        """The text with what was put into it."""
        parts, last = [], 0
        for at in sorted({*self._opened, *self._closed, *self._instead}):
            parts += [self._text[last:at], *self._closed.get(at, ()), *reversed(self._opened.get(at, ()))]
            parts.append(self._instead.get(at, ""))
            last = at + (at in self._instead)
        return "".join([*parts, self._text[last:]])

    def _around(self, start: int, end: int, before: str, after: str = ")") -> None:
        self._opened.setdefault(start, []).append(before)
        self._closed.setdefault(end, []).append(after)

    def _decided(self, part: Part) -> None:
        if part.kind != "plain":
            self._around(part.start, part.end, " __decided(")

    # ------------------------------------------------------------------ words

    @property
    def next(self) -> Token:
        """The word that is read next."""
        return self._tokens[self._at]

    @property
    def _last_end(self) -> int:
        return self._tokens[self._at - 1].end

    def _is(self, *texts: str) -> bool:
        return self.next.kind in ("word", "sign") and self.next.text in texts

    def _take(self, *texts: str) -> bool:
        found = self._is(*texts)
        self._at += found
        return found

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise NotRead(f"{text} at {self.next.start}")

    def _name(self) -> str:
        if self.next.kind != "name":
            raise NotRead(f"a name at {self.next.start}")
        self._at += 1
        return self._tokens[self._at - 1].text

    # ------------------------------------------------------------------ what statements need

    def block(self, *names: str) -> None:
        """Reads statements up to the end of a block, in which there are these variables."""
        raise NotImplementedError

    def stays_whole(self) -> None:
        """What is read here can't be put into a function."""
        raise NotImplementedError

    # ------------------------------------------------------------------ expressions

    def _expressions(self) -> list[Part]:
        parts = [self._expression()]
        while self._take(","):
            parts.append(self._expression())
        return parts

    def _expression(self, limit: int = 0) -> Part:
        start = self.next.start
        if self._is("not", "-", "#"):
            sign = self.next.text
            self._at += 1
            part = self._expression(_UNARY)
            if sign == "not":
                self._decided(part)
            left = Part(start, part.end, "plain" if sign == "not" or part.kind == "plain" else "other")
        else:
            left = self._simple()
        while self.next.kind in ("word", "sign") and _BINARY.get(self.next.text, 0) > limit:
            sign = self.next.text
            self._at += 1
            right = self._expression(_BINARY[sign] - (sign in _RIGHT))
            if sign in ("and", "or"):
                self._decided(left)
            if sign in _COMPARED:
                self._decided(left)
                self._decided(right)
            left = Part(start, right.end, "plain" if sign in _COMPARED else "other")
        return left

    def _simple(self) -> Part:
        token = self.next
        if token.kind in ("text", "number") or self._is("nil", "true", "false"):
            self._at += 1
            return Part(token.start, token.end, "plain")
        if self._take("..."):
            self.stays_whole()
            return Part(token.start, token.end, "call")
        if self._take("function"):
            self._function()
            return Part(token.start, self._last_end, "plain")
        if self._is("{"):
            self._table()
            return Part(token.start, self._last_end, "plain")
        return self._suffixed()

    def _suffixed(self, *, target: bool = False) -> Part:
        """A name or an expression in brackets, and the fields and calls behind it."""
        start, kind, receiver = self.next.start, "name", ""
        path: str | None = ""
        if self._take("("):
            self._expression()
            self._need(")")
            kind, path = "other", None
        else:
            path = self._name()
        base = path or ""
        keyed: tuple[int, int, Part] | None = None  # an index that may be the last, and so be set
        while True:
            token = self.next
            if keyed is not None and (token.kind == "text" or self._is(".", "[", ":", "(", "{")):
                self._as_read(start, keyed)
                keyed = None
            if self._take("."):
                name = self._name()
                kind, path = "other", None if path is None else f"{path}.{name}"
            elif self._take("["):
                key = self._expression()
                self._need("]")
                keyed, kind, path = (token.start, self._last_end - 1, key), "other", None
            elif self._take(":"):
                receiver = path or ""
                self._name()
                self._arguments()
                kind, path = "call", None
            elif token.kind == "text" or self._is("(", "{"):
                self._arguments()
                kind, path, receiver = "call", None, ""
            else:
                break
        if keyed is not None and not (target and self._is("=", ",")):
            self._as_read(start, keyed)
        elif keyed is not None:
            self._decided(keyed[2])
        return Part(start, self._last_end, kind, path or base, receiver)

    def _as_read(self, start: int, keyed: tuple[int, int, Part]) -> None:
        opens, closes, key = keyed
        if key.kind != "plain":
            self._opened.setdefault(start, []).append(" __at(")
            self._instead[opens], self._instead[closes] = ", ", ")"

    def _arguments(self) -> None:
        if self.next.kind == "text":
            self._at += 1
        elif self._is("{"):
            self._table()
        else:
            self._need("(")
            if not self._is(")"):
                self._expressions()
            self._need(")")

    def _table(self) -> None:
        self._need("{")
        while not self._is("}"):
            if self._take("["):
                self._decided(self._expression())
                self._need("]")
                self._need("=")
                self._expression()
            elif self.next.kind == "name" and self._tokens[self._at + 1].text == "=":
                self._at += 2
                self._expression()
            else:
                self._expression()
            if not self._take(",", ";"):
                break
        self._need("}")

    def _function(self, *names: str) -> None:
        self._need("(")
        found = [*names]
        while not self._is(")"):
            if not self._take("..."):
                found.append(self._name())
            self._take(",")
        self._need(")")
        self._depth += 1
        self.block(*found)
        self._depth -= 1
        self._need("end")

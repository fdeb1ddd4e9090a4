"""Puts guards into an author's Lua: what only absent data tell may not decide, nor be passed over."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from .expressions import Expressions
from .tokens import NotRead

_BLOCK_ENDS = ("end", "else", "elseif", "until")

_Values = tuple[tuple[int, int] | None, list[str]]


@lru_cache(maxsize=2000)
def guarded(text: str, *, steps: bool = False) -> str | None:
    """The text with guards, every line where it was.

    Conditions, comparisons and what stands before `and` and `or` go through `__decided`, keys through `__at`, loops
    through `__each`; where a call gives fewer values than there are names, the rest comes from `__several`.

    Args:
        text: of a file.
        steps: each statement of the main part may stop by itself, by `__try`: what it would have set is not known then.

    Returns:
        None if the text is not read.
    """
    try:
        reader = _Reader(text, steps=steps)
        reader.block(top=True)
        if reader.next.kind != "end":
            return None
    except (NotRead, RecursionError):
        return None
    return reader.written()


@dataclass
class _Step:
    """A statement of the main part.

    Attributes:
        names: the variables outside of it that it sets, as they are written.
        held: those whose methods it calls.
        inner: the variables of its own blocks.
        whole: it can't be put into a function.
        depth: of functions around it.
    """

    depth: int
    names: dict[str, None] = field(default_factory=dict)
    held: dict[str, None] = field(default_factory=dict)
    inner: list[set[str]] = field(default_factory=list)
    whole: bool = False


class _Reader(Expressions):
    def __init__(self, text: str, *, steps: bool) -> None:
        super().__init__(text)
        self._steps = steps
        self._step: _Step | None = None

    # ------------------------------------------------------------------ what a statement does

    def stays_whole(self) -> None:
        """The statement can't be put into a function."""
        if self._step is not None and self._depth == self._step.depth:
            self._step.whole = True

    def _declares(self, *names: str) -> None:
        if self._step is not None and self._step.inner:
            self._step.inner[-1].update(names)

    def _sets(self, target: str) -> None:
        if self._step is not None and target and not self._is_inner(target):
            self._step.names[target] = None

    def _is_inner(self, target: str) -> bool:
        base = target.partition(".")[0]
        return self._step is not None and any(base in names for names in self._step.inner)

    # ------------------------------------------------------------------ statements

    def block(self, *names: str, top: bool = False) -> None:
        """Reads statements up to the end of a block."""
        step = self._step
        if step is not None:
            step.inner.append(set(names))
        while self.next.kind != "end" and not self._is(*_BLOCK_ENDS):
            if self._take("return"):
                self.stays_whole()
                if self.next.kind != "end" and not self._is(*_BLOCK_ENDS, ";"):
                    self._expressions()
                self._take(";")
                break
            if top and self._steps:
                self._stepped()
            else:
                self._statement()
        if step is not None:
            step.inner.pop()

    def _stepped(self) -> None:
        """A statement of the main part, which may stop by itself."""
        start = self.next.start
        step = self._step = _Step(self._depth)
        values, names = self._statement()
        self._step = None
        if step.whole or (values is not None and not names):
            return
        if values is not None:
            listed = "".join(f", '{name}'" for name in names)
            self._around(*values, " __try(function() return __pass(", f") end, {len(names)}{listed})")
            return
        end = self._last_end - (self._text[self._last_end - 1] == ";")
        spoiled = [f"{name} = __not_known('{name}')" for name in step.names]
        spoiled += [f"{name} = __held({name}, '{name}')" for name in step.held if name not in step.names]
        after = " ".join(f"__spoil(function() {text} end)" for text in spoiled)
        self._around(start, end, " if __try(function() ", f" end, 0) then {after} end")

    def _statement(self) -> _Values:
        """Reads a statement.

        Returns:
            For one that only sets variables, where its values stand, and their names; none: it can't stop. Else None.
        """
        if self._take(";"):
            return (0, 0), []
        word = self.next.text if self.next.kind == "word" else ""
        if word == "local":
            return self._local()
        if word == "function":
            self._function_statement()
            return (0, 0), []
        if word in ("if", "while", "for", "repeat", "do"):
            self._at += 1
            {"if": self._if, "while": self._while, "for": self._for, "repeat": self._repeat, "do": self._do}[word]()
            return None, []
        if self._take("break"):
            return None, []
        following = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if self._is("::") or (self.next.text == "goto" and following.kind == "name"):
            self._at += 3 if self._is("::") else 2
            self.stays_whole()
            return None, []
        return self._assignment()

    def _local(self) -> _Values:
        self._need("local")
        if self._take("function"):
            self._declares(self._name())
            self._function()
            return (0, 0), []
        names = [self._name()]
        while self._take(","):
            names.append(self._name())
        found: _Values = ((0, 0), [])
        if self._take("="):
            found = self._values(names)
        self._declares(*names)
        return found

    def _values(self, names: list[str]) -> _Values:
        parts = self._expressions()
        if len(parts) < len(names) and parts[-1].kind == "call":
            self._around(parts[-1].start, parts[-1].end, f" __several({len(names) - len(parts) + 1}, ")
        if all(part.kind in ("plain", "name") for part in parts):
            return (0, 0), []
        return (parts[0].start, parts[-1].end), names

    def _function_statement(self) -> None:
        self._need("function")
        names, method = [self._name()], False
        while self._is(".", ":"):
            method = self._is(":")
            self._at += 1
            names.append(self._name())
        self._sets(".".join(names))
        self._function(*(("self",) if method else ()))

    def _assignment(self) -> _Values:
        parts = [self._suffixed(target=True)]
        if not self._is("=", ","):
            if parts[0].kind != "call":
                raise NotRead(f"no statement at {parts[0].start}")
            step = self._step
            if step is not None and parts[0].receiver and not self._is_inner(parts[0].receiver):
                step.held[parts[0].receiver] = None
            return None, []
        while self._take(","):
            parts.append(self._suffixed(target=True))
        self._need("=")
        for part in parts:
            self._sets(part.target)
        return self._values([part.target for part in parts])

    def _if(self) -> None:
        self._decided(self._expression())
        self._need("then")
        self.block()
        while self._take("elseif"):
            self._decided(self._expression())
            self._need("then")
            self.block()
        if self._take("else"):
            self.block()
        self._need("end")

    def _while(self) -> None:
        self._decided(self._expression())
        self._do_block()

    def _do_block(self, *names: str) -> None:
        self._need("do")
        self.block(*names)
        self._need("end")

    def _do(self) -> None:
        self.block()
        self._need("end")

    def _repeat(self) -> None:
        self.block()
        self._need("until")
        self._decided(self._expression())

    def _for(self) -> None:
        names = [self._name()]
        if self._take("="):
            for part in self._expressions():
                self._decided(part)
        else:
            while self._take(","):
                names.append(self._name())
            self._need("in")
            parts = self._expressions()
            self._around(parts[0].start, parts[-1].end, " __each(")
        self._do_block(*names)

"""Writes forward methods: which values get a name, and which expressions stand inside others."""

from __future__ import annotations

import keyword
import re
from collections import Counter

import torch

from .scopes import Scope, Step, Sym, Value
from .simplify import count_uses, flat

#: Longest expression that may stand inside another one.
_INNER = 44

#: Templates whose operands need no parentheses where they are products (the first not even where it is a sum), and
#: those of products.
_SUM = re.compile(r"\{0\}( [+-] (\{\d+\}|[0-9.e-]+))+|[0-9.e-]+ [+-] \{0\}")
_PRODUCT = re.compile(r"\{0\}( \* (\{\d+\}|-?[0-9.e-]+))+")

#: Names that a variable must not hide.
RESERVED = frozenset({"self", "torch", "nn", "F", "Tensor", "Path", "load_file", "math", "Any", "Model"})


def identifier(text: str, default: str = "value") -> str:
    """A valid Python name made of any text."""
    name = re.sub(r"[^0-9a-z_]+", "_", text.lower().strip()).strip("_")[:40]
    if not name or name[0].isdigit():
        name = f"{default}_{name}" if name else default
    return f"{name}_" if keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in RESERVED else name


def type_of(value: Value) -> str:
    """The type of a symbolic value that is passed from method to method."""
    if isinstance(value, list):
        return "list[Tensor]" if all(type_of(item) == "Tensor" for item in value) else "list[Any]"
    example = value.values[0] if value.values else None
    if isinstance(example, list):
        return "list[Tensor]" if all(isinstance(item, torch.Tensor) for item in example) else "list[Any]"
    return "Tensor"


def returned_type(value: Value) -> str:
    """The type of what a whole model returns: tuples for tables."""
    if isinstance(value, list):
        return f"tuple[{', '.join(returned_type(item) for item in value)}]" if value else "tuple[()]"
    return type_of(value)


def _enclosed(template: str, number: int) -> bool:
    """Does the operand stand alone between the brackets and commas of a call, where it needs no parentheses?"""
    before, _, after = template.partition(f"{{{number}}}")
    return before.endswith(("(", "[", ", ")) and after.startswith((")", "]", ","))


class Forward:
    """The text of a forward method.

    Args:
        scope: what it does.
        inputs: its parameters.
        result: what it returns.

    Attributes:
        parameters: names of the parameters.
        types: of the parameters.
        returns: type of the result.
        lines: its body.
    """

    def __init__(self, scope: Scope, inputs: list[Sym], result: Value) -> None:
        self.uses: Counter[int] = count_uses(scope, result)
        self.text: dict[int, tuple[str, bool]] = {}
        self.lines: list[str] = []
        self.products: set[int] = set()
        self.sums: set[int] = set()
        self.last: dict[int, int] = {}
        for place, step in enumerate(scope.steps):
            self.last.update({id(value): place for value in step.ins})
        self.last.update({id(value): len(scope.steps) for value in flat(result)})
        self.held: dict[str, int] = {}
        self.bases: dict[int, list[Sym]] = {}
        nameless = [sym for sym in inputs if not sym.hint]
        numbered = {id(sym): f"x{i}" if len(nameless) > 1 else "x" for i, sym in enumerate(nameless, 1)}
        self.parameters = [self._name(sym, -1, default=numbered.get(id(sym), "x")) for sym in inputs]
        for place, step in enumerate(scope.steps):
            self._step(scope.steps, place, step)
        self.types = [type_of(sym) for sym in inputs]
        self.returns = type_of(result) if scope.is_block else returned_type(result)
        returned = self._returned(result)
        if scope.is_block and isinstance(result, list):
            returned = f"[{returned.rstrip(',')}]"
        if self.lines and self.lines[-1].startswith(f"{returned} = "):
            returned = self.lines.pop().removeprefix(f"{returned} = ")
        self.lines.append(f"return {returned}")

    def signature(self) -> str:
        """The parameters with their types, `self` included."""
        return ", ".join(["self", *(f"{n}: {t}" for n, t in zip(self.parameters, self.types, strict=True))])

    def _returned(self, result: Value) -> str:
        if isinstance(result, list):
            parts = [
                f"({self._returned(item)})" if isinstance(item, list) else self.text[id(item)][0] for item in result
            ]
            return f"{parts[0]}," if len(parts) == 1 else ", ".join(parts)
        return self.text[id(result)][0]

    def _step(self, steps: list[Step], place: int, step: Step) -> None:
        parts = []
        is_sum = _SUM.fullmatch(step.template) is not None
        for i, value in enumerate(step.ins):
            text, atomic = self.text[id(value)]
            known = self.products | self.sums if step.template.startswith(f"{{{i}}}") else self.products
            bare = atomic or _enclosed(step.template, i) or (is_sum and id(value) in known)
            parts.append(text if bare else f"({text})")
        text = step.template.format(*parts)
        if len(step.outs) == 1 and self._stands_inside(steps, place, step, text):
            out = step.outs[0]
            self.text[id(out)] = (text, step.atomic)
            if _PRODUCT.fullmatch(step.template):
                self.products.add(id(out))
            if is_sum:
                self.sums.add(id(out))
            self.bases[id(out)] = [base for value in step.ins for base in self.bases[id(value)]]
            return
        names = [self._name(out, place) if self.uses[id(out)] else "_" for out in step.outs]
        self.lines.append(f"{', '.join(names)} = {text}")

    def _stands_inside(self, steps: list[Step], place: int, step: Step, text: str) -> bool:
        """May the result be written where it is used, without a name?"""
        out = step.outs[0]
        if self.uses[id(out)] != 1 or step.barrier or len(text) > _INNER:
            return False
        user = self.last[id(out)]
        if any(other.barrier for other in steps[place + 1 : user + 1]):
            return False
        if user == len(steps):
            return place == len(steps) - 1
        if step.call and steps[user].call:
            return False
        for value in step.ins:
            for base in self.bases[id(value)]:
                # its name must not be given away before
                self.last[id(base)] = max(self.last[id(base)], user)
        return True

    def _name(self, sym: Sym, place: int, default: str = "x") -> str:
        wanted = identifier(sym.hint) if sym.hint else default
        name, number = wanted, 1
        while name in self.held and self.held[name] != id(sym) and self._alive(self.held[name], place):
            number += 1
            name = f"{wanted.rstrip('0123456789')}{number}"
        self.held[name] = id(sym)
        self.text[id(sym)] = (name, True)
        self.bases[id(sym)] = [sym]
        return name

    def _alive(self, key: int, place: int) -> bool:
        """Is the value read after this step?"""
        return self.last.get(key, -1) > place

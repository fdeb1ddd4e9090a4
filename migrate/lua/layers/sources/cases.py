"""A layer that is being written: what it computes for each kind of input, and what the class holds."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Path = tuple[Any, ...]


@dataclass
class Case:
    """What the layer computes for inputs of one kind.

    Attributes:
        sizes: for each tensor of the input its dimensions; text is a free size.
        nested: is the input a list?
        body: the statements.
        gives_list: is its output a list?
        outputs: how many tensors its output has.
        backward: the statements of a backward pass of its own.
        above_one: the free sizes that must not be 1.
    """

    sizes: list[list[int | str]]
    nested: bool
    body: list[ast.stmt]
    gives_list: bool
    outputs: int = 1
    backward: list[ast.stmt] = field(default_factory=list)
    above_one: frozenset[str] = frozenset()

    @property
    def empty(self) -> bool:
        """Is a tensor of the list empty?"""
        return any(0 in sizes for sizes in self.sizes)


@dataclass
class Written:
    """A layer as source.

    Attributes:
        name: of the class.
        text: the source of a module that holds it.
        fields: path of a tensor of the object -> attribute.
        children: path of a module -> attribute.
        kinds: which of the kinds of inputs that were explored the class takes.
        above: sizes of inputs that must not be 1.
        refused: kinds of inputs that its Lua takes and the class does not, with the reasons.
        training: why it can't be run in training; "" if it can.
        memory: whose memory its output is, in the words of the traits: "own", "pass", "write".
        backward: how its backward pass, which is written as well, differs from the derivative; "" if autograd has it.
        criterion: is it a loss, called with input and target?
    """

    name: str
    text: str = ""
    fields: dict[Path, str] = field(default_factory=dict)
    children: dict[Path, str] = field(default_factory=dict)
    kinds: list[int] = field(default_factory=list)
    above: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    training: str = ""
    memory: str = "own"
    backward: str = ""
    criterion: bool = False


def inputs_of(count: int, nested: bool, criterion: bool = False) -> list[str]:
    """The variables that hold the tensors of the input; the last one of a criterion is its target."""
    if criterion:
        return [*inputs_of(count - 1, count > 2), "target"]
    return [f"x{place}" for place in range(1, count + 1)] if nested else ["x"]


def gradients_of(outputs: int) -> list[str]:
    """The variables that hold the gradients of the outputs."""
    return ["grad"] if outputs == 1 else [f"grad{place}" for place in range(1, outputs + 1)]


def text_of(statements: Sequence[ast.stmt]) -> str:
    """Statements as source."""
    return "\n".join(ast.unparse(ast.fix_missing_locations(statement)) for statement in statements)


def sizes_text(pattern: dict[str, Any]) -> str:
    """The sizes of a kind of input, such as `(n0, 5)`."""
    texts = []
    for sizes in pattern["sizes"]:
        parts = [str(size) if isinstance(size, int) else size.replace("s", "n", 1) for size in sizes]
        texts.append(f"({', '.join(parts)}{',' if len(parts) == 1 else ''})")
    return f"[{', '.join(texts)}]" if pattern["nested"] else texts[0]


def distinct(cases: Sequence[Case]) -> list[Case]:
    """The cases that are written: those with an empty tensor first, where they are not what others are."""
    others = [case for case in cases if not case.empty]
    said = {(tuple(map(len, case.sizes)), _whole(case)) for case in others}
    return [case for case in cases if case.empty and (tuple(map(len, case.sizes)), _whole(case)) not in said] + others


def _whole(case: Case) -> str:
    return f"{text_of(case.body)}\n{text_of(case.backward)}"

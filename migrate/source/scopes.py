"""What a forward method does, as steps over symbolic values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .constructors import Made


@dataclass(eq=False)
class Sym:
    """A value in a forward method.

    Attributes:
        values: the value itself, for each example input that the model was run on; empty if there is none.
        hint: a name for it.
        fresh: was it made by an operation that returns no view of its input?
    """

    values: tuple[Any, ...] = ()
    hint: str = ""
    fresh: bool = False

    @property
    def shapes(self) -> list[tuple[int, ...]] | None:
        """The shape for each example; None where it is no tensor, or nothing is known."""
        if not self.values or not all(isinstance(value, torch.Tensor) for value in self.values):
            return None
        return [tuple(value.shape) for value in self.values]

    @property
    def dims(self) -> int | None:
        """The number of dimensions, if it is known."""
        shapes = self.shapes
        return len(shapes[0]) if shapes else None


#: A symbolic value, or a nested list of them.
Value = Any


@dataclass
class Step:
    """One line of a forward method.

    Attributes:
        outs: what it gives; several are unpacked.
        template: Python with {0}, {1}… for `ins`.
        ins: what it takes.
        call: does it call a module?
        atomic: can its text stand in any expression without parentheses?
        barrier: does it change its input in place?
    """

    outs: list[Sym]
    template: str
    ins: list[Sym]
    call: bool = False
    atomic: bool = True
    barrier: bool = False


@dataclass
class Scope:
    """The body of one class while it is being made.

    Attributes:
        is_block: is it the body of a block, rather than of the whole model?
        attrs: attribute -> its constructor call.
        steps: the forward method.
        given: attributes that have the name of a node in the Torch7 file.
    """

    is_block: bool = False
    attrs: dict[str, Made] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    _known: dict[Any, str] = field(default_factory=dict)

    def op(
        self,
        template: str,
        ins: Sequence[Sym],
        values: tuple[Any, ...],
        *,
        atomic: bool = True,
        fresh: bool = True,
        barrier: bool = False,
    ) -> Sym:
        """Adds an operation with one result."""
        out = Sym(values, fresh=fresh)
        self.steps.append(Step([out], template, list(ins), atomic=atomic, barrier=barrier))
        return out

    def call(self, made: Made, value: Value, results: tuple[Any, ...], name: str, fresh: bool = False) -> Value:
        """Adds a call of a module; the same module gets the same attribute."""
        attribute = self.attribute(made, name)
        ins: list[Sym] = []
        text = argument(value, ins)
        return self.unpack(f"self.{attribute}({text})", ins, results, call=True, fresh=fresh)

    def unpack(
        self, template: str, ins: list[Sym], results: tuple[Any, ...], *, call: bool = False, fresh: bool = False
    ) -> Value:
        """Adds a step whose result is a tensor, or a list of known length that is unpacked."""
        if results and all(isinstance(r, (list, tuple)) and r and len(r) == len(results[0]) for r in results):
            outs = [Sym(tuple(r[i] for r in results)) for i in range(len(results[0]))]
            self.steps.append(Step(outs, template, ins, call=call))
            return [nested(self, out) for out in outs]
        out = Sym(results, fresh=fresh)
        self.steps.append(Step([out], template, ins, call=call))
        return out

    def attribute(self, made: Made, name: str) -> str:
        """The attribute that holds `made`, new or known."""
        key = identity(made)
        if key is not None and key in self._known:
            return self._known[key]
        attribute = free(name, self.attrs)
        self.attrs[attribute] = made
        if key is not None:
            self._known[key] = attribute
        return attribute


def nested(scope: Scope, sym: Sym) -> Value:
    """A value that may itself be a list, unpacked."""
    if sym.values and all(isinstance(v, (list, tuple)) for v in sym.values):
        length = len(sym.values[0])
        if all(len(v) == length for v in sym.values):
            outs = [Sym(tuple(v[i] for v in sym.values)) for i in range(length)]
            scope.steps.append(Step(outs, "{0}", [sym]))
            return [nested(scope, out) for out in outs]
    return sym


def argument(value: Value, ins: list[Sym]) -> str:
    """A nested value as an argument: placeholders, to which `ins` grows."""
    if isinstance(value, list):
        return f"[{', '.join(argument(item, ins) for item in value)}]"
    ins.append(value)
    return f"{{{len(ins) - 1}}}"


def free(name: str, taken: Any) -> str:
    """`name`, with a number behind it where it is taken."""
    if name not in taken and f"{name}1" not in taken:
        return name
    number = 2
    while f"{name}{number}" in taken:
        number += 1
    return f"{name}{number}"


def identity(made: Made) -> Any:
    """What makes two constructor calls the same module: the tensors in it; None if there are none."""
    modules = [part.module for part in walk(made) if part.module is not None]
    tensors = [id(t) for module in modules for t in [*module.parameters(), *module.buffers()]]
    return (made.text(), tuple(tensors)) if tensors else None


@dataclass
class Draft:
    """A class while its source is being made: the whole model, or a part of it.

    Attributes:
        scope: the body of its class.
        inputs: parameters of forward.
        result: what forward returns.
    """

    scope: Scope
    inputs: list[Sym]
    result: Value


@dataclass
class Block(Draft):
    """A class with a forward method of its own, made from a part of the model.

    Attributes:
        kind: what it is, for its name.
    """

    kind: str


def at(value: Value, i: int) -> Any:
    """The concrete value of a nested symbolic value, for the i-th example."""
    if isinstance(value, list):
        return [at(item, i) for item in value]
    return value.values[i]


def examples(value: Value) -> int:
    """How many examples are known of a nested symbolic value."""
    if isinstance(value, list):
        return min((examples(item) for item in value), default=0)
    return len(value.values)


def placed(made: Made, path: str) -> Iterator[tuple[str, Made]]:
    """Every leaf within a call, and its path."""
    if made.module is not None:
        yield path, made
        for name, inner in made.inner.items():
            yield from placed(inner, f"{path}.{name}")
    elif made.block is not None:
        for name, attr in made.block.scope.attrs.items():
            yield from placed(attr, f"{path}.{name}")
    else:
        kids = made.kids
        if not kids and made.args and isinstance(made.args[0].value, list):
            kids = [kid for kid in made.args[0].value if isinstance(kid, Made)]
        for i, kid in enumerate(kids):
            yield from placed(kid, f"{path}.{i}")


def walk(made: Made) -> Iterator[Made]:
    """The call and all within."""
    yield made
    for child in made.children():
        yield from walk(child)
    if made.block is not None:
        for child in made.block.scope.attrs.values():
            yield from walk(child)

"""A model while its source is being made: constructor calls, and the bodies of the classes that hold them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from typing import Any

import torch
from torch import nn

from .expressions import (
    Value,
    Variable,
    attributes,
    called_method,
    is_in_place,
    python,
    type_of,
    variables,
    with_attributes,
)

#: From so many equal members of a chain on, they are written as one.
_MANY = 3

#: Arguments with a default that say enough by their place, which is the first.
_BY_PLACE = {"p", "negative_slope", "num_parameters", "alpha", "lambd"}


@dataclass
class Argument:
    """An argument of a constructor.

    Attributes:
        name: of the parameter.
        value: a literal, a Constructor, or a list of Constructors.
        required: has it no default? Then it is passed by position.
        default: its default.
    """

    name: str
    value: Any
    required: bool = True
    default: Any = None

    @property
    def is_default(self) -> bool:
        """Need it not be written?"""
        return not self.required and _is_same(self.value, self.default)


@dataclass
class Constructor:
    """One constructor call.

    Attributes:
        cls: the class as written: "nn.Conv2d", or the name of a class in the same file.
        args: what is passed; values are literals, Constructors, or lists of Constructors.
        kids: positional module arguments of nn.Sequential; in a class made of a repeated chain, its members.
        module: the converted module whose tensors live here, for a leaf.
        own: the class to copy into the file, if it is none of torch.nn.
        block: the body of the class, if it is one made from the structure of the model.
        inner: attribute of `module` -> the constructor call of what is there, where that is no leaf.
        chain: is it a repeated chain that became a class? Then `kids` are its members.
        fixed: others find its members by their numbers, so that it must stay as it is.
    """

    cls: str
    args: list[Argument] = field(default_factory=list)
    kids: list[Constructor] = field(default_factory=list)
    module: nn.Module | None = None
    own: type | None = None
    block: Block | None = None
    inner: dict[str, Constructor] = field(default_factory=dict)
    chain: bool = False
    fixed: bool = False

    @property
    def is_identity(self) -> bool:
        """Does it do nothing?"""
        return self.cls == "nn.Identity"

    @property
    def is_chain(self) -> bool:
        """Is it a plain nn.Sequential?"""
        return self.cls == "nn.Sequential"

    @property
    def is_written_here(self) -> bool:
        """Is it of a class that is made of the structure of the model?"""
        return self.block is not None or self.chain

    def text(self) -> str:
        """The call in Python."""
        parts = [] if self.chain else self.kid_texts()
        by_place = [arg for arg in self.args if arg.required or (arg.name in _BY_PLACE and self.cls.startswith("nn."))]
        parts += [literal(arg.value) for arg in by_place if not arg.is_default]
        parts += [f"{arg.name}={literal(arg.value)}" for arg in self.args if not (arg in by_place or arg.is_default)]
        return f"{self.cls}({', '.join(parts)})"

    def kid_texts(self) -> list[str]:
        """The members of a chain in Python; many of the same class of this file become a comprehension."""
        texts: list[str] = []
        for text, kids in groupby(self.kids, key=Constructor.text):
            same = list(kids)
            several = len(same) >= _MANY and same[0].is_written_here
            texts += [f"*({text} for _ in range({len(same)}))"] if several else [text] * len(same)
        return texts

    @property
    def changes_input(self) -> bool:
        """Does the module, or the first of a chain, change its input in place?"""
        if self.is_chain and self.kids:
            return self.kids[0].changes_input
        return any(arg.name == "inplace" and arg.value is True for arg in self.args)

    @property
    def draws(self) -> bool:
        """Does it draw random numbers in evaluation too, so that the order of calls matters?"""
        return any(call.own is not None and _draws(call.own) for call in self.walk())

    def owns(self, name: str) -> bool:
        """Does what has this name in `module` belong to the leaf itself?"""
        return not any(name == inner or name.startswith(f"{inner}.") for inner in self.inner)

    def children(self) -> list[Constructor]:
        """The constructor calls inside this one and its class, in the order in which they are written."""
        values = [item for arg in self.args for item in (arg.value if isinstance(arg.value, list) else [arg.value])]
        passed = [value for value in values if isinstance(value, Constructor)]
        return [*self.kids, *passed, *(self.block.scope.attrs.values() if self.block is not None else [])]

    def walk(self) -> Iterator[Constructor]:
        """The call and all within."""
        yield self
        for child in self.children():
            yield from child.walk()

    def leaves(self, path: str) -> Iterator[tuple[str, Constructor, nn.Module]]:
        """Every leaf within the call, the path of its attribute before it, and its module behind it."""
        if self.module is not None:
            yield path, self, self.module
            inside = list(self.inner.items())
        elif self.block is not None:
            inside = list(self.block.scope.attrs.items())
        else:
            inside = [(str(i), kid) for i, kid in enumerate(self.kids or self.children())]
        for name, child in inside:
            yield from child.leaves(f"{path}.{name}")


@cache
def _draws(cls: type) -> bool:
    source = inspect.getsource(cls)
    return "torch.rand(" in source and "self.training" not in source


def literal(value: Any) -> str:
    """An argument as Python."""
    if isinstance(value, Constructor):
        return value.text()
    if isinstance(value, ast.AST):
        return ast.unparse(value)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    if isinstance(value, float):
        return repr(value) if value - value == 0 else f'float("{value}")'
    if isinstance(value, str):
        return '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    if isinstance(value, torch.Tensor):
        return f"torch.empty({list(value.shape)})"
    return str(value) if isinstance(value, torch.dtype) else repr(value)


def _is_same(value: Any, default: Any) -> bool:
    if isinstance(value, (int, float)) and isinstance(default, (int, float)):
        return isinstance(value, bool) == isinstance(default, bool) and value == default
    return (
        type(value) is type(default) and not isinstance(value, (Constructor, torch.Tensor)) and bool(value == default)
    )


@dataclass
class Statement:
    """One line of a forward method.

    Attributes:
        outs: what it gives; several are unpacked.
        expression: what is computed.
        changes_input: does it change what it gets in place?
        comment: why it is there.
        replaces: the value whose name its result takes over.
    """

    outs: list[Variable]
    expression: ast.expr
    changes_input: bool = False
    comment: str = ""
    replaces: Variable | None = None

    @property
    def ins(self) -> list[Variable]:
        """What it reads, or gives another value to the name of."""
        return variables(self.expression) + ([] if self.replaces is None else [self.replaces])

    @property
    def attributes(self) -> list[str]:
        """The attributes of the class that it reads."""
        return attributes(self.expression)

    @property
    def calls(self) -> str:
        """The attribute that it calls; "" if it calls no module."""
        return called_method(self.expression, of="self")

    def rename(self, names: Mapping[str, str]) -> None:
        """Gives attributes of the class, by their names, other names."""
        self.expression = with_attributes(self.expression, names)


@dataclass
class Loop(Statement):
    """Several lines that run a module on each entry of a sequence, which is their expression.

    Attributes:
        step: what is an entry of the sequence within them.
        body: the lines.
    """

    step: Variable = field(default_factory=Variable)
    body: list[ast.stmt] = field(default_factory=list)

    @property
    def ins(self) -> list[Variable]:
        """What they read that they do not make."""
        return [value for value in variables(self.body) if value not in (*self.outs, self.step)]

    @property
    def attributes(self) -> list[str]:
        """The attributes of the class that they read."""
        return attributes(self.body)

    def rename(self, names: Mapping[str, str]) -> None:
        """Gives attributes of the class, by their names, other names."""
        super().rename(names)
        self.body = with_attributes(self.body, names)


@dataclass
class Scope:
    """The body of one class while it is being made.

    Attributes:
        is_block: is it the body of a block, rather than of the whole model?
        is_step: is it that of a block which a loop calls, with separate values, and which gives several?
        attrs: attribute -> its constructor call.
        statements: the forward method.
        given: attributes that have the name of a node in the Torch7 file.
        indices: the id of a pooling -> the places of its maxima, and the size of its input where that is needed.
        needed: the poolings that run elsewhere.
        left: the poolings that run here, and whose places are needed elsewhere.
    """

    is_block: bool = False
    is_step: bool = False
    attrs: dict[str, Constructor] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    indices: dict[int, list[Variable]] = field(default_factory=dict)
    needed: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    _known: dict[Any, str] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    def assign(self, expression: ast.expr, values: tuple[Any, ...]) -> Variable:
        """Adds an expression with one result, whose value for each example is known; returns the result."""
        out = Variable(values)
        self.statements.append(Statement([out], expression, is_in_place(expression)))
        return out

    def overwrite(self, old: Value, new: Variable, comment: str) -> Variable:
        """Adds that one value takes the place of another, and why; returns the result."""
        out = Variable(new.values)
        replaces = old if isinstance(old, Variable) else None
        self.statements.append(Statement([out], new, comment=comment, replaces=replaces))
        return out

    def unpack(self, expression: ast.expr, values: tuple[Any, ...], like: Variable | None = None) -> Value:
        """Adds an expression whose result is one value, or lists of one length, which are unpacked.

        Args:
            expression: what is computed.
            values: the result for each example.
            like: a variable of which the same is known, where there are no examples.
        """
        if like is not None and not values:
            return self._unpack_like(expression, like)
        lengths = {len(value) if isinstance(value, (list, tuple)) else 0 for value in values}
        if len(lengths) != 1 or 0 in lengths:
            return expression if isinstance(expression, Variable) else self.assign(expression, values)
        given = isinstance(expression, Variable) and expression.given
        outs = [Variable(members, given=given) for members in zip(*values, strict=True)]
        self.statements.append(Statement(outs, expression))
        return [self.unpack(out, out.values) for out in outs]

    def _unpack_like(self, expression: ast.expr, like: Variable) -> Value:
        if not isinstance(like.members, list):
            if isinstance(expression, Variable):
                return expression
            out = self.assign(expression, ())
            out.type = like.type
            return out
        outs = [Variable(type_=type_of(part), members=part) for part in like.members]
        self.statements.append(Statement(list(outs), expression))
        return [self._unpack_like(out, out) for out in outs]

    def call(self, constructor: Constructor, value: Value, result: Variable, name: str) -> Value:
        """Adds a call of a module; the same module gets the same attribute."""
        return self.unpack(module_call(self.attribute(constructor, name), value), result.values, result)

    def attribute(self, constructor: Constructor, name: str) -> str:
        """The attribute that holds a module: a new one, unless a module with the very tensors is known."""
        modules = [part.module for part in constructor.walk() if part.module is not None]
        tensors = [id(t) for module in modules for t in [*module.parameters(), *module.buffers()]]
        attribute = free(name, self.attrs, self._numbers.get(name, 2))
        if number := attribute[len(name) :]:
            self._numbers[name] = int(number)  # all before it are taken, so that a long chain need not ask for each
        if tensors:
            attribute = self._known.setdefault((constructor.text(), *tensors), attribute)
        self.attrs.setdefault(attribute, constructor)
        return attribute


def module_call(attribute: str, value: Value) -> ast.expr:
    """A call of a module that the class holds."""
    return python(f"self.{attribute}(x)", x=value)


def free(name: str, taken: Any, number: int = 2) -> str:
    """`name`, with a number behind it where it is taken; all before `number` are known to be."""
    if name not in taken and f"{name}1" not in taken:
        return name
    while f"{name}{number}" in taken:
        number += 1
    return f"{name}{number}"


@dataclass
class Draft:
    """A class while its source is being made: the whole model, or a part of it.

    Attributes:
        scope: the body of its class.
        inputs: parameters of forward.
        result: what forward returns.
    """

    scope: Scope
    inputs: list[Variable]
    result: Value


@dataclass
class Block(Draft):
    """A class with a forward method of its own, made from a part of the model.

    Attributes:
        kind: what it is, for its name.
    """

    kind: str


def examples_of(value: Value) -> tuple[Any, ...]:
    """A nested symbolic value for each example that is known of all of it."""
    return tuple(map(list, zip(*map(examples_of, value), strict=False))) if isinstance(value, list) else value.values

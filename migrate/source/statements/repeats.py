"""Parts of a forward method that occur again, with other layers: each becomes a call of one class."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..expressions import Value, Variable, python, replaced, with_attributes
from ..motifs import skeleton
from ..roles import role
from ..scopes import Block, Constructor, Loop, Scope, Statement, free
from ..simplify import count_uses

#: A part has at least so many statements, at most so many, and takes no more values than that.
_LEAST, _MOST, _INPUTS = 4, 80, 3

#: In methods longer than that nothing is looked for.
_LONGEST = 1000

#: What makes an image larger.
_ENLARGES = ("Upsample", "ConvTranspose")

#: Lines that a class needs beside its own, and how many it must save.
_FRAME, _WORTH = 9, 4


@dataclass(frozen=True)
class _Part:
    """Statements that only together make one value of few others.

    Attributes:
        places: where they stand, in their order.
        inputs: what they take.
        output: what others read of what they make.
        kind: what they do, whatever the sizes of their layers.
        lines: about how many lines they take.
    """

    places: tuple[int, ...]
    inputs: tuple[Variable, ...]
    output: Variable
    kind: int
    lines: int


def call_repeats(scope: Scope, result: Value) -> None:
    """Makes one class of what occurs again and again in a method, and calls of it."""
    if any(_changes(scope, statement) for statement in scope.statements):
        return
    while len(scope.statements) <= _LONGEST:
        parts: dict[int, list[_Part]] = {}
        for part in _parts(scope, result):
            if not any(set(part.places) & set(other.places) for other in parts.get(part.kind, [])):
                parts.setdefault(part.kind, []).append(part)
        best = max(parts.values(), key=_saved, default=[])
        if _saved(best) < _WORTH:
            return
        for part in best:
            _call_instead(scope, part)
        gone = {place for part in best for place in part.places[:-1]}
        scope.statements[:] = [s for i, s in enumerate(scope.statements) if i not in gone]


def _saved(parts: list[_Part]) -> int:
    """How many lines a class for these saves."""
    return sum(part.lines - 1 for part in parts) - parts[0].lines - _FRAME if len(parts) > 1 else -1


def _parts(scope: Scope, result: Value) -> Iterator[_Part]:
    """Every part of a method that makes one value, and begins where another is read several times."""
    uses = count_uses(scope, result)
    calls = Counter(name for statement in scope.statements for name in statement.attributes)
    made_at = {out: place for place, statement in enumerate(scope.statements) for out in statement.outs}
    known: dict[Any, int] = {}  # a number for all that is alike
    kinds = [known.setdefault(_kind(scope, statement), len(known)) for statement in scope.statements]
    for last in scope.statements:
        if len(last.outs) != 1:
            continue
        (output,) = last.outs
        places: list[int] = []
        reads = Counter({output: uses[output]})
        wanted = {output}
        numbers = {output: 0}
        kind, lines = -1, 0
        while len(places) < _MOST:
            # the value that is made last of those that are still wanted
            value = max(wanted, key=lambda v: made_at.get(v, -1))
            place = made_at.get(value, -1)
            statement = scope.statements[place]
            if place < 0 or len(statement.outs) > 1 or any(calls[name] > 1 for name in statement.attributes):
                break
            if value is not output and reads[value] != uses[value]:
                break
            places.append(place)
            reads.update(statement.ins)
            wanted = (wanted - {value}) | set(statement.ins)
            operands = tuple(numbers.setdefault(v, len(numbers)) for v in statement.ins)
            kind = known.setdefault((kind, kinds[place], numbers[value], operands), len(known))
            lines += 1 + 2 * len(statement.attributes)
            if len(places) >= _LEAST and len(wanted) <= _INPUTS and any(reads[v] > 1 for v in wanted):
                inputs = tuple(sorted(wanted, key=numbers.__getitem__))
                yield _Part(tuple(sorted(places)), inputs, output, kind, lines // 2)


def _changes(scope: Scope, statement: Statement) -> bool:
    """Does a statement change a value, or is it more than one expression, so that its place matters?"""
    in_place = any(scope.attrs[name].changes_input for name in statement.attributes)
    return in_place or statement.changes_input or statement.replaces is not None or isinstance(statement, Loop)


def _kind(scope: Scope, statement: Statement) -> Any:
    """What a statement does, whatever the sizes of its layers, and whatever values and attributes are called."""
    values = {value: ast.Name(f"v{i}") for i, value in enumerate(dict.fromkeys(statement.ins))}
    numbered = {name: f"a{i}" for i, name in enumerate(statement.attributes)}
    line = ast.unparse(replaced(with_attributes(statement.expression, numbered), values))
    return line, *(skeleton(scope.attrs[name]) for name in statement.attributes)


def _call_instead(scope: Scope, part: _Part) -> None:
    """Puts a call of a class behind the statements of a part, which are then superfluous."""
    inner = Scope(is_block=True, is_step=len(part.inputs) > 1)
    parameters = [Variable(value.values, type_=value.type) for value in part.inputs]
    parameters[0].hint = "x" if len(parameters) == 1 else ""
    known = dict(zip(part.inputs, parameters, strict=True))
    statements = [scope.statements[place] for place in part.places]
    names: dict[str, str] = {}
    before = list(scope.attrs)
    for name in [name for statement in statements for name in statement.attributes]:
        names[name] = free(role(scope.attrs[name]), inner.attrs)
        inner.attrs[names[name]] = scope.attrs.pop(name)
    for statement in statements:
        value = statement.outs[0]
        known[value] = Variable(value.values, type_=value.type)
        expression = replaced(with_attributes(statement.expression, names), known)
        inner.statements.append(Statement([known[value]], expression))
    call = Constructor("", block=Block(inner, parameters, known[part.output], _kind_of(inner)))
    attribute = free(role(call), scope.attrs)
    first = min(before.index(name) for name in names)
    items = list(scope.attrs.items())
    scope.attrs.clear()
    scope.attrs.update([*items[:first], (attribute, call), *items[first:]])
    call_of_it = python(f"self.{attribute}(*values)", values=list(part.inputs))
    scope.statements[part.places[-1]] = Statement([part.output], call_of_it)


def _kind_of(scope: Scope) -> str:
    """What a part is, for the name of its class."""
    classes = {call.cls for attr in scope.attrs.values() for call in attr.walk()}
    pools, enlarges = (any(word in cls for cls in classes for word in words) for words in (("Pool",), _ENLARGES))
    return "Hourglass" if pools and enlarges else "Block"

"""Modules that run on each entry of a sequence, as loops of forward methods."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from ..expressions import Value, Variable, entry, python, replaced, tree_of, variables, with_attributes
from ..scopes import Loop, Scope


def state_of(name: str, entries: tuple[Any, ...], size: int) -> Variable:
    """A state of zeros for each entry."""
    return Variable(tuple(entry.new_zeros(*entry.shape[:-1], size) for entry in entries), hint=name)


def for_each(scope: Scope, inner: Scope, step: Variable, result: Value, sequence: Value) -> ast.expr | None:
    """The list of what is made of each entry of a sequence; None if it takes more than one line.

    Args:
        scope: gets the attributes that are read.
        inner: what is done with an entry.
        step: the entry.
        result: what is made of it.
        sequence: the sequence.
    """
    made = inner.statements[0].expression if len(inner.statements) == 1 else None
    if made is None or inner.statements[0].outs != [result] or set(variables(made)) != {step}:
        return None
    names = {name: scope.attribute(call, name) for name, call in inner.attrs.items()}
    entries = ast.comprehension(ast.Name("step"), tree_of(sequence), [], is_async=0)
    return ast.ListComp(with_attributes(replaced(made, {step: ast.Name("step")}), names), [entries])


def run_through(
    scope: Scope, sequence: Value, step: Variable, states: Mapping[Variable, int], cell: str, made: tuple[Any, ...]
) -> Variable:
    """Adds a loop that runs a cell with states through a sequence; returns the list of what it gives.

    Args:
        scope: gets the loop.
        sequence: the sequence.
        step: stands for an entry.
        states: the states and their sizes; the first is what the cell gives.
        cell: the attribute that holds the cell.
        made: what the loop gives for each example.
    """
    first, outputs = entry(sequence, 0), Variable(tuple(map(list, made)), hint="outputs")
    size = "x.new_zeros(len(x), n)" if step.dims == 2 else "x.new_zeros(*x.shape[:-1], n)"
    body: list[ast.stmt] = [_assign(state, python(size, x=first, n=n)) for state, n in states.items()]
    body.append(_assign(outputs, ast.List([])))
    given = list(states)
    called = python(f"self.{cell}(*values)", values=[step, *given])
    kept = ast.Expr(python("outputs.append(h)", outputs=outputs, h=given[0]))
    after = given[0] if len(given) == 1 else tree_of(tuple(given))
    body.append(ast.For(step, tree_of(sequence), [_assign(after, called), kept], [], lineno=0))
    scope.statements.append(Loop([outputs, *given], tree_of(sequence), step=step, body=body))
    return outputs


def _assign(target: ast.expr, value: ast.expr) -> ast.stmt:
    return ast.Assign([target], value, lineno=0)

"""Names the values of LSTM and GRU steps that are written out as operators: c, h, and the gates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .scopes import Scope, Step, Sym

_SIGMOID, _TANH = "torch.sigmoid({0})", "torch.tanh({0})"


@dataclass
class _Cell:
    """A step of a recurrent layer.

    Attributes:
        roles: (value, what it is), outputs last.
        gates: what the gates are made of.
        like: a value as large as a state.
    """

    roles: list[tuple[Sym, str]]
    gates: list[Sym]
    like: Sym


def name_states(scope: Scope, inputs: list[Sym]) -> None:
    """Gives names to states and gates that have none; numbers them where there are several layers."""
    made_by = {id(out): step for step in scope.steps for out in step.outs}
    cells = [cell for step in scope.steps if (cell := _lstm(step, scope, made_by) or _gru(step, made_by)) is not None]
    named: set[int] = set()
    for number, cell in enumerate(cells, 1):
        for value, role in cell.roles:
            if not value.hint:
                value.hint = f"{role}{number}" if role in ("c", "h") and len(cells) > 1 else role
            named.add(id(value))
        for value in _previous(cell, inputs, named, made_by):
            value.hint = f"h{number}" if len(cells) > 1 else "h"
            named.add(id(value))


def _parts(value: Sym, template: str, made_by: dict[int, Step]) -> list[Sym] | None:
    """What a value was made of by an operation."""
    step = made_by.get(id(value))
    return step.ins if step is not None and step.template == template else None


def _gated(value: Sym, made_by: dict[int, Step]) -> tuple[Sym, Sym] | None:
    """Of a product with the sigmoid of a value: that value, and the other factor."""
    factors = _parts(value, "{0} * {1}", made_by) or []
    for gate, other in (factors, factors[::-1]) if factors else ():
        inner = _parts(gate, _SIGMOID, made_by)
        if inner is not None:
            return inner[0], other
    return None


def _lstm(step: Step, scope: Scope, made_by: dict[int, Step]) -> _Cell | None:
    """`c = sigmoid(f) * c + sigmoid(i) * tanh(g)`, in any order, and then `h = sigmoid(o) * tanh(c)`."""
    products = [_gated(value, made_by) for value in step.ins] if step.template == "{0} + {1}" else []
    for kept, new in (products, products[::-1]) if products else ():
        if kept is None or new is None or (inner := _parts(new[1], _TANH, made_by)) is None:
            continue
        (forget, previous), (enter, candidate) = kept, (new[0], inner[0])
        if _parts(previous, _TANH, made_by) is not None:
            continue
        roles = [(previous, "c"), (forget, "f"), (enter, "i"), (candidate, "g"), (step.outs[0], "c")]
        gates = [forget, enter, candidate]
        for gate, output in _outputs(step.outs[0], scope, made_by):
            roles += [(gate, "o"), (output, "h")]
            gates.append(gate)
        return _Cell(roles, gates, previous)
    return None


def _outputs(cell: Sym, scope: Scope, made_by: dict[int, Step]) -> Iterator[tuple[Sym, Sym]]:
    """The output gate and the output of a cell."""
    for step in scope.steps:
        found = _gated(step.outs[0], made_by) if step.outs else None
        if found is not None and _parts(found[1], _TANH, made_by) == [cell]:
            yield found[0], step.outs[0]


def _gru(step: Step, made_by: dict[int, Step]) -> _Cell | None:
    """`h = z * h + (1.0 - z) * candidate`, in any order."""
    sides = [_parts(value, "{0} * {1}", made_by) for value in step.ins] if step.template == "{0} + {1}" else []
    for kept, new in (sides, sides[::-1]) if len(sides) == 2 else ():
        for gate, previous in (kept, kept[::-1]) if kept else ():
            rests = [_parts(value, "1.0 - {0}", made_by) for value in new or []]
            inner = _parts(gate, _SIGMOID, made_by)
            if inner is not None and [gate] in rests:
                return _Cell([(gate, "z"), (previous, "h"), (step.outs[0], "h")], [], previous)
    return None


def _previous(cell: _Cell, inputs: list[Sym], named: set[int], made_by: dict[int, Step]) -> list[Sym]:
    """The input of the model that was the last output of the cell: what its gates are made of, and as large."""
    seen: set[int] = set()
    todo = list(cell.gates)
    found = []
    while todo:
        value = todo.pop()
        if id(value) in seen or (id(value) in named and id(value) not in {id(gate) for gate in cell.gates}):
            continue
        seen.add(id(value))
        if id(value) in {id(item) for item in inputs} and not value.hint and value.shapes == cell.like.shapes:
            found.append(value)
        step = made_by.get(id(value))
        todo += step.ins if step is not None else []
    return [value for value in inputs if any(value is other for other in found)][-1:]

"""Names the values of LSTM and GRU steps that are written out as operators: c, h, and the gates."""

from __future__ import annotations

import ast

from ..expressions import Variable, called_method, variables
from ..scopes import Scope

#: What made a value.
_MadeBy = dict[Variable, ast.expr]


#: The values of a step of a recurrent layer and what they are, the last state first and the outputs last.
_Cell = list[tuple[Variable, str]]


def name_states(scope: Scope, inputs: list[Variable]) -> None:
    """Gives names to states and gates that have none; numbers them where there are several layers."""
    made_by = {out: statement.expression for statement in scope.statements for out in statement.outs}
    cells = [cell for out in made_by if (cell := _lstm(out, made_by) or _gru(out, made_by)) is not None]
    named: set[Variable] = set()
    for number, cell in enumerate(cells, 1):
        for value, role in cell:
            if not value.hint:
                value.hint = f"{role}{number}" if role in ("c", "h") and len(cells) > 1 else role
            named.add(value)
        for value in _previous(cell, inputs, named, made_by):
            value.hint = f"h{number}" if len(cells) > 1 else "h"
            named.add(value)


def operands(value: Variable, operator: type[ast.operator], made_by: _MadeBy) -> list[tuple[Variable, Variable]]:
    """The two operands of an operator that made a value, in both orders."""
    match made_by.get(value):
        case ast.BinOp(Variable() as a, found, Variable() as b) if isinstance(found, operator):
            return [(a, b), (b, a)]
        case ast.BinOp(Variable() as a, found, ast.Call(ast.Attribute(Variable() as b, "reshape_as"))):
            return [(a, b), (b, a)] if isinstance(found, operator) else []
    return []


def _inside(value: Variable, function: str, made_by: _MadeBy) -> Variable | None:
    """What a value is a function of; None if it is not made by that function."""
    match made_by.get(value):
        case ast.Call(args=[Variable() as argument]) as call if called_method(call, of="torch") == function:
            return argument
    return None


def _gated(value: Variable, made_by: _MadeBy) -> tuple[Variable, Variable] | None:
    """Of a product with the sigmoid of a value: that value, and the other factor."""
    for gate, other in operands(value, ast.Mult, made_by):
        inner = _inside(gate, "sigmoid", made_by)
        if inner is not None:
            return inner, other
    return None


def _lstm(out: Variable, made_by: _MadeBy) -> _Cell | None:
    """`c = sigmoid(f) * c + sigmoid(i) * tanh(g)`, in any order, and then `h = sigmoid(o) * tanh(c)`."""
    for first, second in operands(out, ast.Add, made_by):
        kept, new = _gated(first, made_by), _gated(second, made_by)
        if kept is None or new is None or (candidate := _inside(new[1], "tanh", made_by)) is None:
            continue
        (forget, previous), enter = kept, new[0]
        if _inside(previous, "tanh", made_by) is not None:
            continue
        roles = [(previous, "c"), (forget, "f"), (enter, "i"), (candidate, "g"), (new[1], "g"), (out, "c")]
        for other in made_by:
            found = _gated(other, made_by)
            if found is not None and _inside(found[1], "tanh", made_by) is out:
                roles += [(found[0], "o"), (other, "h")]
        return roles
    return None


def _gru(out: Variable, made_by: _MadeBy) -> _Cell | None:
    """`h = z * h + (1.0 - z) * candidate`, in any order."""
    for kept, new in operands(out, ast.Add, made_by):
        for gate, previous in operands(kept, ast.Mult, made_by):
            for rest, _ in operands(new, ast.Mult, made_by):
                match made_by.get(rest):
                    case ast.BinOp(ast.Constant(1.0), ast.Sub(), other) if other is gate:
                        update = _inside(gate, "sigmoid", made_by)
                        if update is not None:
                            resets = [_gated(value, made_by) for value in made_by]
                            reset = [found[0] for found in resets if found and found[1] is previous]
                            roles = [(value, "r") for value in reset if value is not update]
                            return [(gate, "z"), (previous, "h"), (update, "z"), *roles, (out, "h")]
    return None


def _previous(cell: _Cell, inputs: list[Variable], named: set[Variable], made_by: _MadeBy) -> list[Variable]:
    """The input of the model that was the last output of the cell: what its gates are made of, and as large."""
    gates = [value for value, role in cell if role in "figo"]
    seen: set[Variable] = set()
    todo = list(gates)
    found = []
    while todo:
        value = todo.pop()
        if value in seen or (value in named and value not in gates):
            continue
        seen.add(value)
        if value in inputs and not value.hint and value.shapes == cell[0][0].shapes:
            found.append(value)
        todo += variables(made_by.get(value, []))
    return [value for value in inputs if any(value is other for other in found)][-1:]

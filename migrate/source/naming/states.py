"""Names the values of LSTM and GRU steps that are written out as operators, and the layers that make their gates."""

from __future__ import annotations

import ast
from collections import Counter

from ..expressions import Variable, called_method, variables
from ..scopes import Scope, free

#: What made a value.
_MadeBy = dict[Variable, ast.expr]


#: The values of a step of a recurrent layer and what they are, the last state first and the outputs last.
_Cell = list[tuple[Variable, str]]

#: The letter of a gate, or of a candidate -> what layers that make it are called.
_GATES = {"f": "forget", "i": "input", "g": "candidate", "o": "output", "z": "update", "r": "reset"}


def name_states(scope: Scope, inputs: list[Variable]) -> None:
    """Gives names to states and gates that have none, and to their layers; numbers them where there are several cells.

    Args:
        scope: the method.
        inputs: its parameters.
    """
    made_by = {out: statement.expression for statement in scope.statements for out in statement.outs}
    cells = [cell for out in made_by if (cell := _lstm(out, made_by) or _gru(out, made_by)) is not None]
    entries = [entry for value in inputs for entry in (_members(value, scope) or [value])]
    named: set[Variable] = set()
    for number, cell in enumerate(cells, 1):
        for value, role in cell:
            if not value.hint:
                value.hint = f"{role}{number}" if role in ("c", "h") and len(cells) > 1 else role
            named.add(value)
        for value in _previous(cell, entries, named, made_by):
            value.hint = f"h{number}" if len(cells) > 1 else "h"
            named.add(value)
            cell.append((value, "h"))
    _name_layers(scope, cells, made_by)


def _members(value: Variable, scope: Scope) -> list[Variable]:
    """What a table is unpacked to at once; nothing of a tensor."""
    return next((s.outs for s in scope.statements if s.expression is value and len(s.outs) > 1), [])


def _name_layers(scope: Scope, cells: list[_Cell], made_by: _MadeBy) -> None:
    """Calls the layers whose results are added up to a gate by the gate and by what they get."""
    wanted: dict[str, dict[str, None]] = {}
    for number, cell in enumerate(cells, 1):
        own = str(number) if len(cells) > 1 else ""
        for value, role in cell:
            if role not in _GATES:
                continue
            chunked = next((s for s in scope.statements if value in s.outs and len(s.outs) > 1), None)
            gate = _GATES[role] if chunked is None else "gates"
            for attribute, operand in _summands(value, made_by):
                wanted.setdefault(attribute, {})[f"{gate}{own}_{_kind(operand, cell, made_by)}"] = None
    # a layer of several cells is that of all of them
    names = {name: next(iter(found)) for name, found in wanted.items() if _is_layer(scope, name)}
    shared = {name: {text.translate(_NO_DIGITS) for text in wanted[name]} for name in names}
    names = {
        name: text if len(wanted[name]) == 1 else shared[name].pop()
        for name, text in names.items()
        if len(shared[name]) == 1
    }
    counts, seen = Counter(names.values()), Counter[str]()
    renamed: dict[str, str] = {}
    for name, text in names.items():
        seen[text] += 1
        others = {other for other in scope.attrs if other not in names} | set(renamed.values())
        renamed[name] = free(text if counts[text] == 1 else f"{text}{seen[text]}", others)
    attrs = {renamed.get(name, name): call for name, call in scope.attrs.items()}
    scope.attrs.clear()
    scope.attrs.update(attrs)
    for statement in scope.statements:
        statement.rename(renamed)


def _is_call(value: ast.expr, made_by: _MadeBy) -> bool:
    found = made_by.get(value, value) if isinstance(value, Variable) else value
    return isinstance(found, ast.Call) and called_method(found, of="self") != ""


def _kind(operand: ast.expr, cell: _Cell, made_by: _MadeBy) -> str:
    """What a layer of a gate gets: "h" or "c", a state of the cell, perhaps times a gate; "x": anything else."""
    match made_by.get(operand) if isinstance(operand, Variable) else operand:
        case ast.BinOp(left, ast.Mult(), right):
            return max(_kind(left, cell, made_by), _kind(right, cell, made_by), key="xch".index)
    states = [role for value, role in cell if value is operand and role in ("h", "c")]
    given = isinstance(operand, Variable) and operand.hint in ("h", "c")
    return states[0] if states else operand.hint if given and isinstance(operand, Variable) else "x"


_NO_DIGITS = str.maketrans("", "", "0123456789")


def _is_layer(scope: Scope, name: str) -> bool:
    """Is it a layer, or a short chain of them, without a name of its author's?"""
    call = scope.attrs[name]
    layers = call.kids if call.is_chain else [call]
    return name not in scope.given and all(layer.module is not None for layer in layers)


def _summands(value: ast.expr, made_by: _MadeBy) -> list[tuple[str, ast.expr]]:
    """The attributes whose results make a sum, and what each of them is called with."""
    match made_by.get(value, value) if isinstance(value, Variable) else value:
        case ast.BinOp(left, ast.Add(), right):
            return _summands(left, made_by) + _summands(right, made_by)
        case ast.Call(ast.Attribute(inner, "chunk")):
            return _summands(inner, made_by)
        case ast.BinOp(left, ast.Mult(), right):
            return [found for side in (left, right) if _is_call(side, made_by) for found in _summands(side, made_by)]
        case ast.Call(args=[operand]) as call if name := called_method(call, of="self"):
            return [(name, operand)]
    return []


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


def _gated(value: Variable, made_by: _MadeBy) -> tuple[Variable, Variable, Variable] | None:
    """Of a product with the sigmoid of a value: that value, the other factor, and the sigmoid."""
    for gate, other in operands(value, ast.Mult, made_by):
        inner = _inside(gate, "sigmoid", made_by)
        if inner is not None:
            return inner, other, gate
    return None


def _lstm(out: Variable, made_by: _MadeBy) -> _Cell | None:
    """`c = sigmoid(f) * c + sigmoid(i) * tanh(g)`, in any order, and then `h = sigmoid(o) * tanh(c)`."""
    for first, second in operands(out, ast.Add, made_by):
        kept, new = _gated(first, made_by), _gated(second, made_by)
        if kept is None or new is None or (candidate := _inside(new[1], "tanh", made_by)) is None:
            continue
        (forget, previous, opened), (enter, _, entered) = kept, new
        if _inside(previous, "tanh", made_by) is not None:
            continue
        roles = [(previous, "c"), (forget, "f"), (opened, "f"), (enter, "i"), (entered, "i")]
        roles += [(candidate, "g"), (new[1], "g"), (out, "c")]
        for other in made_by:
            found = _gated(other, made_by)
            if found is not None and _inside(found[1], "tanh", made_by) is out:
                roles += [(found[0], "o"), (found[2], "o"), (other, "h")]
        return roles
    return None


def _gru(out: Variable, made_by: _MadeBy) -> _Cell | None:
    """`h = z * h + (1.0 - z) * g`, in any order, or with `z` and `1.0 - z` the other way round."""
    for first, second in operands(out, ast.Add, made_by):
        for gate, a in operands(first, ast.Mult, made_by):
            for rest, b in operands(second, ast.Mult, made_by):
                match made_by.get(rest):
                    case ast.BinOp(ast.Constant(1.0), ast.Sub(), other) if other is gate:
                        made = [_inside(value, "tanh", made_by) for value in (a, b)]
                        update = _inside(gate, "sigmoid", made_by)
                        if update is None or made.count(None) != 1:
                            continue
                        (previous, new), inner = ((a, b), made[1]) if made[0] is None else ((b, a), made[0])
                        return [*_gru_cell(previous, new, (gate, update), inner, made_by), (out, "h")]
    return None


def _gru_cell(
    previous: Variable, new: Variable, update: tuple[Variable, Variable], candidate: Variable | None, made_by: _MadeBy
) -> _Cell:
    """The values of a GRU: its last state, its gates, each with and without its sigmoid, and the candidate."""
    products = [found for value in made_by if (found := _gated(value, made_by))]
    kept = [found for found in products if previous in (found[1], *variables(made_by.get(found[1], [])))]
    gates = [(gate, "r") for inner, _, outer in kept if inner is not update[1] for gate in (inner, outer)]
    return [
        (previous, "h"),
        (update[0], "z"),
        (update[1], "z"),
        *gates,
        (new, "g"),
        *([(candidate, "g")] if candidate is not None else []),
    ]


def _previous(cell: _Cell, inputs: list[Variable], named: set[Variable], made_by: _MadeBy) -> list[Variable]:
    """The input of the model that was the last output of the cell: what its gates are made of, and as large."""
    if any(role == "z" for _, role in cell):
        return []  # that of a GRU is known
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

"""Layers that run one after another over a whole sequence, rather than each on every entry before the next entry."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from ...model.registry import form_of
from ...shapes.dry_run import run
from ..expressions import Value, Variable, is_unknown, python
from ..forms import loop_of
from ..scopes import Constructor, Scope, Statement, examples_of, module_call
from .rows import rows_of

#: The constructor call of a layer, which gets such a value.
_Make = Callable[[nn.Module, Value], Constructor]


def over_sequence(
    module: nn.Module, value: Value, scope: Scope, each: Callable[[nn.Module, Value, Scope], Value | None], make: _Make
) -> Value | None:
    """What a module makes of a sequence, layer by layer; None where it can't be written like that.

    Args:
        module: the module.
        value: a list of entries, or a tensor whose first dimension they are.
        scope: gets the statements.
        each: adds what a module makes of each entry; None: it can't.
        make: gives the constructor call of a layer that runs through the whole sequence.
    """
    form = form_of("over sequence", module)
    layers: list[nn.Module] | None = form(module) if form else None
    if not layers or is_unknown(value) or not (examples := examples_of(value)):
        return None
    wanted = tuple(run(module, example) for example in examples)
    trial = copy.copy(scope)
    trial.statements, trial.attrs = list(scope.statements), dict(scope.attrs)
    trial._known, trial._numbers = dict(scope._known), dict(scope._numbers)
    made = _run(layers, value, trial, each, make)
    if made is None:
        return None
    scope.statements[:] = trial.statements
    scope.attrs.update(trial.attrs)
    scope._known, scope._numbers = trial._known, trial._numbers
    if isinstance(made, list):
        for entry, values in zip(made, zip(*wanted, strict=True), strict=True):
            entry.values = values
    else:
        made.values = wanted
    return made


def _run(
    layers: list[nn.Module],
    value: Value,
    scope: Scope,
    each: Callable[[nn.Module, Value, Scope], Value | None],
    make: _Make,
) -> Value | None:
    whole = isinstance(value, Variable) and value.shapes is not None
    for layer in layers:
        if loop_of(layer) is not None:
            value = each(layer, value, scope)
            if value is None:
                return None
            continue
        listed = form_of("of a list", layer) is not None
        x = _listed(value, scope) if listed else _stacked(value, scope)
        kind = type(layer).__name__.lower()
        attribute = scope.attribute(make(layer, x), next((name for name in ("gru", "rnn") if name in kind), "lstm"))
        made = tuple(copy.copy(layer)(example) for example in examples_of(x))  # a copy, which keeps what it remembers
        if listed:
            value = Variable(made)
            scope.statements.append(Statement([value], module_call(attribute, x)))
            continue
        tensors = tuple(output if isinstance(output, torch.Tensor) else output[0] for output in made)
        value = Variable(tensors)
        outs = [value] if isinstance(made[0], torch.Tensor) else [value, Variable()]
        scope.statements.append(Statement(outs, module_call(attribute, x)))
    is_tensor = isinstance(value, Variable) and value.shapes is not None
    if not layers or whole == is_tensor:
        return value if layers else None
    if whole:
        return _stacked(value, scope)
    lists = tuple(list(example) for example in value.values)
    alike = len(set(map(len, lists))) == 1
    return scope.unpack(python("x.unbind(0)" if alike else "list(x.unbind(0))", x=value), lists)


def _listed(value: Value, scope: Scope) -> Value:
    """The entries of a sequence as a list."""
    if not (isinstance(value, Variable) and value.shapes is not None):
        return value
    return scope.assign(python("x.unbind(0)", x=value), tuple(list(tensor.unbind(0)) for tensor in value.values))


def _stacked(value: Value, scope: Scope) -> Variable:
    """The entries as one tensor; the one that they were cut from, if it is known."""
    if isinstance(value, Variable) and value.shapes is not None:
        return value
    entries = value if isinstance(value, list) else [value]
    for statement in scope.statements:
        tensor = rows_of(statement)
        if tensor is not None and statement.outs == entries and all(rows.is_contiguous() for rows in tensor.values):
            return tensor
    stacked = tuple(torch.stack(list(example)) for example in examples_of(value))
    return scope.assign(python("torch.stack(x)", x=value), stacked)

"""convert_optimizer(): from the state of a Torch7 optimizer to one of PyTorch, parameter by parameter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from ..base.errors import UsageError
from ..model.conversion import ConvertedModel
from ..model.locate import follow
from ..model.torchfile import adopt
from ..t7 import LuaTable, Tensor, Value, load
from .fields import Fields
from .flat_parameters import Flat, vector_sizes
from .flat_positions import Place, trace
from .locate import FoundState, find_state, states
from .methods import METHODS, Rule, method_of
from .state import Group, OptimizerState


def convert_optimizer(
    conversion: ConvertedModel,
    state: str | os.PathLike[str] | Value = None,
    *,
    key: str | None = None,
    config: str | Value = None,
    method: str | None = None,
    exact: bool = False,
) -> OptimizerState:
    """Converts the state of a Torch7 optimizer (package optim), so that training goes on in PyTorch.

    The flat vectors of the state are split in the order of Torch7's `getParameters()`.

    Args:
        conversion: the model that it trains.
        state: a `.t7` file that holds the state, a table from `load()`, or None: the file that the model comes from.
        key: where the state is in it, such as "optimState"; None looks for it.
        config: the table of options, or its key, where options and state were two tables.
        method: the optimizer, such as "sgd"; None tells it by the fields of the state.
        exact: take Torch7's own rule, as a class of `torchmigrate.optim`, where that of `torch.optim` differs.

    Raises:
        T7Error: the file can't be read.
        UsageError: there is no state, or several; it does not fit the model; PyTorch has no such optimizer.
    """
    if conversion.refusals or not conversion.layers:
        raise UsageError("Layers of the model were not converted, so that its optimizer has no parameters for them.")
    if isinstance(state, (str, os.PathLike)):
        value = load(state)
    else:
        value = conversion.value if state is None else adopt(state)
    found = find_state(value, key, vector_sizes(conversion.layers[0].object), given=state is not None)
    options = follow(value, config) if isinstance(config, str) else config
    options = found.table if options is None else adopt(options)
    if not isinstance(options, LuaTable):
        raise UsageError(f"The options of the optimizer should be a table, not {options!r}.")
    doubt = ""
    if method is None:
        method, doubt = method_of(options, found.table)
    if method not in METHODS:
        raise UsageError(f"There is no optimizer {method!r} here; there are: {', '.join(METHODS)}.")
    flat, places = trace(conversion, found.size)
    fields = Fields(options, found.table, flat.size)
    rule = METHODS[method](fields, exact=exact)
    notes = [doubt] if doubt else []
    notes += [*fields.notes, *_unread(fields, method, options, found), *_unplaced(flat, places)]
    trained = [place for place in places if not place.foreign]
    return OptimizerState(
        method=method,
        optimizer_class=rule.optimizer,
        options=rule.options,
        groups=_groups(rule, trained),
        tensors={place.name: _tensors(rule, place) for place in trained},
        decay=rule.decay,
        steps=rule.steps,
        not_trained=tuple(place.name for place in places if place.foreign),
        notes=notes,
        key=found.key,
        module=conversion.module,
    )


def optimizer_beside(conversion: ConvertedModel) -> tuple[OptimizerState | None, str]:
    """The state of the optimizer in the file that the model comes from, for who did not ask for it.

    Returns:
        The state, or None and why it was not converted; None and "" if the file holds none.
    """
    if not any(found.size is not None for found in states(conversion.value)):
        return None, ""
    try:
        state = convert_optimizer(conversion)
        state.optimizer()
    except UsageError as error:
        return None, str(error)
    return state, ""


def _groups(rule: Rule, places: Sequence[Place]) -> list[Group]:
    """The parameters by learning rate and weight decay; one group if these are the same for all."""
    if rule.elementwise or (rule.rates is None and rule.decays is None):
        return [Group(tuple(place.name for place in places), {})]
    found: dict[tuple[tuple[str, float], ...], list[str]] = {}
    for place in places:
        options = {}
        if rule.rates is not None:
            options["lr"] = rule.options["lr"] * _only(rule.rates, place, "learningRates")
        if rule.decays is not None:
            options["weight_decay"] = _only(rule.decays, place, "weightDecays")
        found.setdefault(tuple(options.items()), []).append(place.name)
    return [Group(tuple(names), dict(options)) for options, names in found.items()]


def _only(vector: torch.Tensor, place: Place, field: str) -> float:
    values = vector[place.index[place.index >= 0]]
    if not values.eq(values[0]).all():
        raise UsageError(
            f"{field} holds different numbers for one parameter, {place.name}; an optimizer of PyTorch has one for "
            "each group of parameters. --exact (exact=True) gives torchmigrate.optim.Torch7SGD, which takes them all."
        )
    return float(values[0])


def _tensors(rule: Rule, place: Place) -> dict[str, torch.Tensor]:
    vectors = dict(rule.vectors)
    if rule.elementwise and rule.rates is not None:
        vectors["learning_rates"] = rule.rates
    if rule.elementwise and rule.decays is not None:
        vectors["weight_decays"] = rule.decays
    # PyTorch counts steps in single precision
    types = {name: torch.float32 if name == "step" else torch.float64 for name in rule.scalars}
    scalars = {name: torch.tensor(value, dtype=types[name]) for name, value in rule.scalars.items()}
    return {**scalars, **{name: place.take(vector) for name, vector in vectors.items()}}


def _unread(fields: Fields, method: str, config: LuaTable, found: FoundState) -> list[str]:
    """What is said of fields that the optimizer does not know.

    Raises:
        UsageError: one is a vector of the size of the model, so that it is the state of another optimizer.
    """
    for name in fields.unread:
        value: Any = found.table.get(name)
        if isinstance(value, Tensor) and value.numel() == fields.size:
            raise UsageError(f"optim.{method} leaves no {name}: this is the state of another optimizer.")
    if not fields.unread:
        return []
    return [f"optim.{method} reads no {', '.join(fields.unread)}: left out, as Torch7 does"]


def _unplaced(flat: Flat, places: Sequence[Place]) -> list[str]:
    """What is said of numbers that are trained in one library and not in the other."""
    uses = torch.zeros(flat.size, dtype=torch.int32)
    for place in places:
        if place.start is not None:
            uses[place.start : place.start + place.shape.numel()] += 1
        else:
            uses += torch.bincount(place.index[place.index >= 0], minlength=flat.size)
    notes = []
    if unused := int((uses == 0).sum()):
        notes.append(f"{unused:,} of the {flat.size:,} numbers of the state belong to no parameter of this model")
    if twice := int((uses > 1).sum()):
        notes.append(f"{twice:,} numbers are one in Torch7 and several here, which are trained one by one")
    if foreign := [place.name for place in places if place.foreign]:
        notes.append(f"Torch7 has no {', '.join(foreign)}: the optimizer leaves it as it is")
    if partly := [place.name for place in places if not place.foreign and not place.whole]:
        notes.append(f"a part of {', '.join(partly)} stays as it is in Torch7; here it is trained")
    return notes

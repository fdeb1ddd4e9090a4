"""Fills a network that was read from a file with the parameters of another state of its training."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.errors import LimitExceeded, UsageError
from ..base.messages import counted
from ..model.locate import locate
from ..model.registry import all_converters, traits_of
from ..model.torchfile import adopt
from ..optim.flat_parameters import flatten_tensors, parameters
from ..t7 import Limits, LuaFunction, LuaObject, LuaTable, Tensor, Value, load
from ..t7.keys import join
from ..t7.limits import DEFAULT_LIMITS
from .fill import (
    Filling,
    Source,
    fill_parameters,
    fill_statistics,
    parameter_names,
    read_part,
    statistics_missing,
)

#: What the second of the running statistics is called; before 2015 it was the inverse of the deviation.
_VARIANCE, _INVERSE_DEVIATION = "running_var", "running_std"

_Found = tuple[str, LuaObject]


@dataclass(frozen=True)
class FilledPlan:
    """A network of a file, with other numbers in it.

    Attributes:
        model: the network.
        parameters: how many parameter tensors `parameters()` lists.
        batch_norms: how many modules have running statistics.
        filled: what was filled: "parameters", "statistics".
        notes: what to know of it.
    """

    model: LuaObject
    parameters: int
    batch_norms: int
    filled: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What is known of it besides the network, as JSON values."""
        return {
            "parameter_tensors": self.parameters,
            "batch_norms": self.batch_norms,
            "filled": list(self.filled),
            "notes": list(self.notes),
        }


def fill(
    source: Source,
    *,
    weights: Source,
    key: str | None = None,
    weights_key: str | None = None,
    stats: Source = None,
    stats_key: str | None = None,
    fresh_stats: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> LuaObject:
    """Fills a network with a flat vector of parameters, as Torch7's `model:getParameters():copy(vector)` does.

    What is neither a parameter nor a running statistic stays as it is in the network. Outputs and gradients that its
    own training left in it are taken out, as `clearState()` does, since they belong to other parameters.

    Args:
        source: the network: a `.t7` file, or a value from `load()`, which is changed in place (an error changes
            nothing).
        weights: the parameters: a `.t7` file or a value from one, a flat vector or a list of tensors.
        key: where the network is in `source`, such as "protos.rnn"; None looks for it.
        weights_key: where they are in `weights`, such as "params".
        stats: the running statistics of batch normalizations, in the order of `listModules()`; a network gives its own.
        stats_key: where they are in `stats`.
        fresh_stats: set running statistics to those of a network that was never trained: mean 0, variance 1.
        limits: how much the file may ask for.

    Returns:
        The network, for `convert`, `dump`, or `inspect`.

    Raises:
        T7Error: a file can't be read.
        ModelNotFound: there is no network, or several; `key` chooses one.
        UsageError: the numbers do not fit the network, in count or in size, or the running statistics are missing.
    """
    return fill_with_details(
        source,
        weights=weights,
        key=key,
        weights_key=weights_key,
        stats=stats,
        stats_key=stats_key,
        fresh_stats=fresh_stats,
        limits=limits,
    ).model


def fill_with_details(
    source: Source,
    *,
    weights: Source,
    key: str | None = None,
    weights_key: str | None = None,
    stats: Source = None,
    stats_key: str | None = None,
    fresh_stats: bool = False,
    known: Collection[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> FilledPlan:
    """As `fill`, with what else is known of it; `known` names more classes that are layers.

    Raises:
        T7Error: as in `fill`.
        UsageError: as in `fill`.
    """
    if stats is not None and fresh_stats:
        raise UsageError(
            "--stats (stats=...) gives running statistics, --fresh-stats (fresh_stats=True) says that there are none: "
            "give one of them."
        )
    value = _read(source, limits)
    found = locate(value, key, {*all_converters(), *known})
    vector = read_part(_read(weights, limits), weights_key, "weights")
    statistics = read_part(_read(stats, limits), stats_key, "stats")
    notes = _left_out(value, found.object)
    filling = Filling()
    try:
        tensors, pairs = _fill(
            filling, found.object, vector, statistics, notes, fresh_stats=fresh_stats, most=limits.runs
        )
    except BaseException:
        filling.undo()
        raise
    _clear_runs(found.object)
    filled = ("parameters", "statistics") if statistics is not None else ("parameters",)
    return FilledPlan(found.object, tensors, pairs, filled, tuple(notes))


def _read(source: Source, limits: Limits) -> Value:
    return load(source, limits=limits) if isinstance(source, (str, os.PathLike)) else adopt(source)


def _left_out(value: Value, model: LuaObject) -> list[str]:
    """What is said of the rest of a checkpoint, whose optimizer and counts are of the other parameters."""
    if not isinstance(value, LuaTable) or value is model.fields:
        return []
    names = [join("", name) for name, held in value.items() if held is not model and isinstance(name, (str, float))]
    if not names:
        return []
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return [f"only the network was taken from the file; what lies beside it was left out: {shown}"]


def _fill(
    filling: Filling,
    model: LuaObject,
    weights: Value,
    statistics: Value,
    notes: list[str],
    *,
    fresh_stats: bool,
    most: int,
) -> tuple[int, int]:
    modules = list(_walk(model, most, by_class=True, once=True))
    for path, module in modules:
        if isinstance(module.get("parameters"), LuaFunction):
            raise UsageError(
                f"{path} ({module.typename}) has a function of its own for parameters(): which of its numbers the "
                "weights hold is known to that function only."
            )
    listed = list(_list_modules(model, most))
    _check_repeats(model, most)
    tensors = parameters(model)
    if not tensors:
        raise UsageError("weights are given, but the network has no parameters")
    names = parameter_names(tensors, model)
    notes += fill_parameters(filling, tensors, names, weights)
    notes += _order(tensors) if isinstance(weights, Tensor) else []
    for path, module in modules:
        for name in ("weight", "bias"):
            tensor = module.get(name)
            if isinstance(tensor, Tensor) and not filling.covers(tensor):
                raise UsageError(
                    f"{path}.{name} is not among what parameters() of {module.typename} lists, so that the weights do "
                    "not fill it, and it would keep the numbers of the file."
                )
    pairs = [pair for _, module in listed if (pair := _statistics(module)) is not None]
    if isinstance(statistics, LuaObject):
        own = [_statistics(module) for _, module in _list_modules(statistics, most)]
        statistics = LuaTable.from_list([LuaTable.from_list(pair) for pair in own if pair is not None])
    if statistics is not None:
        _refuse_old(listed)
        fill_statistics(filling, pairs, statistics)
    elif pairs and not fresh_stats:
        raise statistics_missing(len(pairs))
    hidden = [(path, pair) for path, module in _everything(model) if (pair := _statistics(module)) is not None]
    for path, pair in hidden:
        if fresh_stats:
            for tensor, number in zip(pair, (0, 1), strict=True):
                filling.put(tensor, np.full(tensor.size, number), path)
        elif not all(filling.covers(tensor) for tensor in pair):
            raise UsageError(
                f"{path} has running statistics, and listModules() does not list it, so that none are given for it: "
                "it would keep those of the file. --fresh-stats (fresh_stats=True) sets all to mean 0 and variance 1."
            )
    if fresh_stats and hidden:
        notes.append(f"the running statistics of {counted(len(hidden), 'module')} were set to mean 0 and variance 1")
    return len(tensors), len(pairs)


def _order(tensors: list[Tensor]) -> list[str]:
    """What is said where the file's storage has another order than the list of parameters."""
    flat = flatten_tensors(tensors)
    end = 0
    for tensor in tensors:
        positions = flat.positions(tensor)
        if positions is None or not positions.size:
            continue
        start = int(positions.min())
        if start > end:
            moved = (
                "the parameters lie in the file in another order than parameters() lists them, since layers were moved "
                "after getParameters(): a flat vector is taken in the order of the file, as getParameters() of it is"
            )
            return [moved]
        end = max(end, int(positions.max()) + 1)
    return []


def _list_modules(model: LuaObject, most: int) -> Iterator[_Found]:
    """The modules as Torch7's `listModules()` lists them: again where one stands in several places."""
    return _walk(model, most, by_class=False, once=False)


def _check_repeats(model: LuaObject, most: int) -> None:
    """Stops before `parameters()` lists shared modules without end."""
    for _ in _walk(model, most, by_class=True, once=False):
        pass


def _walk(model: LuaObject, most: int, *, by_class: bool, once: bool) -> Iterator[_Found]:
    """The modules of a model: all that `parameters()` goes through (`by_class`), or those of `listModules()`.

    Raises:
        LimitExceeded: there are more than `most`.
    """
    stack: list[tuple[str, Value]] = [("model", model)]
    seen: set[int] = set()
    count = 0
    while stack:
        path, item = stack.pop()
        if not isinstance(item, LuaObject) or (once and id(item) in seen):
            continue
        seen.add(id(item))
        count += 1
        if count > most:
            raise LimitExceeded(f"the modules of the network are listed more than {most:,} times (Limits.runs)")
        yield path, item
        below: list[tuple[str, Value]] = []
        for name in traits_of(item.typename).children if by_class else ("modules",):
            held = item.get(name)
            if isinstance(held, LuaTable):
                below += [(f"{path}.{name}.{number}", child) for number, child in enumerate(held.list(), 1)]
            else:
                below.append((f"{path}.{name}", held))
        stack += reversed(below)


def _everything(model: LuaObject) -> Iterator[_Found]:
    """Every object that can be reached from the model, once."""
    stack: list[tuple[str, Value]] = [("model", model)]
    seen: set[int] = set()
    while stack:
        path, item = stack.pop()
        if not isinstance(item, (LuaTable, LuaObject)) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, LuaObject):
            yield path, item
        stack += [(join(path, key), held) for key, held in reversed(item.items())]


def _statistics(module: LuaObject) -> tuple[Tensor, Tensor] | None:
    mean = module.get("running_mean")
    spread = module.get(_VARIANCE, module.get(_INVERSE_DEVIATION))
    return (mean, spread) if isinstance(mean, Tensor) and isinstance(spread, Tensor) else None


def _refuse_old(listed: list[_Found]) -> None:
    for path, module in listed:
        if isinstance(module.get(_INVERSE_DEVIATION), Tensor) and module.get(_VARIANCE) is None:
            raise UsageError(
                f"{path} keeps {_INVERSE_DEVIATION}, the inverse of a deviation, as files before 2015 do, and the "
                "statistics given may be variances: fill it in Torch7, or give a network of its version."
            )


def _clear_runs(model: LuaObject) -> None:
    """Takes out what runs left, as `clearState()` does: it is of other parameters, and no proof of these."""
    for _, item in _everything(model):
        for name in ("output", "gradInput"):
            if (held := item.get(name)) is not None:
                item.fields[name] = _emptied(held)
        data = item.get("data")  # of a node of a graph
        for name in ("input", "gradOutput"):
            if isinstance(data, LuaTable) and data.get(name) is not None:
                data[name] = _emptied(data.get(name))


def _emptied(value: Value) -> Value:
    if isinstance(value, Tensor):
        return Tensor(value.type, (), (), 1, None)
    return LuaTable() if isinstance(value, LuaTable) else value

"""Puts recorded numbers into a network that was built anew: its parameters, and its running statistics."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base.errors import UsageError
from ..optim.flat_parameters import flatten_tensors
from ..t7 import LuaObject, LuaTable, Storage, Tensor, Value, load

#: Numbers, or the `.t7` file that holds them.
Source = Value | str | os.PathLike[str]

#: Names under which authors saved means and variances, each list or each pair.
_MEANS = ("running_mean", "mean", "means", "running_means")
_VARIANCES = ("running_var", "var", "vars", "variance", "variances", "running_vars")


@dataclass
class Filling:
    """Which elements of which storages were written.

    Attributes:
        written: for each storage (by its id) the elements that hold recorded numbers.
    """

    written: dict[int, npt.NDArray[np.bool_]] = field(default_factory=dict)
    _before: list[tuple[Storage, npt.NDArray[Any]]] = field(default_factory=list)

    def _storage(self, storage: Storage) -> npt.NDArray[np.bool_]:
        if id(storage) not in self.written:
            self.written[id(storage)] = np.zeros(len(storage), np.bool_)
            self._before.append((storage, storage.data))
            storage.data = np.array(storage.data)
        return self.written[id(storage)]

    def put(self, tensor: Tensor, numbers: npt.NDArray[Any], what: str) -> None:
        """Writes numbers of the tensor's size into it.

        Raises:
            UsageError: other numbers are there already.
        """
        if tensor.storage is None:
            return
        mask = _view(self._storage(tensor.storage), tensor)
        target = _view(tensor.storage.data, tensor)
        given = numbers.astype(target.dtype)
        if mask.any() and not np.array_equal(target[mask], given[mask], equal_nan=True):
            raise UsageError(f"{what} shares its memory with an earlier one, but other numbers are given for it")
        target[...] = given
        mask[...] = True

    def undo(self) -> None:
        """Gives every storage the numbers back that it had."""
        for storage, numbers in self._before:
            storage.data = numbers

    def covers(self, tensor: Tensor) -> bool:
        """Was every element of a tensor written?"""
        if tensor.storage is None or id(tensor.storage) not in self.written:
            return not tensor.numel()
        return bool(_view(self.written[id(tensor.storage)], tensor).all())


def _view(flat: npt.NDArray[Any], tensor: Tensor) -> npt.NDArray[Any]:
    step = flat.itemsize
    return np.ndarray(tensor.size, flat.dtype, flat, (tensor.offset - 1) * step, [s * step for s in tensor.stride])


def fill_parameters(filling: Filling, parameters: Sequence[Tensor], names: Sequence[str], weights: Value) -> list[str]:
    """Fills parameters from a flat vector, or from a list of tensors.

    Args:
        filling: notes what was written.
        parameters: as `parameters()` of the model lists them.
        names: where each of them is in the model.
        weights: a tensor of one dimension, as `getParameters()` gives it, or a list, as `parameters()` gives it.

    Returns:
        What to know of it.

    Raises:
        UsageError: they are not as many, or not of these sizes.
    """
    if isinstance(weights, Tensor):
        return _from_vector(filling, parameters, names, weights)
    if isinstance(weights, LuaTable) and weights.is_list and all(isinstance(v, Tensor) for v in weights.list()):
        _from_list(filling, parameters, names, weights.list())
        return []
    raise UsageError(
        f"The weights are neither a tensor nor a list of tensors, but {described(weights)}. "
        "Name the part that holds them, such as --weights-key parameters (weights_key='parameters')."
    )


def _from_vector(filling: Filling, parameters: Sequence[Tensor], names: Sequence[str], vector: Tensor) -> list[str]:
    flat = flatten_tensors(parameters)
    numbers = vector.numpy()
    notes = []
    if len(vector.size) > 1:
        raise UsageError(f"The weights are one tensor of size {_listed(vector.size)}, not a flat vector.")
    if numbers.size != flat.size and [len(storage) for storage in flat.kept] == [numbers.size]:
        notes.append(
            f"the weights are {numbers.size:,} numbers, those of all networks that were flattened into one storage "
            f"with this one, which has {flat.size:,}: those in its own places were taken"
        )
        flat = flatten_tensors(parameters, numbers.size)
    if numbers.size != flat.size:
        raise UsageError(
            f"The weights are {numbers.size:,} numbers, the network has {flat.size:,} parameters. "
            + _first_beyond(flat, parameters, names, numbers.size)
            + "So the network is another one: look at the options with which it was built."
        )
    for tensor, name in zip(parameters, names, strict=True):
        positions = flat.positions(tensor)
        if positions is None:
            raise UsageError(f"{name} has no place in the flat vector")
        filling.put(tensor, numbers[positions], name)
    return notes


def _first_beyond(flat: Any, parameters: Sequence[Tensor], names: Sequence[str], count: int) -> str:
    for tensor, name in zip(parameters, names, strict=True):
        positions = flat.positions(tensor)
        if positions is not None and positions.size and int(positions.max()) >= count:
            return f"The first that they do not fill is {name}, of size {_listed(tensor.size)}. "
    return ""


def _from_list(filling: Filling, parameters: Sequence[Tensor], names: Sequence[str], given: list[Tensor]) -> None:
    if len(given) != len(parameters):
        parameters, names = _once(parameters, names)
    for number, (tensor, name) in enumerate(zip(parameters, names, strict=False), 1):
        if number > len(given):
            break
        if given[number - 1].size != tensor.size:
            raise UsageError(
                f"Tensor {number} of the {len(given)} weights has the size {_listed(given[number - 1].size)}, "
                f"{name} of the network {_listed(tensor.size)}."
            )
    if len(given) != len(parameters):
        more = names[len(given)] if len(given) < len(names) else ""
        raise UsageError(
            f"The weights are {len(given)} tensors, the network has {len(parameters)} parameters"
            + (f"; the first without one is {more}." if more else ".")
        )
    for tensor, name, numbers in zip(parameters, names, given, strict=True):
        filling.put(tensor, numbers.numpy(), name)


def _once(parameters: Sequence[Tensor], names: Sequence[str]) -> tuple[list[Tensor], list[str]]:
    """Without those that share all of their memory with an earlier one."""
    seen, kept, kept_names = set(), [], []
    for tensor, name in zip(parameters, names, strict=True):
        place = (id(tensor.storage), tensor.offset, tensor.size, tensor.stride)
        if place not in seen:
            seen.add(place)
            kept.append(tensor)
            kept_names.append(name)
    return kept, kept_names


def fill_statistics(filling: Filling, pairs: Sequence[Sequence[Tensor]], given: Value) -> None:
    """Fills running means and variances, in the order of `listModules()`.

    Args:
        filling: notes what was written.
        pairs: {running_mean, running_var} of each batch normalization of the model.
        given: a list of pairs {mean, variance}, a list of tables {running_mean =, running_var =}, a table
            {means = list, vars = list}, or a list of all tensors, in turn or the means first.

    Raises:
        UsageError: they are laid out otherwise, not as many, or not of these sizes.
    """
    found = _in_a_row(given, pairs) or list(_pairs(given))
    if len(found) != len(pairs):
        raise UsageError(f"The statistics are of {len(found)} batch normalizations, the network has {len(pairs)}.")
    for number, (mine, theirs) in enumerate(zip(pairs, found, strict=True), 1):
        for tensor, numbers, what in zip(mine, theirs, ("running_mean", "running_var"), strict=True):
            name = f"{what} of batch normalization {number}"
            if numbers.numel() != tensor.numel():
                raise UsageError(f"The {name} has {numbers.numel()} numbers, in the network {tensor.numel()}.")
            if what == "running_var" and (numbers.numpy() < 0).any():
                raise UsageError(f"The {name} is negative in places, which no variance is: are the pairs swapped?")
            filling.put(tensor, numbers.numpy().reshape(tensor.size), f"the {name}")


def _in_a_row(given: Value, pairs: Sequence[Sequence[Tensor]]) -> list[tuple[Tensor, Tensor]] | None:
    """The pairs in a list of all means and variances; None if it is none.

    Raises:
        UsageError: they may be in turn as well as the means first, or are neither.
    """
    if not (isinstance(given, LuaTable) and len(given) and _tensors(given)):
        return None
    tensors, half = given.list(), len(given) // 2
    if len(tensors) != 2 * len(pairs):
        raise UsageError(
            f"The statistics are {len(tensors)} tensors, the network has {len(pairs)} batch normalizations."
        )
    orders = {
        "in turn": list(zip(tensors[::2], tensors[1::2], strict=True)),
        "the means first": list(zip(tensors[:half], tensors[half:], strict=True)),
    }
    fitting = [order for order in (orders.values() if half > 1 else [orders["in turn"]]) if _fit(order, pairs)]
    if len(fitting) == 1:
        return fitting[0]
    raise UsageError(
        f"The statistics are a list of {len(tensors)} tensors, which fit "
        f"{'both ' if fitting else 'neither '}mean and variance in turn {'and' if fitting else 'nor'} all means first. "
        "Give them as a table {means = list, vars = list}."
    )


def _fit(found: Sequence[tuple[Tensor, Tensor]], pairs: Sequence[Sequence[Tensor]]) -> bool:
    """Have they the sizes of the network's, and may the variances be such?"""
    return all(
        [tensor.numel() for tensor in theirs] == [tensor.numel() for tensor in mine]
        and not (theirs[1].numpy() < 0).any()
        for mine, theirs in zip(pairs, found, strict=True)
    )


def _pairs(given: Value) -> Iterable[tuple[Tensor, Tensor]]:
    if isinstance(given, LuaTable):
        means, variances = _named(given, _MEANS), _named(given, _VARIANCES)
        if isinstance(means, LuaTable) and isinstance(variances, LuaTable):
            if len(means) == len(variances) and _tensors(means) and _tensors(variances):
                return list(zip(means.list(), variances.list(), strict=True))
        elif given.is_list and len(given):
            found = [_pair(entry) for entry in given.list()]
            if all(pair is not None for pair in found):
                return [pair for pair in found if pair is not None]
        elif given.is_list:
            return []
    raise UsageError(
        f"The statistics are {described(given)}. Known are a list of pairs {{mean, variance}}, a list of tables "
        "{running_mean =, running_var =}, a table {means = list, vars = list} and a list of all tensors; name the part "
        "with --stats-key."
    )


def _pair(entry: Value) -> tuple[Tensor, Tensor] | None:
    if not isinstance(entry, LuaTable):
        return None
    if entry.is_list and len(entry) == 2:
        mean, variance = entry.list()
    else:
        mean, variance = _named(entry, _MEANS), _named(entry, _VARIANCES)
    return (mean, variance) if isinstance(mean, Tensor) and isinstance(variance, Tensor) else None


def _named(table: LuaTable, names: Sequence[str]) -> Value:
    held = [table[name] for name in names if name in table]
    return held[0] if len(held) == 1 else None


def _tensors(table: LuaTable) -> bool:
    return table.is_list and all(isinstance(value, Tensor) for value in table.list())


def described(value: Value) -> str:
    """What a value is, for a message."""
    if isinstance(value, LuaTable) and not value.is_list:
        return f"a table with the keys {', '.join(map(str, list(value)[:12]))}"
    if isinstance(value, LuaTable):
        return f"a list of {len(value)}"
    return "nothing" if value is None else repr(value)


def statistics_missing(count: int) -> UsageError:
    """The error where parameters are given, and running statistics are not."""
    return UsageError(
        f"The weights are there, the running statistics of {count} batch normalizations are not, without "
        "which the network computes other numbers. Give them with --stats (stats=...), or say with --fresh-stats "
        "(fresh_stats=True) that the network was never trained."
    )


def read_part(source: Source, key: str | None, what: str) -> Value:
    """What a file or value holds under a key.

    Args:
        source: a `.t7` file, or a value from one.
        key: keys with dots between, such as `model.params`; None takes all of it.
        what: what it is, for the message.

    Raises:
        UsageError: there is nothing.
    """
    value = load(source) if isinstance(source, (str, os.PathLike)) else source
    for part in key.split(".") if key else ():
        held = value.get(float(part) if part.isdigit() else part) if isinstance(value, (LuaTable, LuaObject)) else None
        if held is None:
            raise UsageError(f"{what}: there is nothing under {key!r}, {described(value)} has no {part!r}")
        value = held
    return value


def parameter_names(parameters: Sequence[Tensor], model: Value) -> list[str]:
    """Where each parameter is in the model."""
    paths: dict[int, str] = {}
    stack: list[tuple[Value, str]] = [(model, "model")]
    seen: set[int] = set()
    while stack:
        value, path = stack.pop()
        if isinstance(value, Tensor):
            paths.setdefault(id(value), path)
        elif isinstance(value, (LuaTable, LuaObject)) and id(value) not in seen:
            seen.add(id(value))
            stack += [
                (held, f"{path}.{key:g}" if isinstance(key, float) else f"{path}.{key}")
                for key, held in reversed(value.items())
                if isinstance(key, (str, float))
            ]
    return [paths.get(id(tensor), f"parameter {number}") for number, tensor in enumerate(parameters, 1)]


def _listed(size: Sequence[int]) -> str:
    return "x".join(map(str, size)) or "nothing"

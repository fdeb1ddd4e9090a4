"""Finds the state of an optimizer in a checkpoint."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..base.errors import UsageError
from ..model.locate import follow
from ..t7 import LuaTable, Tensor, Value
from ..t7.keys import join

#: How many tables deep a state is looked for.
_MAX_DEPTH = 6

#: The vectors that optimizers leave in their states.
_VECTORS = ("dfdx", "m", "v", "u", "paramVariance", "accDelta", "ax", "stepsize", "g_old", "df0")

#: What an optimizer that keeps no vector leaves, or is told.
_NUMBERS = ("evalCounter", "learningRate", "eta0")


@dataclass(frozen=True)
class FoundState:
    """A state of an optimizer in a file.

    Attributes:
        key: where it is; "" is the top.
        table: its fields.
        size: how many parameters it is for; None if it holds no vector.
    """

    key: str
    table: LuaTable
    size: int | None


def states(value: Value) -> list[FoundState]:
    """Every table in `value` that may be the state of an optimizer, in the order of the file."""
    found: list[FoundState] = []
    seen: set[int] = set()
    level: list[tuple[str, Value]] = [("", value)]
    for _depth in range(_MAX_DEPTH):
        below: list[tuple[str, Value]] = []
        for path, item in level:
            if not isinstance(item, LuaTable) or id(item) in seen:
                continue
            seen.add(id(item))
            size = vector_size(item)
            told = "optim" in path.rpartition(".")[2].lower() and any(item.get(name) is not None for name in _NUMBERS)
            if size is not None or told or isinstance(item.get("evalCounter"), float):
                found.append(FoundState(path, item, size))
            else:
                below += [(join(path, key), child) for key, child in item.items() if isinstance(key, (str, float))]
        level = below
    return found


def vector_size(table: LuaTable) -> int | None:
    """How many parameters a state is for; None if it holds no vector."""
    sizes = {len_ for name in _VECTORS if isinstance(tensor := table.get(name), Tensor) and (len_ := tensor.numel())}
    return max(sizes) if sizes else None


def find_state(value: Value, key: str | None, sizes: Collection[int], *, given: bool = False) -> FoundState:
    """The state that belongs to a model.

    Args:
        value: as read from a file.
        key: where the state is; None looks for it.
        sizes: how many parameters the model has, alone or with others that share its storage.
        given: was `value` given as the state? Then it is taken for one where nothing in it looks more like one.

    Raises:
        UsageError: there is none, or several fit.
    """
    if key:
        table = follow(value, key)
        if not isinstance(table, LuaTable):
            raise UsageError(f"What is at {key} is no table, so it is no state of an optimizer: {table!r}.")
        return FoundState(key, table, vector_size(table))
    everything = states(value)
    if given and not everything and isinstance(value, LuaTable):
        return FoundState("", value, None)
    fitting = [found for found in everything if found.size in sizes] or [
        found for found in everything if found.size is None
    ]
    if len(fitting) == 1:
        return fitting[0]
    listed = "\n".join(f"  key {found.key or 'at the top'}, {_for(found)}" for found in fitting or everything)
    if fitting:
        raise UsageError(f"Several states of optimizers fit the model; choose one with --state-key (key=…):\n{listed}")
    if everything:
        wanted = " or ".join(f"{size:,}" for size in sorted(sizes))
        raise UsageError(f"No state of an optimizer fits the model, which has {wanted} parameters; there is:\n{listed}")
    raise UsageError(
        "There is no state of an optimizer in this file. Where it was saved apart, such as optimState_90.t7, give that "
        "file too; where it is an unusual table, say where with --state-key (key=…)."
    )


def _for(found: FoundState) -> str:
    return "no vectors" if found.size is None else f"for {found.size:,} parameters"

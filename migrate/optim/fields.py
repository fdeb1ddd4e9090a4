"""The fields of a state of Torch7's optim, read with their types; what nobody reads is reported."""

from __future__ import annotations

import math

import torch

from ..base.errors import UsageError
from ..model.build import to_torch_tensor
from ..t7 import LuaTable, Tensor, Value


class Fields:
    """A configuration and a state, which in most checkpoints are one table.

    Attributes:
        size: how long the flat vectors are.
        notes: remarks worth knowing.
    """

    def __init__(self, config: LuaTable, state: LuaTable, size: int) -> None:
        self.size = size
        self.notes: list[str] = []
        self._config = config
        self._state = state
        self._read: set[str] = set()

    def number(self, name: str, default: float) -> float:
        """A number of the configuration."""
        return self._number(self._config, name, default)

    def flag(self, name: str) -> bool:
        """A flag of the configuration, true as Lua means it: anything but nil and false."""
        self._read.add(name)
        return self._config.get(name) not in (None, False)

    def learning_rate(self, default: float) -> float:
        """`learningRate`, or Torch7's default, which is then noted."""
        if self._config.get("learningRate") is None:
            self.notes.append(
                f"there is no learningRate in the file, so Torch7's default {default:g} is taken; where the options "
                "were a table of their own, pass it as config (--config-key)"
            )
        return self.number("learningRate", default)

    def has(self, name: str) -> bool:
        """Is there such a field in the state?"""
        return self._state.get(name) is not None

    def counter(self, name: str) -> int:
        """How often something was done, as the state counts it."""
        value = self._number(self._state, name, 0.0)
        if value < 0 or value != int(value):
            raise UsageError(f"{name} of the optimizer's state should be a count and is {value!r}.")
        return int(value)

    def state_number(self, name: str, default: float) -> float:
        """A number of the state."""
        return self._number(self._state, name, default)

    def vector(self, name: str) -> torch.Tensor | None:
        """A flat vector of the state, of `size` numbers; None if there is none yet."""
        return self._vector(self._state, name)

    def setting_vector(self, name: str) -> torch.Tensor | None:
        """A flat vector of the configuration, of `size` numbers; None if there is none."""
        return self._vector(self._config, name)

    def vectors(self, **names: str) -> dict[str, torch.Tensor]:
        """Flat vectors of the state that come together: PyTorch's name = Torch7's; empty before the first step.

        Raises:
            UsageError: some are there and some are not.
        """
        found = {ours: vector for ours, theirs in names.items() if (vector := self.vector(theirs)) is not None}
        if found and len(found) < len(names):
            missing = [theirs for ours, theirs in names.items() if ours not in found]
            raise UsageError(f"The optimizer's state has no {', '.join(missing)}, which its other vectors need.")
        return found

    def ignore(self, *names: str) -> None:
        """Says that these fields do not change what the optimizer does."""
        self._read.update(names)

    @property
    def unread(self) -> list[str]:
        """The fields that nobody read."""
        names = [*self._config.keys(), *(self._state.keys() if self._state is not self._config else [])]
        return sorted({str(name) for name in names} - self._read)

    def _number(self, table: LuaTable, name: str, default: float) -> float:
        self._read.add(name)
        value = table.get(name)
        if value is None:
            return default
        if not isinstance(value, float) or isinstance(value, bool) or not math.isfinite(value):
            raise UsageError(f"{name} of the optimizer's state should be a number and is {value!r}.")
        return value

    def _vector(self, table: LuaTable, name: str) -> torch.Tensor | None:
        self._read.add(name)
        value: Value = table.get(name)
        if value is None:
            return None
        if not isinstance(value, Tensor):
            raise UsageError(f"{name} of the optimizer's state should be a tensor and is {value!r}.")
        if value.numel() != self.size:
            raise UsageError(
                f"{name} of the optimizer's state has {value.numel():,} numbers, but the model has {self.size:,} "
                "parameters: they do not belong together."
            )
        return to_torch_tensor(value).reshape(-1)

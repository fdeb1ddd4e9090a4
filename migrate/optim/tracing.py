"""Which number of Torch7's flat vector became which element of which PyTorch parameter.

The model is converted twice more, with numbered parameters in place of the weights: an element that the converters only
moved still carries its number afterwards, and one that they computed does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from ..build import Build
from ..conversion import Conversion
from ..errors import UsageError
from ..t7 import LuaObject, Tensor
from .flattening import Flat, flatten

#: Labels begin here: no constant that a converter puts in is as large, and sums of some are still exact.
_FIRST = 1 << 40


@dataclass
class _Numbered(Build):
    """A conversion in which each parameter of the file holds labels."""

    flat: Flat | None = None
    labels: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def tensor(self, value: Tensor, path: str, name: str) -> torch.Tensor:
        """The labels of a parameter; any other tensor as it is."""
        positions = None if self.flat is None else self.flat.positions(value)
        if positions is None:
            return super().tensor(value, path, name)
        region = self._region(value)
        if region not in self._tensors:
            self._tensors[region] = self.labels[torch.from_numpy(positions.copy())]
        return self._tensors[region]


@dataclass(frozen=True)
class Place:
    """Where the elements of one PyTorch parameter come from.

    Attributes:
        name: in `module.named_parameters()`.
        index: position of each element in Torch7's flat vector, of the parameter's shape; -1: from nowhere.
    """

    name: str
    index: torch.Tensor

    @property
    def whole(self) -> bool:
        """Does every element come from the vector?"""
        return bool((self.index >= 0).all())

    @property
    def foreign(self) -> bool:
        """Does no element come from the vector? Then Torch7 does not train the parameter."""
        return bool((self.index < 0).all())

    def take(self, vector: torch.Tensor) -> torch.Tensor:
        """The part of a flat vector that belongs to the parameter; 0 where nothing does."""
        taken = vector[self.index.clamp(min=0)]
        return taken if self.whole else torch.where(self.index >= 0, taken, torch.zeros_like(taken))


def trace(conversion: Conversion, size: int | None = None) -> tuple[Flat, list[Place]]:
    """Where each parameter of the converted model comes from.

    Args:
        conversion: the model.
        size: how long the flat vector at hand is; None: as long as the model has parameters.

    Returns:
        The flat vector, and the places in the order of `conversion.module.named_parameters()`.

    Raises:
        UsageError: the model has another number of parameters, or some are computed from the file's rather than copied.
    """
    root = conversion.layers[0].object
    flat = flatten(root, size)
    if flat.size == 0:
        raise UsageError("The model has no parameters, so that no optimizer has a state for it.")
    order = torch.from_numpy(np.random.default_rng(0).permutation(flat.size))
    straight = _labelled(conversion, root, flat, torch.arange(flat.size))
    shuffled = _labelled(conversion, root, flat, order)
    places = []
    computed = []
    for name, parameter in conversion.module.named_parameters():
        first, second = straight.get(name), shuffled.get(name)
        if first is None or second is None or first.shape != parameter.shape:
            raise AssertionError(f"{name} was converted in another way when its numbers were others")
        index = (first - _FIRST).long()
        inside = (index >= 0) & (index < flat.size)
        moved = inside & (order[index.clamp(0, flat.size - 1)] + _FIRST == second) & (first == first.round())
        if not (moved | (first == second)).all():
            computed.append(name)
        places.append(Place(name, torch.where(moved, index, -1)))
    if computed:
        raise UsageError(
            "These parameters are computed from the numbers of the file, so that the optimizer's state has no place: "
            + ", ".join(computed)
        )
    return flat, places


def _labelled(conversion: Conversion, root: LuaObject, flat: Flat, order: torch.Tensor) -> dict[str, torch.Tensor]:
    """The parameters of the model, converted with labels in the given order."""
    build = _Numbered(
        aliases=conversion.build.aliases,
        allow_unsupported=conversion.build.allow_unsupported,
        flat=flat,
        labels=order.double() + _FIRST,
    )
    return {name: parameter.detach().double() for name, parameter in build.root(root).named_parameters()}

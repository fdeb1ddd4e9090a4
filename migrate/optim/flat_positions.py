"""Which number of Torch7's flat vector became which element of which PyTorch parameter.

The model is converted twice more, with numbered parameters in place of the weights: an element that the converters only
moved still carries its number afterwards, and one that they computed does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..base.errors import UsageError
from ..model.build import Build
from ..model.conversion import ConvertedModel
from ..t7 import LuaObject, Tensor
from .flat_parameters import Flat, flatten

#: Labels begin here: no constant that a converter puts in is as large, and doubles hold them exactly.
_FIRST = 1 << 41


@dataclass
class _Numbered(Build):
    """A conversion in which each parameter of the file holds labels.

    Attributes:
        flat: where the parameters of the file are in the flat vector.
        label: positions -> labels.
    """

    flat: Flat | None = None
    label: Callable[[torch.Tensor], torch.Tensor] | None = None

    def tensor(self, value: Tensor, path: str, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The labels of a parameter; any other tensor as it is."""
        positions = None if self.flat is None else self.flat.positions(value)
        if positions is None or self.label is None:
            return super().tensor(value, path, name, dtype)
        region = self._region(value)
        if region not in self._tensors:
            self._tensors[region] = self.label(torch.from_numpy(positions.copy())).add_(_FIRST).double()
        return self._tensors[region]


@dataclass(frozen=True)
class Place:
    """Where the elements of one PyTorch parameter come from.

    Attributes:
        name: in `module.named_parameters()`.
        shape: of the parameter.
        start: position of the first element in Torch7's flat vector, if the others follow it; else None.
        scattered: else the position of each element, of the parameter's shape; -1: from nowhere.
    """

    name: str
    shape: torch.Size
    start: int | None
    scattered: torch.Tensor

    @classmethod
    def of(cls, name: str, index: torch.Tensor) -> Place:
        """The place of a parameter whose elements have these positions."""
        start = int(index.reshape(-1)[0]) if index.numel() else 0
        if start >= 0 and torch.equal(index.reshape(-1), torch.arange(start, start + index.numel())):
            return cls(name, index.shape, start, torch.empty(0, dtype=torch.int64))
        return cls(name, index.shape, None, index)

    @property
    def index(self) -> torch.Tensor:
        """The position of each element, of the parameter's shape; -1: from nowhere."""
        if self.start is None:
            return self.scattered
        return torch.arange(self.start, self.start + self.shape.numel()).reshape(self.shape)

    @property
    def whole(self) -> bool:
        """Does every element come from the vector?"""
        return self.start is not None or bool((self.scattered >= 0).all())

    @property
    def foreign(self) -> bool:
        """Does no element come from the vector? Then Torch7 does not train the parameter."""
        return self.start is None and bool((self.scattered < 0).all())

    def take(self, vector: torch.Tensor) -> torch.Tensor:
        """The part of a flat vector that belongs to the parameter, as a copy; 0 where nothing does."""
        if self.start is not None:
            return vector[self.start : self.start + self.shape.numel()].reshape(self.shape).clone()
        taken = vector[self.scattered.clamp(min=0)]
        return taken if self.whole else torch.where(self.scattered >= 0, taken, torch.zeros_like(taken))


def trace(conversion: ConvertedModel, size: int | None = None) -> tuple[Flat, list[Place]]:
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
    straight = _labelled(conversion, root, flat, torch.clone)
    scrambled = _labelled(conversion, root, flat, _scramble)
    places, computed = [], []
    for name, parameter in conversion.module.named_parameters():
        first, second = straight.pop(name, None), scrambled.pop(name, None)
        if first is None or second is None or first.shape != parameter.shape:
            raise AssertionError(f"{name} was converted in another way when its numbers were others")
        index = first.sub(_FIRST).long()
        moved = (index >= 0) & (index < flat.size) & (first == first.round()) & (_scramble(index) + _FIRST == second)
        if not (moved | (first == second)).all():
            computed.append(name)
        places.append(Place.of(name, index if moved.all() else torch.where(moved, index, -1)))
    if computed:
        raise UsageError(
            "These parameters are computed from the numbers of the file, so that the optimizer's state has no place: "
            + ", ".join(computed)
        )
    return flat, places


def _scramble(positions: torch.Tensor) -> torch.Tensor:
    """Second labels, which no sum or mean of labels has where the first ones have it."""
    mixed = positions * 0x9E3779B1
    return (((mixed ^ (mixed >> 15)) * 0x85EBCA6B) >> 7) & ((1 << 40) - 1)


def _labelled(
    conversion: ConvertedModel, root: LuaObject, flat: Flat, label: Callable[[torch.Tensor], torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The parameters of the model, converted with labels."""
    build = _Numbered(
        aliases=conversion.build.aliases,
        allow_unsupported=conversion.build.allow_unsupported,
        flat=flat,
        label=label,
    )
    return {name: parameter.detach().double() for name, parameter in build.root(root).named_parameters()}

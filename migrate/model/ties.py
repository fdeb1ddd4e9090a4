"""Ties between parameters that lie in the same numbers of a file, in other layouts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from torch import nn

from .registry import form_of

_UNTIED = "here each has numbers of its own, so that training changes one without the other"

#: Views with more elements are compared by where they begin and end.
_EXACT = 20_000_000


@dataclass(frozen=True)
class Place:
    """Where a parameter came from.

    Attributes:
        module: the module that has it.
        name: its name there.
        path: Torch7 path of the layer.
        field: the Torch7 field.
        storage: the id of Torch7's storage.
        offset: of the first number in it.
        size: of Torch7's tensor.
        stride: of Torch7's tensor.
    """

    module: nn.Module
    name: str
    path: str
    field: str
    storage: int
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def region(self) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
        """What identifies the tensor; dimensions of size 1 have no stride that matters."""
        steps = [(n, step) for n, step in zip(self.size, self.stride, strict=True) if n != 1]
        return self.storage, self.offset, tuple(n for n, _ in steps), tuple(step for _, step in steps)

    @property
    def end(self) -> int:
        """Behind its last number in the storage."""
        return self.offset + 1 + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))

    def elements(self) -> np.ndarray[Any, Any]:
        """Its numbers, as places in the storage, in order."""
        found = np.full(1, self.offset)
        for n, step in zip(self.size, self.stride, strict=True):
            found = np.add.outer(found, np.arange(n) * step).reshape(-1)
        return np.unique(found)


def tie_views(places: Iterable[Place]) -> list[tuple[str, str]]:
    """Gives a matrix and its transpose one parameter; says which other parameters share numbers and are not tied.

    A module takes the parameter of another, transposed, if its class has a form "transposed": the class of modules that
    keep the transpose of their weight.

    Returns:
        (path, remark) pairs.
    """
    notes: list[tuple[str, str]] = []
    by_region: dict[object, list[Place]] = {}
    for place in places:
        by_region.setdefault(place.region, []).append(place)
    tied: set[int] = set()
    for one, other in _overlapping([found[0] for found in by_region.values()]):
        alike = by_region[other.region]
        free = not tied & {id(place.module) for place in [one, *alike]}
        if free and _is_transpose(one, other) and all(_keeps_transpose(place) for place in alike):
            tied |= {id(place.module) for place in alike}
            for place in alike:
                place.module.__class__ = form_of("transposed", place.module)
                place.module.register_parameter(place.name, one.module.get_parameter(one.name))
        else:
            shared = f"its {other.field} shares numbers with the {one.field} of {one.path or 'the top'} in Torch7"
            notes.append((other.path, f"{shared}, in another layout; {_UNTIED}"))
    return notes


def _is_transpose(one: Place, other: Place) -> bool:
    return (
        len(one.size) == 2
        and one.offset == other.offset
        and (one.size, one.stride) == (other.size[::-1], other.stride[::-1])
        and one.module.get_parameter(one.name).shape == one.size
    )


def _keeps_transpose(place: Place) -> bool:
    form = form_of("transposed", place.module)
    return form is not None and place.name == "weight" and place.module.get_parameter("weight").shape == place.size


def _overlapping(places: list[Place]) -> Iterator[tuple[Place, Place]]:
    """Pairs of tensors that have a number in common, the one that was met first before the other."""
    order = {id(place): number for number, place in enumerate(places)}
    by_storage: dict[int, list[Place]] = {}
    for place in places:
        by_storage.setdefault(place.storage, []).append(place)
    for held in by_storage.values():
        held.sort(key=attrgetter("offset"))
        for number, one in enumerate(held):
            for other in held[number + 1 :]:
                if other.offset >= one.end:
                    break
                if _share(one, other):
                    yield (one, other) if order[id(one)] < order[id(other)] else (other, one)


def _share(one: Place, other: Place) -> bool:
    """Have two tensors whose ranges overlap a number in common?"""
    count = int(np.prod(one.size)) + int(np.prod(other.size))
    dense = one.end - one.offset == np.prod(one.size) and other.end - other.offset == np.prod(other.size)
    return dense or count > _EXACT or bool(np.intersect1d(one.elements(), other.elements()).size)

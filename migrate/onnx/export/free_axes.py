"""The axes beside the batch that the layers leave free: found by running the model, so that no size found is frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ...base.tensor_trees import leaves
from ..layer_watch import Dynamic
from .axes import observe, resized, sizes_of

#: Larger by one and by two shows what rounding hides; many networks take multiples of a power of two only.
_STEPS = (1, 2, 4, 8, 16, 32, 64)

#: What a first axis is called that is no batch: each tensor has its own.
LENGTH = "length"

#: In numbers rather than in sizes alone, a model is run on so many numbers at most to find its free axes.
_SMALL = 1 << 14


@dataclass
class FreeAxes:
    """Axes that may have any size.

    Attributes:
        named: the names of all axes of the input, of which each free one that is independent has its own.
        larger: free axis -> larger sizes than the example's with which the model runs.
        smaller: free axis -> smaller ones; maybe none.
    """

    named: Dynamic
    larger: dict[str, tuple[int, ...]] = field(default_factory=dict)
    smaller: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def wanted(self) -> dict[str, tuple[int, ...]]:
        """Free axis -> sizes that it should be able to have."""
        return {axis: (*self.larger[axis], *self.smaller[axis]) for axis in self.larger}

    def other_sizes(self, axes: list[str]) -> list[dict[str, int]]:
        """Other sizes of some free axes; neighbouring axes get different ones."""
        found = [{axis: self.larger[axis][number % len(self.larger[axis])] for number, axis in enumerate(axes)}]
        if smaller := {axis: self.smaller[axis][0] for axis in axes if self.smaller[axis]}:
            found.append(smaller)
        return found


def find_free_axes(
    module: nn.Module, sizes_only: nn.Module, example: Any, named: Dynamic, *, batch_is_free: bool
) -> FreeAxes:
    """Finds the axes beside the batch along which the model takes other sizes and keeps the samples apart.

    Args:
        module: the reference, in PyTorch.
        sizes_only: the same on the meta device.
        example: an input on which it runs.
        named: the names of its axes.
        batch_is_free: are the axes that are called batch? If not, they are lengths of independent tensors.
    """
    probe = _Probe(sizes_only, True, example, named, batch_is_free)
    if probe.expected is None and sum(tensor.numel() for _, tensor in leaves(example)) <= _SMALL:
        probe = _Probe(module, False, example, named, batch_is_free)
    free = FreeAxes(dict(named))
    if probe.expected is None:
        return free
    groups: dict[str, list[tuple[int, int]]] = {}
    for place, name in named.items():
        if name != "batch" or not batch_is_free:
            groups.setdefault(LENGTH if name == "batch" else name, []).append(place)
    for name, places in groups.items():
        for axis, together, larger in _free_of(probe, name, places, free.named):
            free.named |= dict.fromkeys(together, axis)
            free.larger[axis], free.smaller[axis] = larger, probe.smaller(together)
    return free


def _free_of(
    probe: _Probe, name: str, places: list[tuple[int, int]], named: Dynamic
) -> Iterator[tuple[str, list[tuple[int, int]], tuple[int, ...]]]:
    """Of the axes of one name those that are free alone, each with a name of its own, and the others together."""
    own = len(places) > 1 or name == LENGTH
    tied = []
    for place in places:
        if larger := probe.larger([place]):
            yield "_".join([name, *probe.tensors[place[0]]]) if own else name, [place], larger
        else:
            tied.append(place)
    if len(tied) > 1 and (larger := probe.larger(tied)):
        yield name, tied, larger
    elif tied and (alike := probe.alike(tied[0], named)) and (larger := probe.larger([*tied, *alike])):
        yield name, [*tied, *alike], larger  # as the weights or the mask of each entry


class _Probe:
    """Runs a model on other sizes.

    Attributes:
        expected: (rank, first size) of each tensor that it answers to the example; None: it does not run.
        tensors: the place of each tensor of the input, as words.
    """

    def __init__(self, module: nn.Module, sizes_only: bool, example: Any, named: Dynamic, batch_is_free: bool) -> None:
        self._module, self._sizes_only, self._example, self._named = module, sizes_only, example, named
        self.tensors = [[str(part) for part in place] for place, _ in leaves(example)]
        self.expected = self._answer(example)
        batches = sizes_of(example, named, "batch")
        first = batch_is_free and all(dim == 0 for (_, dim), name in named.items() if name == "batch")
        self._batch = next(iter(batches)) if first and len(batches) == 1 else 0

    def _answer(self, value: Any) -> list[tuple[int, int]] | None:
        observed = observe(self._module, value, self._sizes_only)
        return observed.made[-1][1] if observed.error is None and observed.made else None

    def alike(self, place: tuple[int, int], named: Dynamic) -> list[tuple[int, int]]:
        """The axes of other tensors that have no name, and the size of this one."""
        sizes = [tuple(tensor.shape) for _, tensor in leaves(self._example)]
        size = sizes[place[0]][place[1]]
        others = [(number, shape) for number, shape in enumerate(sizes) if number != place[0]]
        return [(n, d) for n, shape in others for d, s in enumerate(shape) if s == size and (n, d) not in named]

    def larger(self, places: list[tuple[int, int]]) -> tuple[int, ...]:
        """Some larger sizes that these axes can have together, the smallest first; none if they are not free."""
        sizes = sizes_of(self._example, dict.fromkeys(places, "_"), "_")
        if len(sizes) != 1 or (size := sizes.pop()) < 2:  # a size of one tells nothing of others
            return ()
        if not self._fits(places, 2 * size):
            return ()  # a larger size shows what a fixed View does
        found = []
        for other in (size + step for step in _STEPS if step < size):
            if self._fits(places, other):
                found.append(other)
            if len(found) == 2:
                break
        return tuple(found) or (2 * size,)

    def smaller(self, places: list[tuple[int, int]]) -> tuple[int, ...]:
        """Some smaller sizes that these axes can have together: what a layer does with them may be another branch."""
        (size,) = sizes_of(self._example, dict.fromkeys(places, "_"), "_")
        return tuple(n for n in dict.fromkeys((size // 2, 2)) if 1 < n < size and self._fits(places, n))

    def _fits(self, places: list[tuple[int, int]], size: int) -> bool:
        answer = self._answer(resized(self._example, dict.fromkeys(places, "_"), {"_": size}))
        if answer is None or self.expected is None or [r for r, _ in answer] != [r for r, _ in self.expected]:
            return False
        # a fixed View makes more samples of longer ones
        rows = zip(self.expected, answer, strict=True)
        return not any(self._batch and before == self._batch != after for (_, before), (_, after) in rows)

"""Runs of a model without numbers on sizes of our choice, and what is known of a size that may vary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ..base.tensor_trees import leaves, numbered
from ..shapes.dry_run import on_meta, run_without_numbers
from ..shapes.search_budget import Operators, Spent
from .examples import Example

#: How many operators may run to see what fits; without numbers that takes half a second.
_CALLS = 8_000

#: Of a larger number of entries no more is asked.
_LARGEST = 1 << 14


@dataclass
class Axis:
    """A size that may vary, and where the inputs have it.

    Attributes:
        letter: its name.
        places: (number of the input, dimension), wherever it is the same.
        sizes: what it was in each example.
        step: it is a multiple of this.
        low: the least size.
        high: the largest size; None: there is none.
        such: sizes that fit, in words, where others do together with those of another axis.
        some: not every size fits, but the multiples of this do (-1: other ones); 0: nothing of the kind is known.
    """

    letter: str
    places: list[tuple[int, int]]
    sizes: tuple[int, ...]
    step: int = 1
    low: int = 1
    high: int | None = None
    some: int = 0
    such: str = ""

    @property
    def added(self) -> int:
        """How many entries the largest example has more than the smallest."""
        return max(self.sizes) - min(self.sizes)

    @property
    def note(self) -> str:
        """Which sizes it may have, in words; "" if any."""
        if self.such:
            return self.such
        if self.high is not None:
            return f"from {self.low} to {self.high}"
        if self.step > 1:
            return f"a multiple of {self.step}"
        if self.some:
            return f"multiples of {self.some}; of others not all fit" if self.some > 0 else "not of every size"
        return f"at least {self.low}" if self.low > 1 else ""


@dataclass
class Sample:
    """The sizes of one run, by the id of their axis, and the shapes that came out."""

    sizes: dict[int, int]
    outputs: list[torch.Size]


class Unknown(Exception):
    """Whether a model takes a size can't be known, or it takes too long to find out."""


class Trial:
    """Runs a model without numbers on sizes of our choice, as often as that takes next to no time.

    Args:
        module: the model.
        example: what it gave.
        axes: the sizes that may vary.
        outputs: what it gave then.
        listed: is that a list of tensors of one size, as one?
    """

    def __init__(
        self, module: nn.Module, example: Example, axes: list[Axis], outputs: list[torch.Size], listed: bool = False
    ) -> None:
        self.example, self.axes, self.outputs, self.listed = example, axes, outputs, listed
        self.left = _CALLS
        self.sizes_only = on_meta(module)
        self.inputs = [tensor.shape for _, tensor in leaves(example.input)]
        self.batch = {shape[:1] for shape in self.inputs}

    def __call__(self, axis: Axis, size: int) -> Sample | None:
        """What the model gives where an axis has this size; None if it does not take that."""
        if not 0 < size <= _LARGEST:
            return None
        answer = self._answer(numbered(self.example.input, partial(self._sized, axis, size)))
        if answer is None:
            return None
        rows = [shape[:1] for shape in answer]
        before = [shape[:1] for shape in self.outputs]
        expected = before if axis.letter != "N" else [torch.Size([size])] * len(before)
        if len(answer) != len(self.outputs) or (set(before) == self.batch and rows != expected):
            return None  # samples were mixed
        return Sample({id(a): size if a is axis else a.sizes[0] for a in self.axes}, answer)

    def takes(self, number: int, shape: list[int]) -> bool:
        """Does the model take an input of another shape, the others being as they were?"""
        return self._answer(numbered(self.example.input, partial(self._shaped, number, shape))) is not None

    def _answer(self, value: Any) -> list[torch.Size] | None:
        counter = Operators(self.left)
        try:
            with counter:
                output = run_without_numbers(self.sizes_only, value)
                if self.listed:
                    return stacked(shapes_of(output)) if is_listed(output) else None
                return shapes_of(output)
        except (NotImplementedError, Spent):
            raise Unknown from None
        except Exception:  # whatever a layer raises on a size that it does not take
            return None
        finally:
            self.left = max(counter.left, 0)

    def _shaped(self, wanted: int, shape: list[int], number: int, tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty(shape if number == wanted else tensor.shape, dtype=tensor.dtype, device="meta")

    def _sized(self, axis: Axis, size: int, number: int, tensor: torch.Tensor) -> torch.Tensor:
        shape = [size if (number, dim) in axis.places else n for dim, n in enumerate(tensor.shape)]
        return torch.empty(shape, dtype=tensor.dtype, device="meta")


def shapes_of(value: Any) -> list[torch.Size]:
    """The shape of every tensor in a nested list."""
    return [tensor.shape for _, tensor in leaves(value)]


def is_listed(value: Any) -> bool:
    """Is it a plain list of tensors of one size?"""
    tensors = isinstance(value, list) and bool(value) and all(isinstance(item, torch.Tensor) for item in value)
    return tensors and len(set(shapes_of(value))) == 1


def stacked(shapes: list[torch.Size]) -> list[torch.Size]:
    """How many tensors a list has, and their size."""
    return [torch.Size([len(shapes), *shapes[0]])]

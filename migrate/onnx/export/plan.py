"""Which axes of an export are free, and at which sizes ONNX Runtime is compared with PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, NoReturn

import torch
from torch import nn

from ...base.errors import ExportError
from ...base.tensor_trees import apply, leaves, moved, numbered
from ...model.conversion import ConvertedModel
from ...model.running.answers import ask, last_layers_of
from ...shapes.dry_run import on_meta, run, run_without_numbers
from ...shapes.random_input import indexed_leaves
from ...shapes.rounding_noise import RoundingNoise, rounding_growth
from ..layer_watch import Dynamic, LayerNames
from ..settings import Settings
from .axes import Freedom, explore, name_axes, require_running, resized, sizes_of
from .free_axes import FreeAxes, find_free_axes


class FixedBatch(Exception):
    """The batch, which would be dynamic if it could, can't: the reason."""


class FixedAxes(Exception):
    """The model can't be exported with the axes beside the batch that its layers leave free."""


@dataclass
class Run:
    """One input, and what PyTorch answers to it."""

    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]


@dataclass
class Plan:
    """The input of an export, its free axes, and the runs that are compared.

    Attributes:
        conv: the converted model.
        settings: what was asked for.
        notes: what users should know; the plan adds to it.
        reference: the model as it runs in PyTorch, to compare with.
        given: the example input as it came.
        named: the axes of the input that have a name; empty: they are found.
        find_free: look for axes beside the batch that the layers leave free.
        layers: the layers of the model.
        sizes_only: the same on the meta device.
        example: the input on which the graph is traced; free axes have two entries at least.
        outputs: what the reference answers to it.
        wanted: axis -> sizes that it should be able to have.
        axes: those that may be free.
        free: axes that nobody asked for, and that the layers leave free.
        runs: each with the axis that must be free for it; "" for none.
    """

    conv: ConvertedModel
    settings: Settings
    notes: list[str]
    reference: nn.Module
    given: Any
    named: Dynamic = field(default_factory=dict)
    find_free: bool = False
    layers: LayerNames = field(init=False)
    sizes_only: nn.Module = field(init=False)
    example: Any = field(init=False)
    outputs: Any = field(init=False)
    wanted: dict[str, tuple[int, ...]] = field(init=False, default_factory=dict)
    axes: list[str] = field(init=False, default_factory=list)
    free: FreeAxes | None = field(init=False, default=None)
    runs: list[tuple[str, Run]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.layers = LayerNames(self.conv)
        self.given = as_taken(self.conv, self.given, self.settings.reference_type)
        self.sizes_only = on_meta(self.reference)
        self.named = self.named or name_axes(self.conv, self.reference, self.given)
        self.example = self._grown(self.given)
        try:
            self.outputs = self.answer(self.example)
        except Exception:
            require_running(self.reference, self.given, self.layers)
            raise

    def _sizes(self, value: Any) -> list[tuple[int, ...]]:
        """The sizes of what PyTorch answers to an input."""
        try:
            answer = run_without_numbers(self.sizes_only, value)
        except Exception:  # it may need numbers
            answer = self.answer(value)
        return [tuple(tensor.shape) for _, tensor in leaves(answer)]

    def answer(self, value: Any) -> Any:
        """What PyTorch answers to an input."""
        with torch.no_grad():
            return ask(self.conv.answers, self.reference, value, partial(self._run_reference, value))

    def _run_reference(self, value: Any) -> Any:
        return moved(run(self.reference, moved(value)))

    def _grown(self, example: Any) -> Any:
        """The example with axes of two at least, where they will be dynamic: a size of one tells nothing of others."""
        wanted = ("batch",) if self.settings.dynamic is None else self.settings.dynamic
        alone = {axis: 2 for axis in wanted if sizes_of(example, self.named, axis) == {1}}
        if not alone:
            return example
        grown = resized(example, self.named, alone)
        try:
            ranks = [list(map(len, self._sizes(value))) for value in (example, grown)]
        except Exception:
            return example
        if self.settings.dynamic is None and ranks[0] != ranks[1]:
            self.forbid("batch", "like Torch7, the model drops the batch dimension of a single sample; give it two")
        return grown

    def explore(self) -> None:
        """Finds the axes that may be free, and what to compare."""
        example = self.example
        self.runs = [("", Run([t for _, t in leaves(example)], [t for _, t in leaves(self.outputs)]))]
        for axis in ("batch",) if self.settings.dynamic is None else self.settings.dynamic:
            if self.settings.dynamic is None and not sizes_of(example, self.named, axis):
                self.notes.append("the batch size is fixed: the inputs have no first dimension in common")
                continue
            freedom, runs = self._explored(axis)
            self.axes.append(axis)
            self.wanted[axis] = freedom.sizes
            self.runs += [(axis, run) for run in runs]
            if axis == "batch" and (single := self._single(example)) is not None:
                self.runs.append((axis, single))
        if self.find_free:
            free = find_free_axes(
                self.reference, self.sizes_only, example, self.named, batch_is_free="batch" in self.axes
            )
            if free.larger:
                self.free, self.named = free, free.named
                self.axes += free.larger
                self.wanted |= free.wanted()

    def free_axes(self) -> list[str]:
        """The axes beside the batch that nobody asked for and that are free, as far as is known."""
        return [axis for axis in self.free.larger if axis in self.axes] if self.free else []

    def fix(self, axes: Sequence[str]) -> None:
        """Leaves some of these axes at the size of the example."""
        self.axes = [axis for axis in self.axes if axis not in axes]

    def _explored(self, axis: str) -> tuple[Freedom, list[Run]]:
        """What is known of an axis, and the runs at some of its sizes."""
        for module, sizes_only in ((self.sizes_only, True), (self.reference, False)):
            freedom = explore(module, self.example, self.named, axis, self.layers, sizes_only=sizes_only)
            if freedom.forbidden:
                continue
            sizes = freedom.sizes if axis != "batch" else freedom.sizes[:1]
            try:
                return freedom, [self._run(resized(self.example, self.named, {axis: size})) for size in sizes]
            except Exception:
                if not sizes_only:
                    raise
        self.forbid(axis, freedom.forbidden)

    def compared(self) -> list[Run]:
        """The runs at sizes that the graph can have."""
        free = {axis: set(sizes) for axis, sizes in self.wanted.items() if axis != "batch"}
        runs = [
            run for axis, run in self.runs if axis not in free or sizes_of(run.inputs, self.named, axis) <= free[axis]
        ]
        if self.free and (axes := self.free_axes()):
            try:
                runs += [self._run(resized(self.example, self.named, sizes)) for sizes in self.free.other_sizes(axes)]
            except Exception as error:
                raise FixedAxes from error  # each can have another size alone, but not all together
        return runs

    def forbid(self, axis: str, reason: str) -> NoReturn:
        """Ends the export, because an axis can't be free.

        Raises:
            FixedBatch: nobody asked for it.
            ExportError: it was asked for.
        """
        if self.settings.dynamic is not None:
            raise ExportError(f"the axis {axis!r} can't be dynamic: {reason}")
        size = min(sizes_of(self.given, self.named, axis))
        raise FixedBatch(f"the batch size is fixed at {size}: {reason}")

    def _run(self, value: Any) -> Run:
        return Run([t for _, t in leaves(value)], [t for _, t in leaves(self.answer(value))])

    def _single(self, example: Any) -> Run | None:
        """A batch of one, with the answer of PyTorch in the sizes that the graph will give; None where unknown.

        Torch7 drops the batch dimension of a single sample in many layers; the graph keeps it.
        """
        batch = min(sizes_of(example, self.named, "batch"))
        whole = [t for _, t in leaves(self.outputs)]
        first_axis = all(dim == 0 for (_, dim), name in self.named.items() if name == "batch")
        try:
            more = self._sizes(resized(example, self.named, {"batch": batch + 1}))
        except Exception:
            return None  # it takes multiples only
        growing = all(a.dim() and (a.shape[0], b[0]) == (batch, batch + 1) for a, b in zip(whole, more, strict=True))
        if not first_axis or not growing:
            return None
        single = resized(example, self.named, {"batch": 1})
        rows = [t[:1] for t in whole]
        try:
            answer = [t for _, t in leaves(self.answer(single))]
        except Exception:
            answer = rows
        if [t.numel() for t in answer] == [t.numel() for t in rows]:
            rows = [a.reshape(r.shape) for a, r in zip(answer, rows, strict=True)]
        elif [t.dim() for t in answer] == [t.dim() for t in rows]:
            rows = answer
        else:
            return None
        return Run([t for _, t in leaves(single)], rows)

    def noise(self, run: Run) -> RoundingNoise:
        """How far rounding moves each output of a run."""
        value = self._given(run)
        return RoundingNoise(self.reference, value, last_layers_of(self.conv.answers, self.reference, value))

    def growth(self, run: Run) -> RoundingNoise:
        """The same without a limit, for networks that amplify rounding."""
        return rounding_growth(self.reference, self._given(run))

    def _given(self, run: Run) -> Any:
        """The input of a run, nested as the model takes it."""

        def take(number: int, value: Any) -> torch.Tensor:
            return run.inputs[number]

        return numbered(self.example, take)

    def noise_of(self, inputs: list[torch.Tensor]) -> Callable[[], RoundingNoise]:
        """The same of other tensors."""
        return cache(partial(self.noise, Run(inputs, [])))

    def find_factors(self) -> dict[str, int]:
        """What the sizes of each axis but the batch have in common; only its multiples are wanted from here on."""
        sizes = {axis: min(sizes_of(self.example, self.named, axis)) for axis in self.axes if axis != "batch"}
        # where sizes are rounded no factor is left: then the power of two that pooling and unpooling ask for
        common = {axis: math.gcd(size, *self.wanted[axis]) for axis, size in sizes.items()}
        found = {axis: common[axis] if common[axis] > 1 else size & -size for axis, size in sizes.items()}
        factors = {axis: factor for axis, factor in found.items() if factor > 1}
        for axis, factor in factors.items():
            self.wanted[axis] = tuple(size for size in self.wanted[axis] if size % factor == 0)
            self.notes.append(f"in the ONNX graph, {axis} is a multiple of {factor}")
        return factors

    def batches(self, runs: Sequence[Run]) -> tuple[int, ...]:
        """The batch sizes of runs."""
        where = next((place for place, name in self.named.items() if name == "batch"), None)
        if where is None:
            return (1,)
        number, dim = where
        return tuple(dict.fromkeys(run.inputs[number].shape[dim] for run in runs))


def as_taken(conv: ConvertedModel, value: Any, dtype: torch.dtype | None) -> Any:
    """The input as the graph takes it: floating, or int64 where it holds indices."""
    value = moved(value)
    indexed = {id(tensor) for tensor, _ in indexed_leaves(conv, value)}

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) in indexed or not tensor.is_floating_point():
            return tensor.long()
        return tensor.to(dtype) if dtype else tensor

    return apply(value, convert)

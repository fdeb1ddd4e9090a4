"""What scripts set to 0 in the outputs of layers after these ran, as far as a file tells."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ...base.tensor_trees import apply, leaves
from ...model.layer_record import LayerRecord
from ...t7 import Tensor
from ..judge.compare import Tolerance
from ..masks import Mask, find_mask, zeros_in
from ..runs.layers import worst
from ..trace import LayerRun
from .recorded_activations import Recording

#: Containers that give what their children gave.
_CHAINED = ("chain", "graph", "branches", "entries")


@dataclass(frozen=True)
class _Claim:
    """An output that layers behind may have got, or the same with the zeros of a mask.

    Attributes:
        given: the output as it is given on.
        masked: with the zeros.
        roots: the layers whose masks these are.
    """

    given: torch.Tensor
    masked: torch.Tensor
    roots: frozenset[tuple[int, int]]


class RecordedMasks:
    """The masks in the outputs of a file, found while the network runs.

    Args:
        layers: of the network that runs.
        inner: those without layers inside.
        shared: those whose outputs other layers may have written over.
        training: those that run in training mode.
        recording: what the file holds.
        found: the masks by layer and run, to which new ones are added.
        no_masks: the layers whose zeros are known to be no mask.
        trained: may the weights be others than when they ran?

    A layer that may make zeros by itself has a mask only if a layer behind shows that it got what it gives without.
    """

    def __init__(
        self,
        layers: Sequence[LayerRecord],
        inner: Collection[int],
        shared: Collection[int],
        training: Collection[int],
        recording: Recording,
        found: Mapping[tuple[int, int], Mask],
        no_masks: Collection[tuple[int, int]],
        trained: bool,
    ) -> None:
        self._trained = trained
        self._asked: set[tuple[int, int]] = set()
        self._confirmed: set[tuple[int, int]] = set()
        self._contradicted: set[tuple[int, int]] = set()
        self._no_masks = no_masks
        self._claims: list[_Claim] = []
        self._layers = layers
        self._inner = inner
        self._shared = shared
        self._training = training
        self._recording = recording
        self._found = found
        self._doubtful: list[tuple[Any, str]] = []

    def refuted(self, before: RecordedMasks) -> set[tuple[int, int]]:
        """The layers whose zeros are no mask, as far as those behind show; `before` is what the first run found."""
        return (self._asked | before._asked) - self._confirmed | self._contradicted

    def find(self, step: LayerRun, recorded: Any, *, pending: bool) -> Mask | None:
        """Where something set numbers of the output of a layer to 0 after it ran; None if that can't be told.

        Args:
            step: the layer, on what Torch7 gave it.
            recorded: its output in the file.
            pending: is it to tell of other layers too, whose outputs it wrote over?
        """
        record, i = self._layers[step.index], step.index
        if i in self._shared:
            return None
        within = [mask for key, mask in self._found.items() if self._recording.overwrites(i, key[0])]
        if within and _hands_on(record) and not (i in self._inner and i in self._training):
            found = find_mask(step.output, recorded, every_slice=False)
            return found and Mask(found.places, all(mask.seen for mask in within), all(mask.enough for mask in within))
        if step.key in self._no_masks or _has_zeros_only(record):
            return None
        weights = any(True for _ in record.module.parameters())
        found = find_mask(step.output, recorded, every_slice=weights or pending)
        return found if record.traits.zeros_by_chance or found is None else replace(found, seen=True)

    def accept(self, step: LayerRun, given: Any) -> None:
        """Is told that a mask explains the output of a layer, and of that output as the layers behind get it."""
        record, mask = self._layers[step.index], self._found[step.key]
        within = {key for key in self._found if key != step.key and self._recording.overwrites(step.index, key[0])}
        roots = within & self._asked if _hands_on(record) else set()
        if not roots and not _hands_on(record) and not record.traits.zeros_by_chance:
            roots = {step.key}
            self._asked |= roots
        if roots:
            pairs = zip(leaves(given), leaves(mask.without(given)), strict=True)
            self._claims += [_Claim(one.clone(), other, frozenset(roots)) for (_, one), (_, other) in pairs]

    def hear(self, step: LayerRun, recorded: Any, rule: Tolerance, *, passed: bool, intact: bool) -> None:
        """Is told of a layer that got what it got in Torch7: does it show whether these were numbers that are 0 now?"""
        if step.index not in self._inner:
            return
        roots: frozenset[tuple[int, int]] = frozenset()

        def masked(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal roots
            claim = next((claim for claim in self._claims if _equal(claim.given, tensor)), None)
            roots |= frozenset() if claim is None else claim.roots
            return tensor if claim is None else claim.masked.clone()

        given = apply(step.input, masked)
        if not roots:
            return
        module = self._layers[step.index].module
        module.train(step.index in self._training)
        try:
            with torch.no_grad():
                other = module.forward(given)
        finally:
            module.eval()
        masks_fit = worst(other, recorded, rule).passed
        if masks_fit and not passed:
            self._contradicted |= roots
        elif not masks_fit and (passed or (intact and self._trained and any(True for _ in module.parameters()))):
            self._confirmed |= roots  # one that is older than its weights tells when these are known
        elif not intact:
            pairs = zip(leaves(step.output), leaves(other), strict=True)
            self._claims += [_Claim(one.clone(), masked, roots) for (_, one), (_, masked) in pairs]

    def note(self, step: LayerRun, given: Any) -> None:
        """Is told of a layer whose input is not known, and of its recorded output as the layers behind get it."""
        record = self._layers[step.index]
        zeros, numbers = zeros_in(given)
        if zeros and record.traits.zeros_by_chance and step.index not in self._shared and not _has_zeros_only(record):
            reason = (
                f"not judged: {zeros} of {numbers} recorded numbers of {record.typename} at {record.path}, which it "
                "reads, are exactly 0: something may have written over them after it ran"
            )
            self._doubtful += [(tensor.clone(), reason) for _, tensor in leaves(given)]

    def suspect(self, step: LayerRun, reason: str) -> None:
        """Is told of a layer without layers inside whose output is not as Torch7 gave it on, and why; "": it is."""
        if reason and step.index in self._inner:
            self._doubtful += [(tensor.clone(), reason) for _, tensor in leaves(step.output)]

    def doubt(self, step: LayerRun) -> str:
        """Why a layer that is off may have got something else than what is in the file; "" if it may not."""
        given = [tensor for _, tensor in leaves(step.input)]
        return next(
            (reason for numbers, reason in self._doubtful if any(_equal(numbers, tensor) for tensor in given)), ""
        )


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)


def _hands_on(record: LayerRecord) -> bool:
    """Does a layer give the very numbers that it, or the layers in it, got?"""
    traits = record.traits
    return traits.output == "pass" or (traits.output == "children" and traits.flow in _CHAINED)


def _has_zeros_only(record: LayerRecord) -> bool:
    """Are all weights of a layer 0 in the file, so that it answers zeros?"""
    held = [value for name in ("weight", "bias") if isinstance(value := record.object.get(name), Tensor)]
    return bool(held) and not any(value.numel() and value.numpy().any() for value in held)

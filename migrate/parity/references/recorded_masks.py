"""What scripts set to 0 in the outputs of layers after these ran, as far as a file tells."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from ...base.tensor_trees import leaves
from ...model.layer_record import LayerRecord
from ...t7 import Tensor
from ..masks import Mask, find_mask, zeros_in
from ..trace import LayerRun
from .recorded_activations import Recording

#: Containers that give what their children gave.
_CHAINED = ("chain", "graph", "branches", "entries")


class RecordedMasks:
    """The masks in the outputs of a file, found while the network runs.

    Args:
        layers: of the network that runs.
        inner: those without layers inside.
        shared: those whose outputs other layers may have written over.
        training: those that run in training mode.
        recording: what the file holds.
        found: the masks by layer and run, to which new ones are added.
    """

    def __init__(
        self,
        layers: Sequence[LayerRecord],
        inner: Collection[int],
        shared: Collection[int],
        training: Collection[int],
        recording: Recording,
        found: Mapping[tuple[int, int], Mask],
    ) -> None:
        self._layers = layers
        self._inner = inner
        self._shared = shared
        self._training = training
        self._recording = recording
        self._found = found
        self._doubtful: list[tuple[Any, str]] = []

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
        if not record.traits.zeros_by_chance or _has_zeros_only(record):
            return None
        weights = any(True for _ in record.module.parameters())
        return find_mask(step.output, recorded, every_slice=weights or pending)

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

"""Judges as a whole what runs layers several times: a sequencer keeps the outputs of all its steps, its layers do not.

The clones of a step in Torch7 are no layers of the model, and the step itself holds what one of them gave. What the
sequencer around them got and gave is in the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from ...base.random_state import random_state_of_our_own
from ...base.tensor_trees import leaves, moved
from ...model.layer_record import LayerRecord
from ...model.recurrent_state import Remembering, forget
from ...optim.last_step import objects_in
from ...t7 import Tensor
from ..judge.compare import Difference
from ..network_copies import Network, leaf_indices
from ..trace import LayerRun
from .overwritten_outputs import FollowedRun
from .recorded_activations import Recording

Key = tuple[int, int]

#: Why a sequence that is off is not judged.
UNSURE = "the file does not tell from which state, or in which mode, its sequence was run"

#: Fields of what a layer was told beside its input: the padding of a sequence.
_GIVEN_APART = ("zeroMask",)

#: How values go through layers that run clones of those in them.
_CLONING = ("steps", "feedback", "replicas")

#: Of random numbers for layers that draw some in training mode.
_SEED = 0


def steps_of_sequences(layers: Sequence[LayerRecord]) -> tuple[set[int], set[int]]:
    """The layers that keep a state from one call to the next, and the layers in them."""
    cells: set[int] = set()
    parts: set[int] = set()
    for i, record in enumerate(layers):
        if isinstance(record.module, Remembering):
            cells.add(i)
            parts.update(id(part) for part in record.module.modules() if part is not record.module)
    return cells, {i for i, record in enumerate(layers) if id(record.module) in parts}


def run_as_clones(layers: Sequence[LayerRecord]) -> set[int]:
    """The layers of which Torch7 runs clones, in what goes through a sequence, so that they hold what one step gave."""
    around = {record.path for record in layers if record.traits.flow in _CLONING or record.traits.recurrent}
    return {i for i, record in enumerate(layers) if any(_is_inside(path, around) for path in record.paths)}


def _is_inside(path: str, around: Collection[str]) -> bool:
    parts = path.split(".")
    return any(".".join(parts[:count]) in around for count in range(len(parts)))


def sequences_in(
    network: Network, recording: Recording, followed: FollowedRun, cells: set[int], inside: set[int]
) -> dict[int, frozenset[int]]:
    """What is judged as a whole -> the layers with weights in it, none of which can be judged by itself.

    Args:
        network: the converted model.
        recording: what the file holds.
        followed: a run of the network.
        cells: the layers that keep a state from one call to the next.
        inside: the layers in them.
    """
    layers = network.layers
    parts = [{id(part) for part in record.module.modules()} for record in layers]
    weighted = {i for i in leaf_indices(layers) if any(True for _ in layers[i].module.parameters())}
    alone = {i for i in weighted - cells - inside if followed.calls.get(i, 1) == 1}
    # a cell may run once over the whole sequence here, but the file has what it gave for the last step
    stepped = {part for i, record in enumerate(layers) if record.traits.flow == "steps" for part in parts[i]}
    steps = {i for i in cells if id(layers[i].module) in stepped and layers[i].traits.flow != "steps"}
    found: dict[int, frozenset[int]] = {}
    covered: set[int] = set()
    for _, i in sorted((len(parts[i]), i) for i in recording.outputs):  # the innermost first
        if followed.calls.get(i) != 1 or i in followed.overwritten or i in inside | steps:
            continue
        held = frozenset(j for j in weighted if id(layers[j].module) in parts[i])
        if not held & alone and held - covered:
            found[i] = held
            covered |= held
    return found


def judged_inside(
    layers: Sequence[LayerRecord],
    sequences: Mapping[int, frozenset[int]],
    judged: Mapping[Key, Difference],
    unjudged: Iterable[Key],
    proven: Mapping[Key, str],
) -> dict[Key, tuple[Difference, str]]:
    """The error of layers with weights that were judged with the right sequence around them, and how.

    Args:
        layers: those of the converted model.
        sequences: what `sequences_in` found.
        judged: the difference of every layer that was judged.
        unjudged: the runs of the layers that were not.
        proven: how it is known that a layer is right with other weights than its own.
    """
    around = {j: (i, 1) for i, held in sequences.items() for j in held if j != i}
    found = {}
    for key in unjudged:
        whole = around.get(key[0])
        if whole is not None and whole in judged and judged[whole].passed:
            remark = f"judged with all steps of {layers[whole[0]].typename} at {layers[whole[0]].path or 'the top'}"
            found[key] = judged[whole], "; ".join(filter(None, (proven.get(whole), remark)))
    return found


class SequenceRuns:
    """Runs sequences by themselves, each from its beginning.

    Args:
        network: the converted model; its copy here is in evaluation mode but for `training`.
        training: the layers in training mode.
    """

    def __init__(self, network: Network, training: set[int]) -> None:
        self._twin = network.twin()  # without the hooks of a trace
        self._network = network
        self._twin.train(sorted(training))

    def run(self, step: LayerRun) -> LayerRun:
        """The same step with what the sequence answers."""
        module = self._twin.layers[step.index].module
        forget(module)
        with torch.no_grad():
            return replace(step, output=moved(module.forward(moved(step.input))))

    def is_sure(self, step: LayerRun) -> bool:
        """Must Torch7 have answered the same, in whatever mode it ran, and whatever it ran before?"""
        record = self._network.layers[step.index]
        if any(isinstance(item.get(name), Tensor) for item in objects_in(record.object) for name in _GIVEN_APART):
            return False
        module = self._network.twin().layers[step.index].module
        with torch.no_grad(), random_state_of_our_own(_SEED), suppress(Exception):
            for mode in (False, True):
                module.train(mode)
                for _ in range(2):  # without forgetting anything between the two
                    if not _are_equal(module.forward(moved(step.input)), step.output):
                        return False
            return True
        return False


def _are_equal(one: Any, other: Any) -> bool:
    mine, theirs = list(leaves(one)), list(leaves(other))
    return len(mine) == len(theirs) and all(
        a == b and torch.equal(x, y) for (a, x), (b, y) in zip(mine, theirs, strict=True)
    )

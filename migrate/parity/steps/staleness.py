"""Tells activations that are older than the weights from a layer that is wrong.

Where the file holds what the last step did, the weights before it are made again, and the layers are judged with them.
Where it does not, a layer that is off may be either, and is not judged. Nothing is decided by how much it is off.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...model.conversion import ConvertedModel
from ..judge.tolerances import Rules
from ..network_copies import Network, copy_network
from ..references.recorded_activations import Recording, was_trained
from ..references.recorded_gradients import backward, is_newer
from ..references.recorded_layers import Judgement, Key, Probe
from .layers_without_input import Witness, witnesses
from .step_search import UNKNOWN_STEP, Before, Search, names_of_parameters
from .weights_before import weights_before

#: Why a layer is not judged.
OLDER = "not judged: older than the weights; what the last step did to them is not in the file"


#: Sizes at which the gradients may have been clipped that are tried at first, and rounds in which the best is refined.
_SIZES, _ROUNDS = 24, 12

#: Learning rates that differ by a smaller share are one.
_ALIKE = 1e-3

#: The smallest of these sizes, as a share of the largest gradient.
_SMALLEST = 1e-4


@dataclass(frozen=True)
class Settled:
    """What the activations say in the end.

    Attributes:
        judgement: what the layers compute of the activations.
        before: the weights with which they did; None: those of the file.
        older: layers whose activations may be older than their weights, so that they are not judged.
        witnesses: what the backward pass says of layers whose input is not known.
    """

    judgement: Judgement
    before: Before | None = None
    older: tuple[Key, ...] = ()
    witnesses: Mapping[Key, Witness] = field(default_factory=dict)


def settle(
    conv: ConvertedModel, recording: Recording, values: tuple[Any, Any], rules: Rules, judgements: list[Judgement]
) -> Settled:
    """Judges the layers with the weights that they had when the activations were made.

    Args:
        conv: the converted model.
        recording: what its file holds.
        values: the inputs, as `Probe` takes them.
        rules: the tolerances.
        judgements: what came of the weights in the file, in each mode in which the layers may have run.
    """
    judgement = judgements[0]
    if not any(has_weights(conv, key) for key in judgement.failed):
        same = copy_network(conv)
        return Settled(judgement, witnesses=witnesses(conv, same, same, judgement, values, rules, sure=False))
    probe = Probe(conv, copy_network(conv), recording, values, rules)
    before = weights_before(conv, probe, judgements)
    if before is not None:
        network, judgement = _judged_before(conv, recording, values, rules, before)
        if before.handed_back and _breaks(conv, judgements[0], judgement):
            before, judgement = None, judgements[0]  # the activations are of a later run than the gradients
    if before is not None:
        if _refine(before, judgements[0], judgement, copy_network(conv, torch.float64), probe):
            network, judgement = _judged_before(conv, recording, values, rules, before)
        for key, difference in judgement.judged.items():
            first = judgements[0].judged.get(key)
            older_alone = first is None or (before.handed_back and not first.passed)
            if older_alone and difference.passed and has_weights(conv, key):
                before.proven.setdefault(key, (before.scale,))  # only these weights let it be judged
        failed = [key for key in judgement.failed if has_weights(conv, key)]
        # with a decay that is nearly right, a layer may be explained as a whole, and be off in a channel
        nearly = {*before.proven} if before.decayed else set()
        older = tuple(key for key in failed if key in before.doubtful | nearly or key[0] not in before.told)
        # a rule that leaves more layers than it explains was another one, such as SGD with a momentum of earlier steps
        left = {*failed} - {*older} - before.shown
        if not before.known and len(left) > len(before.shown):
            older = tuple(failed)
        rest = {*failed} - {*older}
        if before.remade and rest:
            clipped = explained_by_clipping(before, copy_network(conv, torch.float64), probe, judgement, rest)
            older += tuple(key for key in failed if key in clipped)
        older += tuple(key for key in before.alone if key not in older)
        # where learning rates differ, that of a layer which nothing else judges is not known
        alike = not older and all(
            abs(scale / before.scale - 1) < _ALIKE for scales in before.proven.values() for scale in scales
        )
        if not alike:
            older += tuple(key for key in failed if key[0] in judgement.sequences and key not in older)
        kept = before.keeps_gradients
        seen = witnesses(conv, network, probe.network, judgement, values, rules, sure=alike, kept=kept)
        return Settled(judgement, before, older, {key: seen[key] for key in seen if key[0] in before.told})
    if not was_trained(conv) or any(
        is_newer(backward(probe.network, found, values), probe.network, rules) for found in judgements
    ):
        return Settled(judgement)
    return Settled(judgement, None, tuple(key for key in judgement.failed if has_weights(conv, key)))


def _breaks(conv: ConvertedModel, first: Judgement, second: Judgement) -> bool:
    """Is a layer with weights off in the second judgement that is not in the first?"""
    passed = [key for key, difference in first.judged.items() if difference.passed and has_weights(conv, key)]
    return any(key in second.judged and not second.judged[key].passed for key in passed)


def _judged_before(
    conv: ConvertedModel, recording: Recording, values: tuple[Any, Any], rules: Rules, before: Before
) -> tuple[Network, Judgement]:
    """The network with the weights before the last step, and what came of it."""
    network = copy_network(conv).changed(before.changes)
    return network, Probe(conv, network, recording, values, rules, copy_network(conv)).judge_in(before.mode)


def _refine(before: Before, first: Judgement, judgement: Judgement, network: Network, probe: Probe) -> bool:
    """Makes the length of a step more exact by layers that only the weights before it let judge; tells whether it did.

    Args:
        before: the weights before the step.
        first: what came of the weights in the file.
        judgement: what came of those before the step.
        network: the network with the weights of the file.
        probe: runs it on the activations of the file.
    """
    new = [key for key in judgement.failed if key not in first.judged]
    alike = all(abs(scale / before.scale - 1) < _ALIKE for scales in before.proven.values() for scale in scales)
    if before.known or not new or not alike:
        return False
    search = Search(UNKNOWN_STEP, before.changes, network, probe, judgement)
    factor = search.refined(1.0)
    if factor == 1 or abs(factor - 1) > _ALIKE:
        return False
    before.scale *= factor
    before.changes = {name: factor * change for name, change in before.changes.items()}
    before.proven = {key: tuple(factor * scale for scale in scales) for key, scales in before.proven.items()}
    return True


def has_weights(conv: ConvertedModel, key: Key) -> bool:
    """Has the layer of a key parameters?"""
    return any(True for _ in conv.layers[key[0]].module.parameters())


def explained_by_clipping(
    before: Before, network: Network, probe: Probe, judgement: Judgement, failed: Collection[Key]
) -> set[Key]:
    """The layers that are off, and would not be if a script had clipped the gradients at some size before the step.

    Where that can't be tried, since the gradients depend on what the step has changed, a layer counts as explained if
    some gradient of it is larger than all of the layers that are explained without.

    Args:
        before: the weights before a step of SGD along gradients that were made again.
        network: the network with the weights of the file.
        probe: runs it on the activations of the file.
        judgement: what came of that with the weights before the step.
        failed: the layers that are off.
    """
    names = names_of_parameters(network, probe.sequences)
    steps = {name: change - before.decayed.get(name, 0.0) for name, change in before.changes.items()}
    most = {
        key: max(float(steps[name].abs().max()) for name in names.get(key[0], ()) if name in steps)
        for key in {*failed, *before.proven, *before.alone}
        if any(name in steps for name in names.get(key[0], ()))
    }
    shown = {*before.proven, *before.alone} - {*failed}
    unclipped = max((most[key] for key in shown if key in most), default=0.0)
    larger = [key for key in failed if most.get(key, 0.0) > unclipped]
    if not larger:
        return set()
    exact = {key for key, back in backward(network, judgement, probe.values).items() if back.parameters}
    tried = [key for key in larger if key in exact and key[0] not in probe.sequences]
    attempts = _Attempts(steps, before.decayed, network, probe, judgement)
    return {*larger} - {*tried} | {key for key in tried if attempts.explain(key, unclipped, most[key])}


class _Attempts:
    """Steps along gradients that were clipped at several sizes, in terms of the change that they made."""

    def __init__(
        self,
        steps: Mapping[str, torch.Tensor],
        decayed: Mapping[str, torch.Tensor],
        network: Network,
        probe: Probe,
        judgement: Judgement,
    ) -> None:
        self.steps = steps
        self.decayed = decayed
        self.network = network
        self.probe = probe
        self.judgement = judgement
        self.seen: dict[float, dict[Key, torch.Tensor]] = {}

    def off(self, key: Key, size: float) -> torch.Tensor | None:
        """How far the numbers of a layer are off, in tolerances; None where that is not known."""
        if size not in self.seen:
            cut = {name: step.clamp(-size, size) for name, step in self.steps.items()}
            changes = {name: step + self.decayed.get(name, 0.0) for name, step in cut.items()}
            search = Search(UNKNOWN_STEP, changes, self.network, self.probe, self.judgement)
            self.seen[size] = search.distances()
        return self.seen[size].get(key)

    def explain(self, key: Key, smallest: float, largest: float) -> bool:
        """Is there a size between these at which a layer is not off?"""
        first = max(smallest, _SMALLEST * largest)
        sizes = [first * (largest / first) ** (i / (_SIZES - 1)) for i in range(_SIZES)]
        found = [off for size in sizes if (off := self.off(key, size)) is not None]
        if len(found) < len(sizes):
            return True  # nothing is known of it
        best = min(range(_SIZES), key=[float(off.norm()) for off in found].__getitem__)
        return any(self.refine(key, sizes, best, other) for other in (best - 1, best + 1) if 0 <= other < _SIZES)

    def refine(self, key: Key, sizes: Sequence[float], best: int, other: int) -> bool:
        """Follows the straight line on which the numbers are off between two sizes, until they are not."""
        one, two = sizes[other], sizes[best]
        for _ in range(_ROUNDS):
            far, near = self.off(key, one), self.off(key, two)
            if near is None or far is None or not math.isfinite(two):
                return False
            if float(near.abs().max()) <= 1:
                return True
            slope = near - far
            if one == two or not bool(slope.any()):
                return False
            one, two = two, two - (two - one) * float((near * slope).sum() / (slope * slope).sum())
            if two <= 0:
                return False
        return False

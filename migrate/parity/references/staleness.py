"""Tells activations that are older than the weights from a layer that is wrong.

Where the file holds what the last step did, the weights before it are made again, and the layers are judged with them.
Where it does not, a layer that is off may be either, and is not judged. Nothing is decided by how much it is off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...model.conversion import ConvertedModel
from ..judge.tolerances import Rules
from ..network_copies import copy_network
from .layers_without_input import Witness, witnesses
from .recorded_activations import Recording, was_trained
from .recorded_gradients import backward, is_newer
from .recorded_layers import Judgement, Key, Probe
from .step_search import Before
from .weights_before import weights_before

#: Why a layer is not judged.
OLDER = "not judged: older than the weights; what the last step did to them is not in the file"


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
        network = copy_network(conv).changed(before.changes)
        judgement = Probe(conv, network, recording, values, rules, probe.network).judge_in(before.mode)
        failed = [key for key in judgement.failed if has_weights(conv, key)]
        older = tuple(key for key in failed if key in before.doubtful or key[0] not in before.told)
        # a rule that leaves more layers than it explains was another one, such as SGD with a momentum of earlier steps
        left = {*failed} - {*older} - before.shown
        if not before.known and len(left) > len(before.shown):
            older = tuple(failed)
        # where learning rates differ, that of a layer which nothing else judges is not known
        alike = not older and all(
            abs(scale / before.scale - 1) < 1e-3 for scales in before.proven.values() for scale in scales
        )
        if not alike:
            older += tuple(key for key in failed if key[0] in judgement.sequences and key not in older)
        seen = witnesses(conv, network, probe.network, judgement, values, rules, sure=alike)
        return Settled(judgement, before, older, {key: seen[key] for key in seen if key[0] in before.told})
    if not was_trained(conv) or any(
        is_newer(backward(probe.network, found, values), probe.network, rules) for found in judgements
    ):
        return Settled(judgement)
    return Settled(judgement, None, tuple(key for key in judgement.failed if has_weights(conv, key)))


def has_weights(conv: ConvertedModel, key: Key) -> bool:
    """Has the layer of a key parameters?"""
    return any(True for _ in conv.layers[key[0]].module.parameters())

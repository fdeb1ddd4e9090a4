"""Finds the weights that a model had before the last step of its optimizer, with which it made its activations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

import torch

from ...model.conversion import ConvertedModel
from ...model.layer_record import LayerRecord
from ...optim.flat_parameters import parameters
from ...optim.last_step import Step, change_of_parameters, last_steps, region_of
from ..network_copies import Network, copy_network
from .recorded_gradients import backward
from .recorded_layers import Judgement, Probe
from .step_search import ROUNDS, Before, Search, names_of_parameters

#: A step that leaves less than this, in tolerances, needs no decay of weights; one that needs it leaves so much more.
_NEAR, _MORE_NEARLY = 0.1, 8

#: A step of which the file tells nothing.
_UNKNOWN = Step("SGD", None, {})


def weights_before(conv: ConvertedModel, probe: Probe, judgements: list[Judgement]) -> Before | None:
    """The weights before the last step, if that step explains what some layer answered; else None.

    Args:
        conv: the converted model.
        probe: runs it on the activations of its file.
        judgements: what came of that in each mode in which the layers may have run.
    """
    network = copy_network(conv, torch.float64)
    for step in last_steps(conv):
        with suppress(RuntimeError, ValueError, TypeError, LookupError, AssertionError):
            changes = change_of_parameters(conv, step.direction)
            found = _longest(Search(step, changes, network, probe, judgement).run() for judgement in judgements)
            if found is not None:
                found.told = frozenset(i for i, layer in enumerate(conv.layers) if _is_told(layer, step))
                return found
    return _longest(_by_gradients_of_inputs(network, probe, judgement) for judgement in judgements)


def _is_told(layer: LayerRecord, step: Step) -> bool:
    """Is it known what a step did to all parameters of a layer in the file?"""
    held = parameters(layer.object, once=True)
    return bool(held) and all(region_of(tensor) in step.direction for tensor in held)


def _longest(found: Iterable[Before | None]) -> Before | None:
    """What leaves the fewest layers unexplained, and explains most."""
    return max((before for before in found if before is not None), key=_score, default=None)


def _score(before: Before) -> tuple[int, float]:
    return -before.unexplained, before.score


def _by_gradients_of_inputs(network: Network, probe: Probe, judgement: Judgement) -> Before | None:
    """The weights before a step of SGD whose gradients have been zeroed: those of the inputs give them again."""
    users = Counter(name for names in names_of_parameters(network).values() for name in names)
    changes: dict[str, torch.Tensor] = {}
    for key, back in backward(network, judgement, probe.values).items():
        # the parameters of a sequence may be more than Torch7's, as the two biases of an LSTM are
        if key[0] in probe.sequences or _is_worked_out(network.layers, network.layers[key[0]].path):
            continue
        for name, gradient in back.parameters.items():
            changes[name] = changes[name] + gradient if name in changes else gradient
            users[name] -= 1
    changes = {name: change for name, change in changes.items() if users[name] == 0}
    found = Search(_UNKNOWN, changes, network, probe, judgement).run() if changes else None
    if found is not None:
        found = _with_decay(found, changes, network, probe, judgement)
    if found is not None:
        known = ((i, names) for i, names in names_of_parameters(network).items() if names)
        found.told = frozenset(i for i, names in known if all(name in changes for name in names))
    return found


def _is_worked_out(layers: Sequence[LayerRecord], path: str) -> bool:
    """Does a layer around this one learn parameters, of which the weights of this one are worked out?"""
    return any(layer.traits.parameters and path.startswith(f"{layer.path}.") for layer in layers)


def _with_decay(
    plain: Before, gradients: dict[str, torch.Tensor], network: Network, probe: Probe, judgement: Judgement
) -> Before:
    """The same with the decay of the weights that the step may have had, which only its gradients would have shown.

    One factor of the weights, or of all that is no vector, has to explain what the gradients do not. Of a single layer
    it would explain a wrong weight too: that layer is then not judged.
    """
    best, least = plain, (plain.unexplained, math.inf)
    held = {name: p.detach().double() for name, p in network.module.named_parameters() if name in gradients}
    search = Search(_UNKNOWN, held, network.changed(plain.changes), probe, judgement)
    rest = [key for key in search.failed if key not in plain.proven]
    _, before = search.nearer([*plain.proven])
    if not rest and before < _NEAR:
        return plain
    rest = rest or [*plain.proven]
    for names in (list(held), [name for name, weight in held.items() if weight.dim() > 1]):
        # the weights before the step decay: (weight + lr * gradient) / (1 - lr * decay)
        first = {name: held[name] + plain.scale * gradients[name] for name in names}
        for factor in Search(_UNKNOWN, first, network.changed(plain.changes), probe, judgement).lengths(rest):
            found, decay, off, proven = plain, factor / plain.scale, 0.0, math.inf
            for _ in range(ROUNDS):
                weights = {name: held[name] + found.scale * gradients[name] for name in names}
                changes = gradients | {name: gradients[name] + decay * weights[name] for name in names}
                nearer = Search(_UNKNOWN, changes, network, probe, judgement).run()
                if nearer is None or nearer.unexplained > max(plain.unexplained - 1, 0):
                    break
                found = nearer
                again = Search(_UNKNOWN, weights, network.changed(found.changes), probe, judgement)
                more, off = again.nearer([key for key in rest if key in found.proven])
                decay += more / found.scale
                _, proven = again.nearer([*plain.proven])
            found = replace(found, name=f"SGD with a weight decay of {decay / (1 + decay * found.scale):.4g}")
            # of more than one layer
            explains = found.unexplained + 1 < plain.unexplained
            improves = found.unexplained <= plain.unexplained and proven < before / _MORE_NEARLY
            if (explains or improves) and (found.unexplained, off) < least:
                best, least = found, (found.unexplained, off)
            elif found.unexplained < plain.unexplained:
                plain.doubtful |= {*found.proven} - {*plain.proven}
            if not best.unexplained and best is not plain:
                break
    return best

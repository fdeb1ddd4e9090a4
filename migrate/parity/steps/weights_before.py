"""Finds the weights that a model had before the last step of its optimizer, with which it made its activations."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import torch

from ...model.conversion import ConvertedModel
from ...model.layer_record import LayerRecord
from ...optim.flat_parameters import parameters
from ...optim.last_step import Step, change_of_parameters, last_steps, region_of
from ..network_copies import Network, copy_network
from ..references.recorded_gradients import backward
from ..references.recorded_layers import Judgement, Probe
from .decays import with_decay
from .handed_back_length import by_length_handed_back
from .step_search import Before, Search, names_of_parameters
from .zeroed_gradients import Settling, Zeroed


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
            found = found or _by_what_was_handed_back(step, changes, network, probe, judgements[0])
            found = found or by_length_handed_back(step, changes, network, probe, judgements[0])
            if found is not None:
                found.told = frozenset(i for i, layer in enumerate(conv.layers) if _is_told(layer, step))
                return found
    return _longest(_by_gradients_of_inputs(Zeroed(conv, network, probe, judgement)) for judgement in judgements)


def _by_what_was_handed_back(
    step: Step, changes: dict[str, torch.Tensor], network: Network, probe: Probe, judgement: Judgement
) -> Before | None:
    """The weights before a step of which the file tells the length, if gradients of inputs show that it was made.

    Some layer must have handed back what its weights before the step do, and those of the file do not.
    """
    if step.scale is None:
        return None
    moved = {name: step.scale * change for name, change in changes.items()}
    now, then = (backward(net, judgement, probe.values) for net in (network, network.changed(moved)))
    for key, back in then.items():
        record = network.layers[key[0]]
        if key not in now or not back.sure or not any(True for _ in record.module.parameters()):
            continue
        fits, old = back.agrees(probe.rules, record), now[key].agrees(probe.rules, record)
        if fits is not None and fits.passed and old is not None and not old.passed:
            found = Before(step.name, step.scale, True, judgement.mode, moved, unexplained=len(judgement.failed))
            found.keeps_gradients = step.keeps_gradients
            return found
    return None


def _is_told(layer: LayerRecord, step: Step) -> bool:
    """Is it known what a step did to all parameters of a layer in the file?"""
    held = parameters(layer.object, once=True)
    return bool(held) and all(region_of(tensor) in step.direction for tensor in held)


def _longest(found: Iterable[Before | None]) -> Before | None:
    """What leaves the fewest layers unexplained, and explains most."""
    return max((before for before in found if before is not None), key=_score, default=None)


def _score(before: Before) -> tuple[int, float]:
    return -before.unexplained, before.score


def _by_gradients_of_inputs(zeroed: Zeroed) -> Before | None:
    """The weights before a step of SGD whose gradients have been zeroed: those of the inputs give them again.

    Gradients that depend on the weights are those of the weights before the step, so that they are made again with the
    weights that are found.
    """
    gradients = zeroed.gradients({})
    if not gradients.steps:
        return None
    search = zeroed.search(gradients.steps)
    found = search.run()
    moving = [key for key in search.failed if key in gradients.moving]
    settled = True
    for start in moving if found is None else [None]:
        attempt = Settling(zeroed, moving, gradients, found)
        settled = attempt.run(search, start)
        if attempt.found is not None:
            gradients, found = attempt.gradients, attempt.found
            break
    found = with_decay(zeroed, gradients, found)
    if found is not None:
        found.remade = True
        known = (
            (i, names) for i, names in names_of_parameters(zeroed.network, zeroed.probe.sequences).items() if names
        )
        found.told = frozenset(i for i, names in known if all(name in gradients.steps for name in names))
        if not settled and not found.decayed:
            found.doubtful |= {key for key in moving if key not in found.proven}
    return found

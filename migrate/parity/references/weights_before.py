"""Finds the weights that a model had before the last step of its optimizer, with which it made its activations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from ...model.conversion import ConvertedModel
from ...model.layer_record import LayerRecord
from ...optim.flat_parameters import parameters
from ...optim.last_step import Step, change_of_parameters, last_steps, region_of, step_of_gradients
from ..network_copies import Network, copy_network
from ..runs.step_lines import fitted
from .recorded_gradients import backward
from .recorded_layers import Judgement, Key, Probe
from .step_search import ROUNDS, UNKNOWN_STEP, Before, Search, names_of_parameters

#: A step that leaves less than this, in tolerances, needs no decay of weights; one that needs it leaves so much more.
_NEAR, _MORE_NEARLY = 0.1, 8

#: Rounds in which gradients are made again, and the share by which they then no longer change.
_ROUNDS_OF_GRADIENTS, _SETTLED = 24, 1e-9

#: More layers than one.
_SEVERAL = 2


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
            if found is not None:
                found.told = frozenset(i for i, layer in enumerate(conv.layers) if _is_told(layer, step))
                return found
    return _longest(_by_gradients_of_inputs(conv, network, probe, judgement) for judgement in judgements)


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
            return Before(step.name, step.scale, True, judgement.mode, moved, unexplained=len(judgement.failed))
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


def _by_gradients_of_inputs(
    conv: ConvertedModel, network: Network, probe: Probe, judgement: Judgement
) -> Before | None:
    """The weights before a step of SGD whose gradients have been zeroed: those of the inputs give them again.

    Gradients that depend on the weights are those of the weights before the step, so that they are made again with the
    weights that are found.
    """
    changes = _gradients_again(conv, network, probe, judgement)
    search = Search(UNKNOWN_STEP, changes, network, probe, judgement)
    found = search.run() if changes else None
    # layers whose gradients depend on weights, or are worked out of them
    moving = [key for key in search.failed if key[0] in probe.sequences or _is_linear(network.layers[key[0]])]
    settled = True
    for start in moving if found is None else [None]:
        attempt = _Settling(conv, network, probe, judgement, moving)
        settled = attempt.run(search, changes, found, start)
        if attempt.found is not None:
            changes, found = attempt.changes, attempt.found
            break
    if found is not None:
        found = _with_decay(found, changes, network, probe, judgement)
    elif changes:
        found, settled = _decayed(changes, network, probe, judgement), False
    if found is not None:
        found.remade, found.decays = True, found.name != UNKNOWN_STEP.name
        known = ((i, names) for i, names in names_of_parameters(network, probe.sequences).items() if names)
        found.told = frozenset(i for i, names in known if all(name in changes for name in names))
        if not settled:
            found.doubtful |= {key for key in moving if key not in found.proven}
    return found


@dataclass
class _Settling:
    """Makes gradients again with the weights that they give, until these no longer change.

    Attributes:
        conv: the converted model.
        network: a copy of it in float64.
        probe: runs it on the activations of its file.
        judgement: what came of that.
        moving: the layers whose gradients change with the weights.
        changes: what a step along the last gradients changes.
        found: the weights before the step.
    """

    conv: ConvertedModel
    network: Network
    probe: Probe
    judgement: Judgement
    moving: Sequence[Key]
    changes: dict[str, torch.Tensor] = field(default_factory=dict)
    found: Before | None = None

    def run(self, search: Search, changes: dict[str, torch.Tensor], found: Before | None, start: Key | None) -> bool:
        """Tells whether the gradients are those of the weights that they give, as far as matters.

        Args:
            search: that with the gradients of the weights in the file.
            changes: what a step along these changes.
            found: the weights before it, if some layer is explained.
            start: the layer whose own length of the step is taken as long as none is.
        """
        self.changes, self.found = changes, found
        most, before = math.inf, math.inf
        for _ in range(_ROUNDS_OF_GRADIENTS):
            if self.found is not None:
                scale = self.found.scale
                # explained by gradients that are nearly right is not enough: other backends have their own tolerances
                if all(search.off(key, scale) <= _NEAR for key in self.moving):
                    return True
            else:
                scale = 0.0 if start is None else search.best_for(start)
                off = math.inf if start is None else search.off(start, scale)
                # the first gradients are nearly right; each round halves what is left at least
                before = before if before < math.inf else search.off(start, 0.0) if start is not None else 0.0
                if off > before / 2 or scale <= 0:
                    return False
                before = off
            earlier = self.network.changed({name: scale * change for name, change in self.changes.items()})
            again = _gradients_again(self.conv, earlier, self.probe, self.judgement)
            moved = max((_moved(self.changes.get(name), change) for name, change in again.items()), default=0.0)
            self.changes = again
            search = Search(UNKNOWN_STEP, again, self.network, self.probe, self.judgement)
            self.found = search.run() or self.found
            if moved <= _SETTLED or moved > most:
                return moved <= _SETTLED
            most = moved
        return False


def _moved(old: torch.Tensor | None, new: torch.Tensor) -> float:
    """The share of the largest number by which something has changed."""
    most = float(new.abs().max()) if new.numel() else 0.0
    return 0.0 if not most else math.inf if old is None else float((new - old).abs().max()) / most


def _is_linear(layer: LayerRecord) -> bool:
    return isinstance(layer.module, nn.Linear)


def _gradients_again(
    conv: ConvertedModel, network: Network, probe: Probe, judgement: Judgement
) -> dict[str, torch.Tensor]:
    """The step along the gradients that the gradients of the inputs give, where all that use a parameter are known."""
    users = {
        name: {i for i, names in names_of_parameters(network).items() if name in names}
        for name, _ in network.module.named_parameters()
    }
    gradients: dict[str, torch.Tensor] = {}
    for key, back in backward(network, judgement, probe.values, solve=True).items():
        if _is_worked_out(network.layers, network.layers[key[0]].path):
            continue
        for name, gradient in back.parameters.items():
            gradients[name] = gradients[name] + gradient if name in gradients else gradient
            users[name] -= {key[0], *probe.sequences.get(key[0], ())}
    return step_of_gradients(conv, {name: g for name, g in gradients.items() if not users[name]})


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
    search = Search(UNKNOWN_STEP, held, network.changed(plain.changes), probe, judgement)
    rest = [key for key in search.failed if key not in plain.proven]
    _, before = search.nearer([*plain.proven])
    if not rest and before < _NEAR:
        return plain
    rest = rest or [*plain.proven]
    for names in (list(held), [name for name, weight in held.items() if weight.dim() > 1]):
        # the weights before the step decay: (weight + lr * gradient) / (1 - lr * decay)
        first = {name: held[name] + plain.scale * gradients[name] for name in names}
        for factor in Search(UNKNOWN_STEP, first, network.changed(plain.changes), probe, judgement).lengths(rest):
            found, decay, off, proven = plain, factor / plain.scale, 0.0, math.inf
            for _ in range(ROUNDS):
                weights = {name: held[name] + found.scale * gradients[name] for name in names}
                changes = gradients | {name: gradients[name] + decay * weights[name] for name in names}
                nearer = Search(UNKNOWN_STEP, changes, network, probe, judgement).run()
                if nearer is None or nearer.unexplained > max(plain.unexplained - 1, 0):
                    break
                found = nearer
                again = Search(UNKNOWN_STEP, weights, network.changed(found.changes), probe, judgement)
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


def _decayed(gradients: dict[str, torch.Tensor], network: Network, probe: Probe, judgement: Judgement) -> Before | None:
    """The weights before a step whose decay of the weights shows in every layer, so that none is explained without it.

    One learning rate and one decay of all weights, or of all that is no vector, have to explain more than one layer.
    """
    held = {name: p.detach().double() for name, p in network.module.named_parameters() if name in gradients}
    along = Search(UNKNOWN_STEP, gradients, network, probe, judgement)
    best = None
    for names in (list(held), [name for name, weight in held.items() if weight.dim() > 1]):
        weights = {name: held[name] if name in names else torch.zeros_like(held[name]) for name in held}
        pairs = along.beside(Search(UNKNOWN_STEP, weights, network, probe, judgement))
        for key in pairs:
            lines = [pairs[key]]
            for _ in range(ROUNDS):  # at first by one layer, then by all that it explains
                # the weights before the step decay: (weight + lr * gradient) / (1 - lr * decay)
                rates = fitted(lines)
                if rates is None or min(rates) <= 0:
                    break
                grown, decay = 1 + rates[1], rates[1] / rates[0]
                changes = {name: (gradient + decay * weights[name]) * grown for name, gradient in gradients.items()}
                step = Step(f"SGD with a weight decay of {decay:.4g}", None, {})
                found = Search(step, changes, network, probe, judgement).run()
                if found is None or len(found.proven) < _SEVERAL:
                    break
                if best is None or found.unexplained < best.unexplained:
                    best = found
                if not best.unexplained:
                    return best
                lines = [pairs[other] for other in found.proven if other in pairs]
        if best is not None:
            return best
    return best

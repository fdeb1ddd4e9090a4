"""How long the last step of an optimizer was, by the gradients of inputs alone.

Where what the layers got is not in the file, or answers of one number tell too little, the gradient that a layer handed
back tells the weights with which it did: those of the file, and one number times the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn

from ...base.tensor_trees import as_one
from ...model.build import to_torch_tensor
from ...optim.last_step import Step
from ...t7 import Tensor
from ..network_copies import Network, leaf_indices
from ..references.gradients_of_inputs import recorded_gradients
from ..references.recorded_gradients import backward, of_whole
from ..references.recorded_layers import Judgement, Key, Probe
from ..runs.step_lines import LEAST, Line, refined
from .step_search import DIGITS, Before, names_of_parameters

#: The share of the weights by which they are moved to get a slope, which is the same everywhere.
_FIRST = 1e-3


def by_length_handed_back(
    step: Step, changes: Mapping[str, torch.Tensor], network: Network, probe: Probe, judgement: Judgement
) -> Before | None:
    """The weights before a step, if one length of it explains what layers with weights handed back; else None.

    Args:
        step: of which the file tells no length.
        changes: its direction, by the names of the converted parameters.
        network: the network with the weights of the file.
        probe: runs it on the activations of the file.
        judgement: what came of that.
    """
    if step.scale is not None:
        return None
    by_layer = [*_of_backward(changes, network, probe, judgement), *_of_single_samples(changes, network, probe)]
    lines = [line for _, line in by_layer]
    best, most = 0.0, 0.0
    for scale in [line.own for line in lines if line.own > 0]:
        if (digits := sum(line.digits(scale) for line in lines)) > most:
            best, most = scale, digits
    if most < DIGITS:
        return None
    best = refined(lines, best)
    moved = {name: best * change for name, change in changes.items()}
    found = Before(step.name, best, False, judgement.mode, moved, score=most, unexplained=len(judgement.failed))
    found.keeps_gradients, found.handed_back = step.keeps_gradients, True
    found.shown = frozenset(key for key, line in by_layer if line.digits(best))
    return found


def _of_backward(
    changes: Mapping[str, torch.Tensor], network: Network, probe: Probe, judgement: Judgement
) -> Iterator[tuple[Key, Line]]:
    """What layers handed back along the step, where it is known what they were given."""
    nearby = _nearby(changes, network)
    nets = network, network.changed({name: nearby * change for name, change in changes.items()})
    now, then = (backward(net, judgement, probe.values) for net in nets)
    names = names_of_parameters(network)
    for key, back in now.items():
        other, told = then.get(key), [name for name in names.get(key[0], ()) if name in changes]
        if not told or not back.sure or back.expected is None or back.input is None:
            continue
        if other is None or other.input is None or back.input.numel() != back.expected.numel():
            continue
        one, two = (each.double().reshape(-1) for each in (back.input, other.input))
        atol = of_whole(probe.rules.layer(network.layers[key[0]]), back.expected).atol
        if atol >= LEAST:
            yield key, _line(back.expected.double().reshape(-1) - one, (two - one) / nearby, atol, changes, told)


def _of_single_samples(
    changes: Mapping[str, torch.Tensor], network: Network, probe: Probe
) -> Iterator[tuple[Key, Line]]:
    """What linear layers handed back of the gradient of one sample, which is that of their bias."""
    recorded = recorded_gradients(network)
    names = {id(parameter): name for name, parameter in network.module.named_parameters()}
    for index in leaf_indices(network.layers):
        record = network.layers[index]
        module, answer = record.module, as_one(probe.recording.outputs.get(index))
        slope, handed = record.object.get("gradBias"), recorded.found.get((index, ()))
        if not isinstance(module, nn.Linear) or not isinstance(slope, Tensor) or handed is None:
            continue
        if not isinstance(answer, torch.Tensor) or answer.numel() != module.out_features:
            continue
        name = names.get(id(module.weight), "")
        if name not in changes or handed.numel() != module.in_features or not recorded.only((index, ())):
            continue
        given, expected = to_torch_tensor(slope).double().reshape(1, -1), handed.double().reshape(-1)
        atol = of_whole(probe.rules.layer(record), expected).atol
        if given.numel() == module.out_features and atol >= LEAST:
            weight, change = module.weight.detach().double(), changes[name].double()
            yield (index, 1), _line(expected - (given @ weight)[0], (given @ change)[0], atol, changes, [name])


def _line(
    off: torch.Tensor, slope: torch.Tensor, atol: float, changes: Mapping[str, torch.Tensor], told: list[str]
) -> Line:
    sizes = torch.cat([changes[name].abs().reshape(-1).double() for name in told])
    return Line(0.0, off, slope, atol, sizes / max(float(sizes.max()), LEAST))


def _nearby(changes: Mapping[str, torch.Tensor], network: Network) -> float:
    held = [p.detach() for name, p in network.module.named_parameters() if name in changes and p.numel()]
    size = max((float(parameter.abs().max()) for parameter in held), default=0.0)
    steps = max((float(change.abs().max()) for change in changes.values() if change.numel()), default=0.0)
    return _FIRST * (size or 1.0) / (steps or 1.0)

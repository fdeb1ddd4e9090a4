"""Judges layers whose input is gone by what Torch7's backward pass left: gradInput, gradWeight, gradBias.

A linear layer hands back W' g of a gradient g, whatever its input was: that shows its weights. And the sum of g y' over
all samples, y being what the layer answered, is gradWeight W' + gradBias b': that shows its bias too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...model.conversion import ConvertedModel
from ...optim.last_step import change_of_parameters, gradients_of, region_of
from ...t7 import Tensor
from ..judge.compare import Difference
from ..judge.tolerances import Rules
from ..network_copies import Network, leaf_indices
from ..runs.layers import worst
from .recorded_gradients import Backward, backward, of_whole
from .recorded_layers import UNKNOWN, Judgement, Key, has_running_statistics

_WHOLE = "its input is not in the file; judged by its gradInput, gradWeight and gradBias"
_WEIGHT = "its input is not in the file; its gradInput shows that its weight is right, but nothing judges its bias"
_RATE = "not judged: older than the weights; its gradInput fits a learning rate of its own"
_GRADIENT = "its input is not in the file; judged by its gradInput"

#: A change of a bias that is so many times what the output may be off has to show.
_SHOWN = 10


@dataclass(frozen=True)
class Witness:
    """What the backward pass says of a layer.

    Attributes:
        own: its error; None where not all of its parameters could be judged.
        remark: how it was judged.
    """

    own: Difference | None
    remark: str


def witnesses(
    conv: ConvertedModel,
    network: Network,
    now: Network,
    judgement: Judgement,
    values: tuple[Any, Any],
    rules: Rules,
    *,
    sure: bool,
) -> dict[Key, Witness]:
    """What the backward pass says of the layers with weights whose input is not known.

    Args:
        conv: the converted model.
        network: a copy of it with the weights with which the backward pass ran.
        now: one with the weights of the file.
        judgement: what came of a run on the activations.
        values: two inputs, as `Probe` takes them.
        rules: the tolerances.
        sure: are these weights known to be those? Otherwise a difference says nothing.
    """
    inner = leaf_indices(network.layers)
    wanted = [key for key, reason in judgement.unjudged.items() if reason == UNKNOWN and key[0] in inner]
    wanted = [key for key in wanted if any(True for _ in network.layers[key[0]].module.parameters())]
    wanted = [key for key in wanted if not has_running_statistics(network, key[0])]  # in which mode, is not known
    backs = backward(network, judgement, values) if wanted else {}
    found: dict[Key, Witness] = {}
    for key in wanted:
        back = backs.get(key)
        if back is None or not back.sure:
            continue
        record = network.layers[key[0]]
        difference = back.agrees(rules, record)
        if difference is None or back.expected is None or not bool(back.expected.any()):
            continue
        if not difference.passed:
            if sure:
                later = backward(now, judgement, values).get(key)
                own = _own_rate(back, later, rules.layer(record).absolute(float(back.expected.abs().max())))
                found[key] = Witness(None, _RATE) if own else Witness(difference, _GRADIENT)
            continue
        if getattr(record.module, "bias", None) is None:
            found[key] = Witness(difference, _GRADIENT)
            continue
        found[key] = Witness(None, _WEIGHT)
        moments = _moments(conv, network, key, back, judgement, rules)
        if moments is not None and (moments.passed or (sure and _are_plain(conv, network, backs, rules))):
            found[key] = Witness(moments, _WHOLE)
    return found


def _own_rate(back: Backward, later: Backward | None, atol: float) -> bool:
    """Would another length of the step explain the gradient of the input?"""
    if back.input is None or back.expected is None or later is None or later.input is None:
        return False
    before, after = back.input.double().reshape(-1), later.input.double().reshape(-1)
    off, slope = back.expected.double().reshape(-1) - before, before - after
    steep = float(slope @ slope)
    more = float(slope @ off) / steep if steep > 0 else 0.0
    return more > -1 and float((off - more * slope).abs().max()) <= atol


def _moments(
    conv: ConvertedModel, network: Network, key: Key, back: Backward, judgement: Judgement, rules: Rules
) -> Difference | None:
    """The sum of gradient times answer over all samples, by the gradients of the parameters and by the activations.

    None where the layer is no such layer, something is missing, or a wrong bias would not show.
    """
    record = network.layers[key[0]]
    module, answer = record.module, judgement.known.get(key)
    if not isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)) or getattr(module, "groups", 1) != 1:
        return None
    if not isinstance(answer, torch.Tensor) or module.bias is None or answer.numel() != back.given.numel():
        return None
    gradients = gradients_of(conv.layers[0].object)
    held = [record.object.get(name) for name in ("weight", "bias")]
    slopes = [gradients[region_of(p)] for p in held if isinstance(p, Tensor) and region_of(p) in gradients]
    if [slope.numel() for slope in slopes] != [module.weight.numel(), module.bias.numel()]:
        return None
    of_weight, of_bias = slopes
    if not bool(of_weight.any()) or not bool(of_bias.any()):
        return None
    outputs = len(of_bias)
    rows = [_by_channel(tensor, module, outputs) for tensor in (back.given, answer)]
    if rows[0] is None or rows[1] is None or rows[0].shape != rows[1].shape:
        return None
    expected = rows[0] @ rows[1].T
    weight, bias = module.weight.detach().double(), module.bias.detach().double()
    got = of_weight.reshape(outputs, -1) @ weight.reshape(outputs, -1).T + torch.outer(of_bias, bias)
    tolerance = rules.layer(record)
    allowed = tolerance.absolute(float(answer.abs().max()))
    if float(of_bias.abs().max()) * _SHOWN * allowed < tolerance.absolute(float(expected.abs().max())):
        return None
    return worst(got, expected, of_whole(tolerance, expected))


def _by_channel(tensor: torch.Tensor, module: nn.Module, outputs: int) -> torch.Tensor | None:
    """One row per output channel, in float64."""
    spatial = 0 if isinstance(module, nn.Linear) else len(module.kernel_size)  # type: ignore[arg-type]
    dim = tensor.dim() - 1 - spatial
    if dim < 0 or tensor.shape[dim] != outputs:
        return None
    return tensor.detach().double().movedim(dim, 0).reshape(outputs, -1)


def _are_plain(conv: ConvertedModel, network: Network, backs: Mapping[Key, Backward], rules: Rules) -> bool:
    """Are the gradients in the file just those of this backward pass: not summed up, clipped, or with a decay?"""
    gradients = change_of_parameters(conv, gradients_of(conv.layers[0].object))
    agree = []
    for key, back in backs.items():
        for name, mine in back.parameters.items():
            if name in gradients and bool(gradients[name].any()):
                tolerance = of_whole(rules.layer(network.layers[key[0]]), gradients[name])
                agree.append(worst(mine.double(), gradients[name], tolerance).passed)
    return bool(agree) and all(agree)

"""Judges layers whose input is gone by what Torch7's backward pass left: gradInput, gradWeight, gradBias.

A linear layer hands back W' g of a gradient g, whatever its input was: that shows its weights. And the sum of g y' over
all samples, y being what the layer answered, is gradWeight W' + gradBias b': that shows its bias too.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...model.build import to_torch_tensor
from ...model.conversion import ConvertedModel
from ...optim.last_step import change_of_parameters, gradients_of, region_of
from ...t7 import Tensor
from ..judge.compare import Difference, Tolerance
from ..judge.tolerances import Rules
from ..network_copies import Network, leaf_indices
from ..references.recorded_activations import changes_input
from ..references.recorded_gradients import Backward, backward, of_whole
from ..references.recorded_layers import UNKNOWN, Judgement, Key, has_running_statistics
from ..runs.handed_back import hand_back
from ..runs.layers import worst
from ..runs.step_lines import Line, fitted
from .step_search import names_of_parameters

_WHOLE = "its input is not in the file; judged by its gradInput, gradWeight and gradBias"
_WEIGHT = "its input is not in the file; its gradInput shows that its weight is right, but nothing judges its bias"
_RATE = "not judged: older than the weights; its gradInput fits a learning rate of its own"
_GRADIENT = "its input is not in the file; judged by its gradInput"

#: Layers that add up what they got, each number times a weight, and those of which the weights are the other way round.
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)

#: Two numbers are fitted to the gradients of so many parameters at least.
_SEVERAL = 2

#: Gradients that differ by a smaller share may be those that were clipped at one size.
_ALIKE = 1e-6

#: What is left of a gradient that was not clipped, as a share of what was cut off of others.
_LEFT = 0.01

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
    kept: bool = True,
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
        kept: are the gradients in the file those of the backward pass? Otherwise a difference of theirs says nothing.
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
        added = _added(conv, network, backs, rules, key)
        for factor, decay in {(1.0, 0.0), added or (1.0, 0.0)}:
            moments = _moments(conv, network, key, backs, judgement, rules, (factor, decay))
            if moments is not None and (moments.passed or (sure and kept and added == (factor, decay))):
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
    conv: ConvertedModel,
    network: Network,
    key: Key,
    backs: Mapping[Key, Backward],
    judgement: Judgement,
    rules: Rules,
    added: tuple[float, float],
) -> Difference | None:
    """The sum of gradient times answer over all samples, by the gradients of the parameters and by the activations.

    None where the layer is no such layer, something is missing, or a wrong bias would not show.
    """
    record = network.layers[key[0]]
    module = record.module
    if not isinstance(module, _LINEAR) or getattr(module, "groups", 1) != 1 or module.bias is None:
        return None
    own, answers, given = False, [], []
    for other in _sharing(network, key, backs):
        answer = judgement.known.get(other)
        if answer is None:  # of the same channel alone, where a layer in place has written over others
            own, answer = True, _under_mask(network, other[0], backs[other])
        if not isinstance(answer, torch.Tensor) or answer.numel() != backs[other].given.numel():
            return None
        answers.append(answer)
        given.append(backs[other].given)
    if not answers:
        return None
    gradients = gradients_of(conv.layers[0].object)
    held = [record.object.get(name) for name in ("weight", "bias")]
    slopes = [gradients[region_of(p)] for p in held if isinstance(p, Tensor) and region_of(p) in gradients]
    if [slope.numel() for slope in slopes] != [module.weight.numel(), module.bias.numel()]:
        return None
    weight, bias = module.weight.detach().double(), module.bias.detach().double()
    factor, decay = added
    if frames := record.traits.reads == "frames":  # Torch7 lays a window out as time x features
        weight = weight.transpose(1, 2).reshape(len(bias), -1)
        slopes[0] = slopes[0].reshape(len(bias), -1)
    of_weight, left = ((s.reshape(p.shape) - decay * p) / factor for s, p in zip(slopes, (weight, bias), strict=True))
    if not bool(of_weight.any()) or not bool(left.any()):
        return None
    outputs = len(bias)
    parts = [[_by_channel(tensor, module, outputs, last=frames) for tensor in tensors] for tensors in (given, answers)]
    found_parts = [[part for part in each if part is not None] for each in parts]
    if any(len(each) < len(answers) for each in found_parts):
        return None
    rows = [torch.cat(each, 1) for each in found_parts]
    if rows[0].shape != rows[1].shape:
        return None
    of_bias = rows[0].sum(1)  # that in the file may have been clipped
    if isinstance(module, _TRANSPOSED):
        of_weight, weight = of_weight.transpose(0, 1), weight.transpose(0, 1)
    expected = rows[0] @ rows[1].T
    got = of_weight.reshape(outputs, -1) @ weight.reshape(outputs, -1).T + torch.outer(of_bias, bias)
    tolerance = rules.layer(record)
    allowed = tolerance.absolute(max(float(answer.abs().max()) for answer in answers))
    whole = of_whole(tolerance, expected)
    if own:
        if not bool(of_bias.abs().min() > 0):
            return None
        got, expected = got.diagonal(), expected.diagonal()
    shown = float(of_bias.abs().min() if own else of_bias.abs().max())
    if shown * _SHOWN * allowed < whole.absolute(float(expected.abs().max())):
        return None
    found = worst(got, expected, whole)
    if not found.passed and _may_be_clipped(expected - got, of_weight, weight, whole):
        return None
    return found


def _sharing(network: Network, key: Key, backs: Mapping[Key, Backward]) -> list[Key]:
    """The layers that have the parameters of one, and with it the gradients of these; none where one is not known."""

    def held(index: int) -> list[object]:
        fields = [network.layers[index].object.get(n) for n in ("weight", "bias", "gradWeight", "gradBias")]
        return [region_of(field) if isinstance(field, Tensor) else None for field in fields]

    mine = held(key[0])
    # of others that share the parameters alone it is not known what their gradients are added to
    users = [i for i in leaf_indices(network.layers) if held(i)[:2] == mine[:2] or held(i)[0] == mine[0]]
    found = [other for other in backs if other[0] in users and held(other[0]) == mine]
    return found if {other[0] for other in found} == {*users} else []


def _may_be_clipped(off: torch.Tensor, of_weight: torch.Tensor, weight: torch.Tensor, allowed: Tolerance) -> bool:
    """Would larger gradients than those in the file, of the weights that have the largest, leave nothing off?

    A script that clips gradients number by number leaves them at the same size, which may be those of this layer alone.

    Args:
        off: what is missing in the products, (outputs, outputs); or in those of each output with itself, (outputs,).
        of_weight: the gradient of the weight, first by outputs.
        weight: the weight, in the same order.
        allowed: what the products may be off.
    """
    sizes, columns = of_weight.reshape(len(off), -1), weight.reshape(len(off), -1)
    largest = sizes.abs() >= (1 - _ALIKE) * sizes.abs().max()
    atol = allowed.atol
    for output, missing in enumerate(off):
        if float(missing.abs().max()) <= atol:
            continue
        cut = largest[output]
        slopes = columns[:, cut] * sizes[output, cut].sign()
        slopes = slopes[output : output + 1] if off.dim() == 1 else slopes
        missing = missing.reshape(-1, 1)
        if not cut.any() or not slopes.any():
            return False
        more = torch.linalg.lstsq(slopes, missing, driver="gelsd").solution
        if float((missing - slopes @ more).abs().max()) > atol:
            return False
        if off.dim() > 1 and slopes.shape[1] <= len(off) and float(more.min()) < -_LEFT * float(more.abs().max()):
            return False  # clipping makes them smaller
    return True


def _under_mask(network: Network, index: int, back: Backward) -> torch.Tensor | None:
    """What a layer answered, wherever the gradient of it is not 0; anything elsewhere.

    None where something else than a layer that sets numbers to 0, or to its limits, has written over it.
    """
    memory = network.layers[index].object.get("output")
    if back.reader is None or not isinstance(memory, Tensor) or memory.numel() != back.given.numel():
        return None
    reader = network.layers[back.reader]
    left = to_torch_tensor(memory).to(network.dtype).reshape(back.given.shape)
    if not changes_input(reader) or any(True for _ in reader.module.parameters()):
        return None
    with suppress(RuntimeError, ValueError, TypeError, IndexError):
        slope = hand_back(network, back.reader, left, torch.ones_like(left), {})[1]
        if slope is None or not bool(((slope == 0) | (slope == 1)).all()):
            return None
        with torch.no_grad():
            again = reader.module.forward(left.clone())
        alive = back.given != 0
        return left if torch.equal(again[alive], left[alive]) and bool((slope[alive] == 1).all()) else None
    return None


def _by_channel(tensor: torch.Tensor, module: nn.Module, outputs: int, *, last: bool) -> torch.Tensor | None:
    """One row per output channel, in float64; `last`: the channels are the last dimension, as of frames."""
    spatial = 0 if last or isinstance(module, nn.Linear) else len(module.kernel_size)  # type: ignore[arg-type]
    dim = tensor.dim() - 1 - spatial
    if dim < 0 or tensor.shape[dim] != outputs:
        return None
    return tensor.detach().double().movedim(dim, 0).reshape(outputs, -1)


def _sums(network: Network, backs: Mapping[Key, Backward]) -> dict[str, torch.Tensor]:
    """The gradient of each parameter, added up over all layers that have it; without those that are not known whole.

    Which these are the file tells, whatever became of the parameters.
    """
    users: dict[object, set[int]] = {}
    place: dict[tuple[int, str], object] = {}
    for i, names in names_of_parameters(network).items():
        for name in names:
            field = network.layers[i].object.get(name.rpartition(".")[2])
            place[i, name] = region_of(field) if isinstance(field, Tensor) else name
            users.setdefault(place[i, name], set()).add(i)
    sums: dict[object, torch.Tensor] = {}
    for (i, _), back in backs.items():
        for name, gradient in back.parameters.items():
            at = place.get((i, name), name)
            fits = at not in sums or sums[at].shape == gradient.shape
            sums[at] = sums[at] + gradient.double() if at in sums and fits else gradient.double()
            users[at] = users.get(at, set()) - {i} if fits else {-1}
    return {name: sums[at] for (_, name), at in place.items() if at in sums and not users[at]}


def _added(
    conv: ConvertedModel, network: Network, backs: Mapping[Key, Backward], rules: Rules, judged: Key
) -> tuple[float, float] | None:
    """What the gradients in the file are of those of this backward pass: so many times these, and weights added.

    None where they are not that in all layers that tell: summed up over several passes, or clipped. Other layers than
    the one that is judged tell of weights that were added.
    """
    gradients = change_of_parameters(conv, gradients_of(conv.layers[0].object))
    own = network.layers[judged[0]].object.get("gradBias")  # as it is in the file, whatever became of the bias
    if isinstance(own, Tensor) and own.numel():
        gradients |= {name: to_torch_tensor(own).double() for name in backs[judged].parameters if name.endswith("bias")}
    held = {name: parameter.detach().double() for name, parameter in network.module.named_parameters()}
    sums = _sums(network, backs)
    lines: dict[Key, list[tuple[Line, Line]]] = {}
    plain = True
    for key, back in backs.items():
        found = [gradients[name].reshape(-1) for name in back.parameters if name in gradients]
        if back.input is None or not found:
            continue  # the former is of a sequence
        # that of a bias before a normalization is nothing but rounding
        rule = of_whole(rules.layer(network.layers[key[0]]), torch.cat(found))
        for name in back.parameters:
            mine = sums.pop(name, None)
            if mine is None or name not in gradients or not bool(gradients[name].any()):
                continue
            whole = gradients[name]
            if whole.shape != mine.shape:
                continue
            plain = plain and worst(mine, whole, rule).passed
            parts = (Line(0.0, whole, slope, rule.atol, mine) for slope in (mine, held[name]))
            lines.setdefault(key, []).append((next(parts), next(parts)))
    if lines and plain:
        return 1.0, 0.0
    others = [pair for key, pairs in lines.items() if key != judged for pair in pairs]
    fit = fitted(others) if len(others) >= _SEVERAL else None
    return fit if fit is not None and fit[0] > 0 else None

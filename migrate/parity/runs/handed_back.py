"""The backward pass of one layer by itself: what it hands back of a gradient, and the gradients of its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ...base.tensor_trees import leaves, moved
from ...model.recurrent_state import forget
from ..network_copies import Network

#: Where a matrix makes some numbers so much smaller than others, what went into it can't be told.
_LEAST = 1e-3

#: Gradients of parameters, by their names.
ByName = dict[str, torch.Tensor]


def hand_back(
    network: Network, index: int, given: torch.Tensor, gradient: torch.Tensor, names: Mapping[int, str]
) -> tuple[torch.Tensor, torch.Tensor | None, ByName]:
    """The gradient of the output in its shape, and those of the input and of the parameters.

    Args:
        network: a network of which no trace is running.
        index: of the layer.
        given: its input.
        gradient: that of its output, of any shape.
        names: those of the parameters, by their identities.
    """
    module = network.layers[index].module
    leaf = moved(given)
    if leaf.is_floating_point():
        leaf.requires_grad_()
    parameters = _parameters(module, names)
    with torch.enable_grad():
        output = module.forward(leaf.clone())
        gradient = gradient.reshape(output.shape).to(output.dtype)
        wanted = [*([leaf] if leaf.requires_grad else []), *parameters.values()]
        made = list(torch.autograd.grad(output, wanted, gradient, allow_unused=True)) if wanted else []
    back = made.pop(0) if leaf.requires_grad else None
    return gradient, back, {name: g for name, g in zip(parameters, made, strict=True) if g is not None}


def hand_back_in_time(
    network: Network, index: int, given: Any, gradients: Sequence[torch.Tensor], names: Mapping[int, str]
) -> ByName:
    """The gradients of the parameters of a sequence, which is run from its beginning.

    Args:
        network: a network of which no trace is running.
        index: of the layer.
        given: its input, which may be a table.
        gradients: those of its outputs, in order.
        names: those of the parameters, by their identities.
    """
    module = network.layers[index].module
    parameters = _parameters(module, names)
    forget(module)
    with torch.enable_grad():
        outputs = [tensor for _, tensor in leaves(module.forward(moved(given)))]
        given_back = [g.reshape(out.shape).to(out.dtype) for g, out in zip(gradients, outputs, strict=True)]
        made = torch.autograd.grad(outputs, list(parameters.values()), given_back, allow_unused=True)
    return {name: gradient for name, gradient in zip(parameters, made, strict=True) if gradient is not None}


def solved(
    network: Network,
    index: int,
    given: torch.Tensor,
    handed_back: torch.Tensor | None,
    names: Mapping[int, str],
    *,
    masked: bool = False,
) -> tuple[torch.Tensor, ByName]:
    """The gradient of the output of a linear layer by what it handed back, and those of its parameters.

    Nothing where that does not tell: a layer of more outputs than inputs hands back the same of many gradients.

    Args:
        network: a network of which no trace is running.
        index: of the layer.
        given: its input.
        handed_back: the gradient of that; None: it is not known.
        names: those of the parameters, by their identities.
        masked: did another layer set some of it to 0 since?
    """
    module = network.layers[index].module
    nothing: tuple[torch.Tensor, ByName] = (torch.zeros(0), {})
    if not isinstance(module, nn.Linear) or handed_back is None or handed_back.numel() != given.numel():
        return nothing
    weight = module.weight.detach().double()
    rows = handed_back.double().reshape(-1, weight.shape[1])
    if not masked:
        gradient = _unmixed(weight, rows)
    else:
        parts = [_unmixed(weight[:, row != 0], row[row != 0].unsqueeze(0)) for row in rows]
        whole = [part for part in parts if part is not None]
        gradient = torch.cat(whole) if whole and len(whole) == len(parts) else None
    if gradient is None:
        return nothing
    parameters = {names[id(module.weight)]: gradient.T @ given.double().reshape(rows.shape)}
    if module.bias is not None:
        parameters[names[id(module.bias)]] = gradient.sum(0)
    return gradient, parameters


def _unmixed(weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
    """What a matrix made these rows of; None where that can't be told."""
    if weight.shape[0] > weight.shape[1] or not bool(rows.any()):
        return None
    sizes = torch.linalg.svdvals(weight)
    if float(sizes.min()) < _LEAST * float(sizes.max()):
        return None
    solution: torch.Tensor = torch.linalg.lstsq(weight.T, rows.T).solution
    return solution.T


def _parameters(module: nn.Module, names: Mapping[int, str]) -> dict[str, nn.Parameter]:
    return {names[id(p)]: p for p in module.parameters() if id(p) in names and p.requires_grad}

"""Which tensors of a layer of the .t7 file go into which of a layer of the target, in which layout."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import nn

from .numbers import sizes
from .runs import Run, own_tensors

#: What a layer without such a tensor computes with.
_NEUTRAL = {"weight": 1.0, "bias": 0.0}


@dataclass(frozen=True)
class Origin:
    """Where the numbers of a tensor come from.

    Attributes:
        path: Torch7 path of the layer; "" is the model itself.
        field: name of the tensor in the converted layer; "" where it has none.
        how: what was done with it, or "".
    """

    path: str
    field: str
    how: str = ""


@dataclass(frozen=True)
class Fit:
    """Tensors for a layer of the target.

    Attributes:
        tensors: by their names in the layer.
        origins: where they come from.
        bias: of a layer whose counterpart has none: what its output lacks; None: nothing.
        axis: of the output along which that bias goes.
        runs: the runs of the layers that they come from.
        wanted: what the layer is to give, before that bias is taken off.
    """

    tensors: dict[str, torch.Tensor]
    origins: dict[str, Origin]
    bias: torch.Tensor | None = None
    axis: int = 1
    runs: tuple[Run, ...] = ()
    wanted: torch.Tensor | None = None


def fits(module: nn.Module, run: Run) -> list[Fit] | str:
    """The ways in which the tensors of a layer fit into one of the target; or why they don't."""
    if isinstance(module, nn.Embedding) != isinstance(run.stock, nn.Embedding):
        return "one looks up rows by an index, the other does not"
    if isinstance(run.stock, nn.RNNBase) or isinstance(module, nn.RNNBase):
        return "only one of them is a recurrent layer of torch.nn"
    wanted, there = own_tensors(module), own_tensors(run.stock)
    names = _named_alike(wanted, there)
    if ("running_mean" in wanted) != ("running_mean" in there):
        return "only one of them normalizes with running statistics"
    choices: list[list[tuple[str, torch.Tensor, Origin]]] = []
    for name, tensor in wanted.items():
        if name not in names:
            if name not in _NEUTRAL or (name == "weight" and "running_mean" not in there):
                return f"it has no {name}, the target's has one of {sizes(tensor)}"
            number = _NEUTRAL[name]
            origin = Origin(run.name, "", f"{number:g}: the layer has no {name}")
            choices.append([(name, torch.full_like(tensor, number), origin)])
            continue
        layouts = _layouts(there[names[name]], tensor)
        if not layouts:
            return f"{name} is {sizes(there[names[name]])}, the target's is {sizes(tensor)}"
        choices.append([(name, data, Origin(run.name, names[name] + run.ending, how)) for data, how in layouts])
    bias = None
    for name in set(_NEUTRAL) & (set(there) - set(names.values())):
        if bool((there[name] == _NEUTRAL[name]).all()):
            continue
        if name != "bias" or "running_mean" in there:
            return f"it has a {name}, the target's has none"
        bias = there[name].detach().reshape(-1)
    weight = there.get("weight")
    axis = -1 if weight is not None and weight.dim() == 2 else 1
    return [
        Fit(
            {name: data for name, data, _ in chosen},
            {name: origin for name, _, origin in chosen},
            bias,
            axis,
            (run,),
            run.output,
        )
        for chosen in product(*choices)
    ]


def _named_alike(wanted: dict[str, torch.Tensor], there: dict[str, torch.Tensor]) -> dict[str, str]:
    """Name in the target -> name in the source; one that is left on each side, as large, is taken for the same."""
    names = {name: name for name in wanted if name in there}
    left, others = [name for name in wanted if name not in names], [name for name in there if name not in names]
    if len(left) == len(others) == 1 and wanted[left[0]].numel() == there[others[0]].numel():
        names[left[0]] = others[0]
    return names


def _layouts(data: torch.Tensor, tensor: torch.Tensor) -> list[tuple[torch.Tensor, str]]:
    """The data in the sizes of a tensor, and what was done for that."""
    data = data.detach()
    found = []
    if data.shape == tensor.shape:
        found.append((data, ""))
    elif data.numel() == tensor.numel() and (
        max(data.dim(), tensor.dim()) < 2 or (min(data.dim(), tensor.dim()) > 1 and data.shape[0] == tensor.shape[0])
    ):
        found.append((data.reshape(tensor.shape), f"reshaped from {sizes(data)}"))
    if data.dim() == tensor.dim() == 2 and data.t().shape == tensor.shape:
        found.append((data.t(), "transposed"))
    return found

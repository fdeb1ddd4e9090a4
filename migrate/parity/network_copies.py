"""Copies of the converted network, each with the layers that it was made of."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..base.tensor_trees import moved
from ..model.conversion import ConvertedModel
from ..model.layer_record import LayerRecord
from ..shapes.dry_run import run
from ..shapes.random_input import floating_type


@dataclass(frozen=True)
class Network:
    """A copy of a converted network, in eval mode.

    Attributes:
        module: the network.
        layers: its layers, in the order of `ConvertedModel.layers`.
        dtype: type of its floating numbers.
        device: where it is.
    """

    module: nn.Module
    layers: Sequence[LayerRecord]
    dtype: torch.dtype
    device: str

    def taken(self, value: Any) -> Any:
        """A copy of an input in the type and on the device of the network."""
        return moved(value, self.dtype, self.device)

    def run(self, value: Any) -> Any:
        """What the network answers, on the CPU."""
        with torch.no_grad():
            return moved(run(self.module, self.taken(value)))

    def twin(self) -> Network:
        """Another copy, which shares the parameters: buffers and states are its own."""
        memo: dict[int, Any] = {id(parameter): parameter for parameter in self.module.parameters()}
        return _copied(self.module, self.layers, memo, self.dtype, self.device)

    def changed(self, changes: Mapping[str, torch.Tensor]) -> Network:
        """Another copy, with something added to its parameters, by their names."""
        memo: dict[int, Any] = {}
        for name, parameter in self.module.named_parameters():
            data = parameter.detach()
            if name in changes:
                data = (data.double() + changes[name].to(data.device)).to(data.dtype)
            memo[id(parameter)] = nn.Parameter(data.clone(), parameter.requires_grad)
        return _copied(self.module, self.layers, memo, self.dtype, self.device)

    def train(self, indices: Sequence[int]) -> None:
        """Puts these layers into training mode, in which Torch7 ran them."""
        for i in indices:
            self.layers[i].module.train()


def copy_network(conv: ConvertedModel, dtype: torch.dtype | None = None, device: str = "cpu") -> Network:
    """A copy of the converted network.

    Args:
        conv: the converted model.
        dtype: type of its floating numbers; None: that of the model.
        device: where it is to run.
    """
    wanted = dtype or floating_type(conv.module)
    memo: dict[int, Any] = {}
    for parameter in conv.module.parameters():  # converted as they are copied, which takes half as long
        data = moved(parameter, wanted if dtype is not None else None, device)
        memo[id(parameter)] = nn.Parameter(data, parameter.requires_grad)
    found = _copied(conv.module, conv.layers, memo, wanted, device)
    found.module.eval().to(device=device, dtype=wanted if dtype is not None else None)
    return found


def _copied(
    module: nn.Module, layers: Sequence[LayerRecord], memo: dict[int, Any], dtype: torch.dtype, device: str
) -> Network:
    made = copy.deepcopy(module, memo)
    records = []
    for record in layers:
        twin = copy.copy(record)
        twin.module = memo.get(id(record.module), record.module)
        records.append(twin)
    return Network(made, records, dtype, device)


def leaf_indices(layers: Sequence[LayerRecord]) -> frozenset[int]:
    """The layers in which there are no other layers."""
    ours = {id(record.module) for record in layers}
    return frozenset(
        i
        for i, record in enumerate(layers)
        if not any(id(part) in ours for part in record.module.modules() if part is not record.module)
    )

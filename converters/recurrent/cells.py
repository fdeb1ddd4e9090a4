"""Package torch/rnn: cells that compute one step of an LSTM or a GRU, and the recurrent layers made of them."""

from __future__ import annotations

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from .sequences import as_lstm
from .steps import GRUStep, LSTMStep, Recurrence, cell_of, recurrence, remembered, tensors_of
from .zero_masks import ZeroMasked, mask_kind

CELL = Traits(reads="numbers", picture="recurrent")


class LSTMCell(nn.Module):
    """One step of an LSTM: turns [x, output, cell] into the next [output, cell].

    Args:
        input_size: size of x.
        hidden_size: size of the cell.
        output_size: size of the output.
        project: the output is a projection.
        mask_zero: where x is all zero, the output and the cell become zero.
    """

    def __init__(
        self, input_size: int, hidden_size: int, output_size: int, project: bool = False, mask_zero: bool = False
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.output_size = output_size
        self.project = project
        self.mask_zero = mask_zero
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, output_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.weight_hr = nn.Parameter(torch.empty(output_size, hidden_size)) if project else None

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        entry, h, c = x
        gates = nn.functional.linear(entry, self.weight_ih, self.bias) + nn.functional.linear(h, self.weight_hh)
        i, f, g, o = gates.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        if self.weight_hr is not None:
            h = nn.functional.linear(h, self.weight_hr)
        if self.mask_zero:
            kept = self.kept(entry)
            h = torch.where(kept, h, torch.zeros_like(h))
            c = torch.where(kept, c, torch.zeros_like(c))
        return [h, c]

    def kept(self, x: torch.Tensor) -> torch.Tensor:
        return (x != 0).any(-1, keepdim=True)

    def extra_repr(self) -> str:
        sizes = f"{self.input_size}, {self.hidden_size}, {self.output_size}"
        return f"{sizes}, project={self.project}, mask_zero={self.mask_zero}"


class MaskedLSTMCell(ZeroMasked, LSTMCell):
    """An `LSTMCell` whose output and cell become zero where `set_zero_mask` said that samples are padding."""


@converts("nn.StepLSTM", traits=Traits(parameters=("weight", "bias", "weightO"), reads="numbers", picture="recurrent"))
def step_lstm(layer: Layer) -> LSTMCell:
    """nn.StepLSTM(inputSize, hiddenSize, [outputSize]), of torch/rnn"""
    layer.ignore("gates", "recompute_backward", "hidden", "gradWeightO", "forceLua")
    mask = mask_kind(layer)
    inputs, project = layer.integer("inputsize"), layer.has("weightO")
    module = layer.make(
        MaskedLSTMCell if mask == "given" else LSTMCell,
        inputs,
        layer.integer("hiddensize"),
        layer.integer("outputsize"),
        project,
        mask != "",
    )
    weight = layer.tensor("weight")
    layer.put(module, "weight_ih", as_lstm(weight[:inputs].t()), field="weight")
    layer.put(module, "weight_hh", as_lstm(weight[inputs:].t()), field="weight")
    layer.put(module, "bias", as_lstm(layer.tensor("bias")))
    if project:
        layer.put(module, "weight_hr", layer.tensor("weightO").t(), field="weightO")
    return module


class GRUCell(nn.Module):
    """One step of a GRU, whose reset gate comes before the matrix product: turns [x, output] into the next output.

    Args:
        input_size: size of x.
        hidden_size: size of the output.
        mask_zero: where x is all zero, the output becomes zero.
    """

    def __init__(self, input_size: int, hidden_size: int, mask_zero: bool = False) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.mask_zero = mask_zero
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        entry, h = x
        size = 2 * self.hidden_size
        inputs = nn.functional.linear(entry, self.weight_ih, self.bias)
        gates = inputs[:, :size] + nn.functional.linear(h, self.weight_hh[:size])
        reset, update = torch.sigmoid(gates).chunk(2, 1)
        candidate = torch.tanh(inputs[:, size:] + nn.functional.linear(reset * h, self.weight_hh[size:]))
        output = (1 - update) * candidate + update * h
        return torch.where(self.kept(entry), output, torch.zeros_like(output)) if self.mask_zero else output

    def kept(self, x: torch.Tensor) -> torch.Tensor:
        return (x != 0).any(-1, keepdim=True)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, mask_zero={self.mask_zero}"


class MaskedGRUCell(ZeroMasked, GRUCell):
    """A `GRUCell` whose output becomes zero where `set_zero_mask` said that samples are padding."""


@converts("nn.StepGRU", traits=CELL)
def step_gru(layer: Layer) -> GRUCell:
    """nn.StepGRU(inputSize, outputSize), of torch/rnn

    The reset gate comes before the matrix product, unlike in nn.GRUCell of PyTorch.
    """
    layer.ignore("gates", "recompute_backward", "forceLua")
    mask = mask_kind(layer)
    inputs = layer.integer("inputsize")
    cls = MaskedGRUCell if mask == "given" else GRUCell
    module = layer.make(cls, inputs, layer.integer("outputsize"), mask != "")
    weight = layer.tensor("weight")
    layer.put(module, "weight_ih", weight[:inputs].t(), field="weight")
    layer.put(module, "weight_hh", weight[inputs:].t(), field="weight")
    return layer.put(module, "bias")


@converts("nn.RecLSTM", traits=CELL)
def rec_lstm(layer: Layer) -> LSTMStep:
    """nn.RecLSTM(inputSize, hiddenSize, [outputSize]), of torch/rnn

    A call is one time step; `forget(module)` starts a new sequence. In a sequencer that happens by itself.
    """
    layer.ignore("inputsize", "zeroOutput", "zeroCell")
    hidden_size, output_size = layer.integer("hiddensize"), layer.integer("outputsize")
    start = start_state(layer, [hidden_size, output_size])
    initial_size = list(start[0].shape) if start else None
    module = layer.make(LSTMStep, cell_of(layer), hidden_size, initial_size, output_size)
    for name, value in zip(("initial_output", "initial_cell"), start, strict=False):
        layer.put(module, name, value, field="startState")
    module.state = remembered(layer, "outputs", "cells")
    return module


@converts("nn.RecGRU", traits=CELL)
def rec_gru(layer: Layer) -> GRUStep:
    """nn.RecGRU(inputSize, outputSize), of torch/rnn

    A call is one time step; `forget(module)` starts a new sequence. In a sequencer that happens by itself. The reset
    gate comes before the matrix product, unlike in nn.GRU of PyTorch.
    """
    layer.ignore("inputsize", "zeroOutput", "_prevOutput")
    size = layer.integer("outputsize")
    start = start_state(layer, [size])
    module = layer.make(GRUStep, cell_of(layer), size, list(start[0].shape) if start else None)
    if start:
        layer.put(module, "initial_output", start[0], field="startState")
    module.state = remembered(layer, "outputs")
    return module


def start_state(layer: Layer, sizes: list[int]) -> list[torch.Tensor]:
    """The state that every sequence starts from, if one was set (setStartState); one tensor, or a table of two."""
    value = layer.value("startState", None)
    if value is None:
        return []
    start = tensors_of(layer, value)
    start = start if isinstance(start, list) else [start]
    if len(start) != len(sizes) or len(set(sizes)) > 1 or any(item.shape[-1:] != (sizes[0],) for item in start):
        layer.refuse("its startState has not the size of its state")
    return start


@converts("nn.LinearRNN", traits=CELL)
def linear_rnn(layer: Layer) -> Recurrence:
    """nn.LinearRNN(inputSize, outputSize, [transfer = nn.Sigmoid()]), of torch/rnn

    A call is one time step; `forget(module)` starts a new sequence. In a sequencer that happens by itself.
    """
    layer.ignore("inputsize", "outputsize")
    return recurrence(layer)


@converts("nn.LookupRNN", traits=Traits(picture="recurrent"))
def lookup_rnn(layer: Layer) -> Recurrence:
    """nn.LookupRNN(nIndex, outputSize, [transfer = nn.Sigmoid()], [merge = nn.CAddTable()]), of torch/rnn

    A call is one time step; `forget(module)` starts a new sequence. In a sequencer that happens by itself.
    """
    layer.ignore("nindex", "outputsize")
    return recurrence(layer)

"""Layers for sequences that projects defined beside their models: crnn, deepspeech.torch, FARNN."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts
from ....model.traits import Traits
from ...recurrent.steps import lstm
from ...tables.containers import MapTable
from .language_models import over_sequences

NEEDS_CUDNN = "cudnn's recurrent layers run on a GPU only"
NOT_PUBLIC = "the project's source is no longer public"


class UnrolledLSTM(nn.Module):
    """Runs a cell over a list of entries (N, D); returns the list of its outputs.

    Args:
        cell: turns [entry, cell state, hidden state] into the next [cell state, hidden state, output].
        hidden_size: size of the states, which start at zero.
        reverse: begin at the last entry; the outputs stay in the order of the entries.
    """

    def __init__(self, cell: nn.Module, hidden_size: int, reverse: bool = False) -> None:
        super().__init__()
        self.cell = cell
        self.hidden_size = hidden_size
        self.reverse = reverse

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        state = [x[0].new_zeros(x[0].shape[0], self.hidden_size)] * 2
        outputs = []
        for entry in reversed(x) if self.reverse else x:
            *state, output = self.cell([entry, *state])
            outputs.append(output)
        return outputs[::-1] if self.reverse else outputs

    def extra_repr(self) -> str:
        return f"hidden_size={self.hidden_size}, reverse={self.reverse}"


@converts("nn.LstmLayer", traits=Traits(children=("lstmUnit",), flow="steps", recurrent=True, picture="recurrent"))
def lstm_layer(layer: Layer) -> UnrolledLSTM:
    """nn.LstmLayer(nIn, nHidden, maxT, [dropout = 0], [reverse = false]), of bgshih/crnn

    Sequences may be longer than maxT, as in Torch7's evaluation.
    """
    layer.ignore("clones", "initState", "rnnState", "drnnState", "maxT", "dropout")
    reverse = layer.flag("reverse", default=False)
    return UnrolledLSTM(layer.module("lstmUnit"), layer.integer("nHidden"), reverse)


class JoinSequences(nn.Module):
    """Gives a module the i-th entries of its input's two lists together; returns the list of its outputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: list[list[torch.Tensor]]) -> list[Any]:
        return [self.module([x[0][i], x[1][i]]) for i in range(len(x[0]))]


@converts("nn.BiRnnJoin", traits=Traits(children=("joinUnit",)))
def bi_rnn_join(layer: Layer) -> JoinSequences:
    """nn.BiRnnJoin(nIn, nOut, maxT), of bgshih/crnn

    Sequences may be longer than maxT, as in Torch7's evaluation.
    """
    layer.ignore("clones", "maxT")
    return JoinSequences(layer.module("joinUnit"))


@converts("nn.SharedParallelTable", traits=Traits(children=("unit",)))
def shared_parallel_table(layer: Layer) -> MapTable:
    """nn.SharedParallelTable(module, maxT), of bgshih/crnn

    Sequences may be longer than maxT, as in Torch7's evaluation.
    """
    layer.ignore("clones", "maxT")
    return MapTable([layer.module("unit")])


@converts("nn.CtcCriterion", traits=Traits(criterion=True))
def ctc_criterion(layer: Layer) -> nn.Module:
    """nn.CtcCriterion(), of bgshih/crnn

    Not converted: a C library of the project computes it.
    """
    layer.refuse("it is a loss for training that a C library of crnn computes; torch.nn.CTCLoss is of the same kind")


@converts("cudnn.BatchBRNN", "cudnn.BatchBRNNReLU", traits=Traits(picture="recurrent", unproven=NEEDS_CUDNN))
def batch_brnn(layer: Layer) -> nn.Sequential:
    """cudnn.BatchBRNNReLU(inputDim, outputDim), of SeanNaren/deepspeech.torch

    A bidirectional layer over sequences (T, N, D) after a batch normalization; its directions are added up.
    """
    layer.ignore("rnn", "modules")
    views = [layer.value("view_in"), layer.value("view_out")]
    return nn.Sequential(*over_sequences(layer, layer.object, views))


@converts("nn.BNFastLSTM", traits=Traits(picture="recurrent", unproven=NOT_PUBLIC))
def batch_normalized_lstm(layer: Layer) -> nn.Module:
    """nn.BNFastLSTM(inputSize, outputSize, [rho], …), of robotsorcerer/FARNN

    Package rnn's nn.FastLSTM around a cell with batch normalization. A call is one time step; `forget(module)` starts a
    new sequence. In a sequencer that happens by itself.
    """
    return lstm(layer)

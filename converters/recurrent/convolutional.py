"""viorik/ConvLSTM: LSTMs whose gates are convolutions of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.recurrent_state import Remembering
from ...model.registry import converts, module_form
from ...model.traits import Traits
from .steps import cell_of, of_package_rnn, remembered


class ConvLSTMStep(Remembering):
    """One step of a convolutional LSTM: `module` turns [x, output, cell] into the next [output, cell].

    Args:
        module: the cell.
        planes: planes of output and cell, which are zero at the start of a sequence.
        first: turns x of the first step into [output, cell]; None: the cell does that too.
    """

    def __init__(self, module: nn.Module, planes: int, first: nn.Module | None = None) -> None:
        super().__init__()
        self.module = module
        self.planes = planes
        self.first = first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state: list[Any] | None = self.state
        if state is None and self.first is not None:
            self.state = self.first(x)
        else:
            if state is None:
                state = [x.new_zeros(*x.shape[:-3], self.planes, *x.shape[-2:])] * 2
            self.state = self.module([x, *state])
        output: torch.Tensor = self.state[0]
        return output

    def extra_repr(self) -> str:
        return f"planes={self.planes}"


module_form("state names", ConvLSTMStep)(("convlstm", ("h", "c")))


@converts("nn.ConvLSTM", "nn.UntiedConvLSTM", traits=Traits(reads="images", recurrent=True, picture="recurrent"))
def conv_lstm(layer: Layer) -> ConvLSTMStep:
    """nn.ConvLSTM(inputSize, outputSize, [rho], kc, km, [stride = 1], [batchSize]), of viorik/ConvLSTM

    A call is one time step; `forget(module)` starts a new sequence. In a sequencer that happens by itself. The first
    step of nn.UntiedConvLSTM has a cell of its own. Torch7 takes batches of batchSize only, here any.
    """
    of_package_rnn(layer)
    layer.ignore("kc", "km", "padc", "padm", "batchSize", "inputSize", "inputGate", "forgetGate", "outputGate")
    layer.ignore("cellGate", "inputGateUntied", "cellGateUntied", "outputGateUntied", "cell2gate", "i2g", "o2g", "p")
    layer.ignore("mono")
    if layer.has("userPrevOutput") or layer.has("userPrevCell"):
        layer.refuse("it was given a state to start each sequence from (userPrevOutput or userPrevCell)")
    if layer.integer("stride", 1) != 1:
        layer.refuse("with a stride the state gets smaller with every step, which Torch7 refuses to run")
    first = layer.module("untiedModule") if layer.typename == "nn.UntiedConvLSTM" else None
    module = ConvLSTMStep(cell_of(layer), layer.integer("outputSize"), first)
    module.state = remembered(layer, "outputs", "cells")
    return module

"""Sequencers that remember nothing between two sequences, as they are written in generated source: plain loops."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.recurrent_state import Remembering
from ...model.registry import module_form
from ...source.forms import Loop, Structure
from .sequencers import Sequencer
from .steps import GRUStep, LSTMStep


class GRUSequence(nn.Module):
    """Runs a GRU cell over a sequence from zeros: over a list, or over the first dimension of a tensor."""

    def __init__(self, cell: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.cell = cell
        self.hidden_size = hidden_size

    def forward(self, x: Any) -> Any:
        h = x[0].new_zeros(*x[0].shape[:-1], self.hidden_size)
        outputs = []
        for step in range(len(x)):
            h = self.cell([x[step], h])
            outputs.append(h)
        return torch.stack(outputs) if isinstance(x, torch.Tensor) else outputs


class LSTMSequence(nn.Module):
    """Runs an LSTM cell over a sequence from zeros: over a list, or over the first dimension of a tensor."""

    def __init__(self, cell: nn.Module, output_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = cell
        self.output_size = output_size
        self.hidden_size = hidden_size

    def forward(self, x: Any) -> Any:
        h = x[0].new_zeros(*x[0].shape[:-1], self.output_size)
        c = x[0].new_zeros(*x[0].shape[:-1], self.hidden_size)
        outputs = []
        for step in range(len(x)):
            h, c = self.cell([x[step], h, c])
            outputs.append(h)
        return torch.stack(outputs) if isinstance(x, torch.Tensor) else outputs


class EachStep(nn.Module):
    """Runs a module on each entry of a list, or of the first dimension of a tensor."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        outputs = [self.module(x[step]) for step in range(len(x))]
        return torch.stack(outputs) if isinstance(x, torch.Tensor) else outputs


module_form("structure", GRUSequence)(Structure(lists=True, cell="GRUCell"))
module_form("structure", LSTMSequence)(Structure(lists=True, cell="LSTMCell"))
module_form("loop", GRUSequence)(Loop("cell", {"h": "hidden_size"}))
module_form("loop", LSTMSequence)(Loop("cell", {"h": "output_size", "c": "hidden_size"}))
module_form("loop", EachStep)(Loop("module"))


@module_form("plain", Sequencer)
def _plain(module: Sequencer) -> nn.Module | None:
    """The same without what keeps a state from one sequence to the next, where the file keeps none."""
    step = module.module
    inside = list(step.modules())[1:]
    if module.remember != "neither" or any(isinstance(part, (Remembering, Sequencer)) for part in inside):
        return None
    if type(step) is GRUStep:
        return None if step.initial_size else GRUSequence(step.module, step.hidden_size)
    if type(step) is LSTMStep:
        return None if step.initial_size else LSTMSequence(step.module, step.output_size, step.hidden_size)
    return None if isinstance(step, Remembering) else EachStep(step)

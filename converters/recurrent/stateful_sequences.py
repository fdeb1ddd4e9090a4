"""Recurrent layers over whole sequences, most of which go on from where the last one ended, as model.py has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class StatefulLSTM(nn.LSTM):
    """An LSTM that goes on from where its last sequence ended, until `state` is set to None or the mode changes.

    Args:
        remember: in which mode: "train", "eval", "both"; all else is as in nn.LSTM.
    """

    state: tuple[torch.Tensor, torch.Tensor] | None = None

    def __init__(self, *sizes: int, remember: str = "both", **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.remember = remember

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        if self.remember == "eval" and self.training:
            self.state = None
        if self.remember == "train" and not self.training:
            self.state = None
        output, (h, c) = super().forward(x, self.state)
        self.state = h.detach(), c.detach()
        return output

    def train(self, mode: bool = True) -> StatefulLSTM:
        if mode != self.training:
            self.state = None
        super().train(mode)
        return self


class StatefulGRU(nn.Module):
    """Runs a GRU cell over a sequence, from where the last one ended, until `state` is set to None or the mode changes.

    Args:
        cell: turns [x, h] into the next h.
        hidden_size: size of h, which is zero at first.
        remember: in which mode: "train", "eval", "both".
    """

    state: torch.Tensor | None = None

    def __init__(self, cell: nn.Module, hidden_size: int, remember: str) -> None:
        super().__init__()
        self.cell = cell
        self.hidden_size = hidden_size
        self.remember = remember

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        if self.remember == "eval" and self.training:
            self.state = None
        if self.remember == "train" and not self.training:
            self.state = None
        h = x[0].new_zeros(*x[0].shape[:-1], self.hidden_size) if self.state is None else self.state
        outputs: list[torch.Tensor] = []
        for step in x:
            h = self.cell([step, h])
            outputs.append(h)
        self.state = h.detach()
        return outputs

    def train(self, mode: bool = True) -> StatefulGRU:
        if mode != self.training:
            self.state = None
        super().train(mode)
        return self


class StatefulCellLSTM(nn.Module):
    """Runs an LSTM cell over a sequence, from where the last one ended, until `state` is None or the mode changes.

    Args:
        cell: turns [x, h, c] into the next [h, c].
        output_size: size of h, which is zero at first.
        hidden_size: size of c, which is zero at first.
        remember: in which mode: "train", "eval", "both".
    """

    state: tuple[torch.Tensor, torch.Tensor] | None = None

    def __init__(self, cell: nn.Module, output_size: int, hidden_size: int, remember: str) -> None:
        super().__init__()
        self.cell = cell
        self.output_size = output_size
        self.hidden_size = hidden_size
        self.remember = remember

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        if self.remember == "eval" and self.training:
            self.state = None
        if self.remember == "train" and not self.training:
            self.state = None
        if self.state is None:
            h = x[0].new_zeros(*x[0].shape[:-1], self.output_size)
            c = x[0].new_zeros(*x[0].shape[:-1], self.hidden_size)
        else:
            h, c = self.state
        outputs: list[torch.Tensor] = []
        for step in x:
            h, c = self.cell([step, h, c])
            outputs.append(h)
        self.state = h.detach(), c.detach()
        return outputs

    def train(self, mode: bool = True) -> StatefulCellLSTM:
        if mode != self.training:
            self.state = None
        super().train(mode)
        return self


class SimpleRNN(nn.Module):
    """Gives h = transfer(input(x) + feedback(h)) at each step, and transfer(start(input(x))) at the first."""

    def __init__(self, input_layer: nn.Module, start: nn.Module, feedback: nn.Module, transfer: nn.Module) -> None:
        super().__init__()
        self.input_layer = input_layer
        self.start = start
        self.feedback = feedback
        self.transfer = transfer

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        h = self.transfer(self.start(self.input_layer(x[0])))
        outputs = [h]
        for step in x[1:]:
            h = self.transfer(self.input_layer(step) + self.feedback(h))
            outputs.append(h)
        return outputs


class StatefulRNN(nn.Module):
    """Gives h = transfer(input(x) + feedback(h)) at each step, and transfer(start(input(x))) at the very first.

    A sequence goes on from where the last one ended, until `state` is set to None or the mode changes.
    """

    state: torch.Tensor | None = None

    def __init__(
        self, input_layer: nn.Module, start: nn.Module, feedback: nn.Module, transfer: nn.Module, remember: str
    ) -> None:
        super().__init__()
        self.input_layer = input_layer
        self.start = start
        self.feedback = feedback
        self.transfer = transfer
        self.remember = remember

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        if self.remember == "eval" and self.training:
            self.state = None
        if self.remember == "train" and not self.training:
            self.state = None
        h = self.state
        outputs: list[torch.Tensor] = []
        for step in x:
            y = self.input_layer(step)
            h = self.transfer(self.start(y) if h is None else y + self.feedback(h))
            outputs.append(h)
        self.state = outputs[-1].detach()
        return outputs

    def train(self, mode: bool = True) -> StatefulRNN:
        if mode != self.training:
            self.state = None
        super().train(mode)
        return self


class ConvLSTM(nn.Module):
    """Runs the cell of a convolutional LSTM through a list of images, from zeros.

    Args:
        cell: turns [x, h, c] into the next [h, c].
        planes: of h and c.
    """

    def __init__(self, cell: nn.Module, planes: int) -> None:
        super().__init__()
        self.cell = cell
        self.planes = planes

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        h = c = x[0].new_zeros(*x[0].shape[:-3], self.planes, *x[0].shape[-2:])
        outputs: list[torch.Tensor] = []
        for step in x:
            h, c = self.cell([step, h, c])
            outputs.append(h)
        return outputs

"""Recurrent layers as ONNX's LSTM, GRU and RNN operators, which take a whole sequence of any length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .stand_ins import StandIn

#: In which order ONNX has the gates that PyTorch has in the order input, forget, cell, output, or reset, update, new.
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


class Packed(nn.Module):
    """The weights of one layer of one ONNX operator, and the operator itself.

    Args:
        operator: "LSTM", "GRU" or "RNN".
        hidden_size: size of a state.
        attributes: further attributes of the operator.
        weights: for each direction [input matrix, hidden matrix, bias of both or of each], gates as PyTorch has them.
        peepholes: for each direction the weights of the input, output and forget gates' view of the cell.
    """

    w: torch.Tensor
    r: torch.Tensor
    b: torch.Tensor
    p: torch.Tensor | None

    def __init__(
        self,
        operator: str,
        hidden_size: int,
        weights: Sequence[Sequence[torch.Tensor]],
        attributes: dict[str, Any] | None = None,
        peepholes: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.operator = operator
        self.hidden_size = hidden_size
        self.attributes = attributes or {}
        order = _GATES[operator]

        def ordered(rows: torch.Tensor) -> torch.Tensor:
            chunks = rows.detach().chunk(len(order))
            return torch.cat([chunks[gate] for gate in order])

        self.register_buffer("w", torch.stack([ordered(one[0]) for one in weights]))
        self.register_buffer("r", torch.stack([ordered(one[1]) for one in weights]))
        biases = [[ordered(bias) for bias in one[2:]] for one in weights]
        both = [torch.cat([*one, *[torch.zeros_like(one[0])] * (2 - len(one))]) for one in biases]
        self.register_buffer("b", torch.stack(both))
        self.register_buffer("p", peepholes)

    def forward(self, x: torch.Tensor, h: torch.Tensor | None = None, c: torch.Tensor | None = None) -> list[Any]:
        """Of a sequence (T, N, D): the outputs (T, N, directions * H), the last output and cell (directions, N, H)."""
        steps, batch, _ = x.shape
        directions, size = self.w.shape[0], self.hidden_size
        inputs = [x, self.w, self.r, self.b, None, h]
        if self.operator == "LSTM":
            inputs += [c, self.p]
        state = [directions, batch, size]
        shapes: list[list[Any]] = [[steps, *state], state, *([state] if self.operator == "LSTM" else [])]
        direction = {"direction": "bidirectional"} if directions == 2 else {}
        y, *last = torch.onnx.ops.symbolic_multi_out(
            self.operator,
            inputs,
            {"hidden_size": size, **direction, **self.attributes},
            dtypes=[x.dtype] * len(shapes),
            shapes=shapes,
        )
        y = y.squeeze(1) if directions == 1 else y.transpose(1, 2).flatten(2)
        return [y, *last]


def as_list(state: Any) -> list[torch.Tensor]:
    """The tensors of a remembered state; none where nothing is remembered."""
    return [] if state is None else [state] if isinstance(state, torch.Tensor) else list(state)


def like(state: Any, tensors: list[torch.Tensor]) -> Any:
    """The next state, a tensor or a list of tensors as the one before."""
    return tensors[0] if isinstance(state, torch.Tensor) else type(state)(tensors)


class OnnxSequence(StandIn):
    """What the layers over a sequence share: each starts from the state that is given, or from zeros.

    Attributes:
        packed: the operator.
        batch_first: is the sequence (N, T, D)?
    """

    packed: Packed
    batch_first: bool
    state: Any

    def forward(self, x: Any) -> Any:
        *given, x = [x] if isinstance(x, torch.Tensor) else x
        x = x.transpose(0, 1) if self.batch_first else x
        remembered: list[torch.Tensor] = as_list(self.state)
        starts = [*reversed(given), *remembered[len(given) :]]
        y, *last = self.packed(x, *(state.unsqueeze(0) for state in starts))
        if remembered:
            self.state = like(self.state, [state.squeeze(0) for state in last])
        return y.transpose(0, 1) if self.batch_first else y

"""Converted from charrnn_checkpoint.t7 at protos.rnn (Torch7, sha256 6007004f98c5…) by torchmigrate.

Inputs: (N,), (N, 16), (N, 16), (N, 16), (N, 16) float32.
Outputs: (N, 16), (N, 16), (N, 16), (N, 16), (N, 20) float32.
"""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class OneHot(nn.Module):
    """Rows with a one at a 1-based index and zeros elsewhere.

    Args:
        depth: numbers of a row.
        number_type: of the rows, where the indices are whole numbers.
    """

    def __init__(self, depth: int, number_type: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.depth = depth
        self.number_type = number_type

    def forward(self, x: torch.Tensor | float) -> torch.Tensor:
        indices = torch.as_tensor(x)
        dtype = (
            indices.dtype
            if indices.is_floating_point() and isinstance(x, torch.Tensor)
            else self.number_type
        )
        numbers = torch.arange(1, self.depth + 1, device=indices.device)
        return (indices.long().unsqueeze(-1) == numbers).to(dtype)

    def extra_repr(self) -> str:
        return f"{self.depth}, number_type={self.number_type}"


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.i2h_1 = nn.Sequential(OneHot(20), nn.Linear(20, 64))
        self.h2h_1 = nn.Linear(16, 64)
        self.i2h_2 = nn.Sequential(nn.Dropout(p=0.25), nn.Linear(16, 64))
        self.h2h_2 = nn.Linear(16, 64)
        self.decoder = nn.Sequential(
            nn.Dropout(p=0.25), nn.Linear(16, 20), nn.LogSoftmax(dim=1)
        )

    def forward(
        self, x1: Tensor, x2: Tensor, x3: Tensor, x4: Tensor, x5: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        x = (self.i2h_1(x1) + self.h2h_1(x3)).unflatten(1, (4, 16))
        x, x3, x6, x7 = x.unbind(1)
        x = torch.sigmoid(x3) * x2 + torch.sigmoid(x) * torch.tanh(x7)
        x2 = torch.sigmoid(x6) * torch.tanh(x)
        x3 = (self.i2h_2(x2) + self.h2h_2(x5)).unflatten(1, (4, 16))
        x3, x5, x6, x7 = x3.unbind(1)
        x3 = torch.sigmoid(x5) * x4 + torch.sigmoid(x3) * torch.tanh(x7)
        x4 = torch.sigmoid(x6) * torch.tanh(x3)
        return x, x2, x3, x4, self.decoder(x4)

    @classmethod
    def from_pretrained(cls, folder: str) -> Model:
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model

"""Converted from sentiment_gru_cuda.t7 at model (Torch7, sha256 19d114a883c0…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class GRUCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gates_x = nn.Linear(10, 28)
        self.gates_h = nn.Linear(14, 28, bias=False)
        self.candidate_x = nn.Linear(10, 14)
        self.candidate_h = nn.Linear(14, 14, bias=False)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        r, z = (self.gates_x(x) + self.gates_h(h)).chunk(2, 1)
        z = torch.sigmoid(z)
        g = self.candidate_x(x) + self.candidate_h(h * torch.sigmoid(r))
        return torch.tanh(g) * (1.0 - z) + z * h


class SentimentGruCuda(nn.Module):
    """Input: (N, T) indices from 1 to 50. Output: (N, 3) float32."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 10)
        self.cell = GRUCell()
        self.layers = nn.Sequential(
            nn.Linear(14, 8),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(8, 3),
            nn.LogSoftmax(dim=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        xs = list(self.embedding(x.long() - 1).unbind(1))
        h = xs[0].new_zeros(len(xs[0]), 14)
        for step in xs:
            h = self.cell(step, h)
        return self.layers(h)

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = SentimentGruCuda

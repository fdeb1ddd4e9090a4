"""Converted from charrnn_checkpoint.t7 at protos.rnn (Torch7, sha256 6007004f98c5…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class CharrnnCheckpoint(nn.Module):
    """Inputs: (N,) indices from 1 to 20; (N, 16), (N, 16), (N, 16), (N, 16) float32.

    Outputs: (N, 16), (N, 16), (N, 16), (N, 16), (N, 20) float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.i2h_1 = nn.Linear(20, 64)
        self.h2h_1 = nn.Linear(16, 64)
        self.dropout1 = nn.Dropout(0.25)
        self.i2h_2 = nn.Linear(16, 64)
        self.h2h_2 = nn.Linear(16, 64)
        self.dropout2 = nn.Dropout(0.25)
        self.decoder = nn.Linear(16, 20)

    def forward(
        self, x: Tensor, c1: Tensor, h1: Tensor, c2: Tensor, h2: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        i2h_1 = self.i2h_1(nn.functional.one_hot(x.long() - 1, 20).float())
        i, f, o, g = (i2h_1 + self.h2h_1(h1)).chunk(4, 1)
        c1 = torch.sigmoid(f) * c1 + torch.sigmoid(i) * torch.tanh(g)
        h1 = torch.sigmoid(o) * torch.tanh(c1)
        x = self.dropout1(h1)
        i, f, o, g = (self.i2h_2(x) + self.h2h_2(h2)).chunk(4, 1)
        c2 = torch.sigmoid(f) * c2 + torch.sigmoid(i) * torch.tanh(g)
        h2 = torch.sigmoid(o) * torch.tanh(c2)
        x = self.dropout2(h2)
        return c1, h1, c2, h2, torch.log_softmax(self.decoder(x), 1)

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = CharrnnCheckpoint

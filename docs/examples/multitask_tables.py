"""Converted from multitask_tables.t7 (Torch7, sha256 d324f7632ef9…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm2d(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        updates = self.training and len(input) > 1  # Torch7 freezes it for one sample
        known = self.running_mean, self.running_var, self.weight, self.bias
        return F.batch_norm(input, *known, updates, self.momentum, self.eps)


class BatchNorm1d(nn.BatchNorm1d):
    def forward(self, input: Tensor) -> Tensor:
        updates = self.training and len(input) > 1  # Torch7 freezes it for one sample
        known = self.running_mean, self.running_var, self.weight, self.bias
        return F.batch_norm(input, *known, updates, self.momentum, self.eps)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, 8)
        self.attention = nn.Sequential(nn.Linear(24, 8), nn.Softmax(dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * (self.attention(x) * 8.0)


class MultitaskTables(nn.Module):
    """Inputs: (N, 3, H, W), (N, 5) float32 (H and W at least 3).

    Outputs: (N, 6), [(N, 4), (N, 1)], (N, 8) float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(3),
            nn.Flatten(),
        )
        self.linear1 = nn.Sequential(nn.Linear(5, 12), BatchNorm1d(12), nn.Hardtanh())
        self.linear2 = nn.Sequential(nn.Linear(84, 24), nn.ReLU())
        self.head1 = nn.Sequential(nn.Linear(24, 6), nn.LogSoftmax(dim=1))
        self.head2 = nn.Linear(24, 4)
        self.head3 = nn.Sequential(nn.Linear(24, 1), nn.Sigmoid())
        self.head4 = Block()

    def forward(
        self, x1: Tensor, x2: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        torch._assert(
            (x1.dim() == 4) & (x1.size(1) == 3) & (x2.shape[1:] == torch.Size([5])),
            "not (N, 3, H, W), (N, 5)",
        )
        x = torch.cat([self.features(x1), self.linear1(x2)], 1)
        x = self.linear2(x)
        x2 = self.head1(x)
        x3 = self.head2(x)
        x4 = self.head3(x)
        return x2, (x3, x4), self.head4(x)

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = MultitaskTables

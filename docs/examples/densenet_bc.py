"""Converted from densenet_bc.t7 at model (Torch7, sha256 21333b9acaa3…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        updates = self.training and len(input) > 1  # Torch7 freezes it for one sample
        known = self.running_mean, self.running_var, self.weight, self.bias
        return nn.functional.batch_norm(input, *known, updates, self.momentum, self.eps)


class DenseLayer(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            BatchNorm2d(in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, 24, 1, bias=False),
            BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 6, 3, padding=1, bias=False),
            nn.Dropout(0.2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.branch(x)], 1)


class DensenetBc(nn.Module):
    """Input: (N, 3, H, W) float32 (H and W from 32 to 35). Output: (N, 10) float32."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1, bias=False),
            DenseLayer(12),
            DenseLayer(18),
            DenseLayer(24),
            BatchNorm2d(30),
            nn.ReLU(),
            nn.Conv2d(30, 15, 1, bias=False),
            nn.AvgPool2d(2),
            DenseLayer(15),
            DenseLayer(21),
            DenseLayer(27),
            BatchNorm2d(33),
            nn.ReLU(),
            nn.Conv2d(33, 16, 1, bias=False),
            nn.AvgPool2d(2),
            DenseLayer(16),
            DenseLayer(22),
            DenseLayer(28),
            BatchNorm2d(34),
            nn.ReLU(),
            nn.AvgPool2d(8, stride=1),
        )
        self.linear = nn.Linear(34, 10)

    def forward(self, x: Tensor) -> Tensor:
        _, c, h, w = x.shape
        fits = (c == 3) & (h >= 32) & (h <= 35) & (w >= 32) & (w <= 35)
        torch._assert(fits, "not (N, 3, H, W) with H and W from 32 to 35")
        return self.linear(self.features(x).flatten(1))

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = DensenetBc

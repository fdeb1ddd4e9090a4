"""Converted from googlenet_aux.t7 (Torch7, sha256 a2814f312799…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class Inception(nn.Module):
    def __init__(
        self, in_channels: int, out1: int, out2: int, out3: int, out4: int
    ) -> None:
        super().__init__()
        self.branch1 = nn.Sequential(nn.Conv2d(in_channels, out1, 1), nn.ReLU())
        self.branch2 = nn.Sequential(
            nn.Conv2d(in_channels, 8, 1),
            nn.ReLU(),
            nn.Conv2d(8, out2, 3, padding=1),
            nn.ReLU(),
        )
        self.branch3 = nn.Sequential(
            nn.Conv2d(in_channels, 4, 1),
            nn.ReLU(),
            nn.Conv2d(4, out3, 5, padding=2),
            nn.ReLU(),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
            nn.Conv2d(in_channels, out4, 1),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1
        )


class GooglenetAux(nn.Module):
    """Input: (N, 3, H, W) float32 (H and W from 63 to 78). Output: (N, 24) float32."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 12, 7, stride=2, padding=3),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            nn.LocalResponseNorm(5),
            nn.Conv2d(12, 12, 1),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, padding=1),
            nn.ReLU(),
            nn.LocalResponseNorm(5),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Inception(24, 8, 12, 6, 6),
        )
        self.branch1 = nn.Sequential(
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Inception(32, 10, 14, 8, 8),
            nn.AvgPool2d(4, stride=1),
            nn.Flatten(),
            nn.Dropout(0.4),
            nn.Linear(40, 12),
            nn.LogSoftmax(dim=1),
        )
        self.branch2 = nn.Sequential(
            nn.AvgPool2d(5, stride=3),
            nn.Conv2d(32, 8, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32, 32),
            nn.ReLU(),
            nn.Dropout(0.7),
            nn.Linear(32, 12),
            nn.LogSoftmax(dim=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        _, c, h, w = x.shape
        fits = (c == 3) & (h >= 63) & (h <= 78) & (w >= 63) & (w <= 78)
        torch._assert(fits, "not (N, 3, H, W) with H and W from 63 to 78")
        x = self.features(x)
        return torch.cat([self.branch1(x), self.branch2(x)], 1)

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = GooglenetAux

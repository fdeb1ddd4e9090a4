"""Converted from hourglass_stacked.t7 (Torch7, sha256 7eebe3562a9a…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class Bottleneck(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, 6, 1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 12, 1),
        )
        self.shortcut = (
            nn.Identity() if in_channels == 12 else nn.Conv2d(in_channels, 12, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + self.shortcut(x)


class Hourglass(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block1 = Bottleneck(12)
        self.layers1 = nn.Sequential(nn.MaxPool2d(2), Bottleneck(12))
        self.block2 = Bottleneck(12)
        self.layers2 = nn.Sequential(
            nn.MaxPool2d(2),
            *(Bottleneck(12) for _ in range(3)),
            nn.Upsample(scale_factor=2.0),
        )
        self.layers3 = nn.Sequential(Bottleneck(12), nn.Upsample(scale_factor=2.0))
        self.layers4 = nn.Sequential(
            Bottleneck(12), nn.Conv2d(12, 12, 1), nn.BatchNorm2d(12), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        x2 = self.layers1(x)
        x2 = self.layers3(self.block2(x2) + self.layers2(x2))
        return self.layers4(self.block1(x) + x2)


class HourglassStacked(nn.Module):
    """Input: (N, 3, H, W) float32 (H and W multiples of 16; of others not all fit).

    Outputs: (N, 5, H/4, W/4), (N, 5, H/4, W/4) float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(
            nn.Conv2d(3, 8, 7, stride=2, padding=3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            Bottleneck(8),
            nn.MaxPool2d(2),
            Bottleneck(12),
        )
        self.hourglass = Hourglass()
        self.conv1 = nn.Conv2d(12, 5, 1)
        self.conv2 = nn.Conv2d(12, 12, 1)
        self.conv3 = nn.Conv2d(5, 12, 1)
        self.layer2 = nn.Sequential(Hourglass(), nn.Conv2d(12, 5, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        torch._assert((x.dim() == 4) & (x.size(1) == 3), "not (N, 3, H, W)")
        x = self.layer1(x)
        x2 = self.hourglass(x)
        x3 = self.conv1(x2)
        x = self.layer2(x + self.conv2(x2) + self.conv3(x3))
        return x3, x

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = HourglassStacked

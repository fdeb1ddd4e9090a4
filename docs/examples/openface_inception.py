"""Converted from openface_inception.t7 (Torch7, sha256 0b6b69beae03…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm2d(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        updates = self.training and len(input) > 1  # Torch7 freezes it for one sample
        known = self.running_mean, self.running_var, self.weight, self.bias
        return F.batch_norm(input, *known, updates, self.momentum, self.eps)


class Sqrt(nn.Module):
    """The square root; its gradient at zero is 0, as in Torch7."""

    def forward(self, x: Tensor) -> Tensor:
        zero = x == 0
        return torch.where(zero, 0, torch.sqrt(torch.where(zero, 1, x)))


class ConvBlock(nn.Sequential):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels, out_channels, kernel_size, stride=stride, padding=padding
            ),
            BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch1 = nn.Sequential(
            ConvBlock(24, 8), ConvBlock(8, 12, kernel_size=3, padding=1)
        )
        self.branch2 = nn.Sequential(
            ConvBlock(24, 4), ConvBlock(4, 6, kernel_size=5, padding=2)
        )
        self.branch3 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), ConvBlock(24, 6)
        )
        self.branch4 = ConvBlock(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1
        )


class DownsamplingInception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch1 = nn.Sequential(
            ConvBlock(32, 8), ConvBlock(8, 12, kernel_size=3, stride=2, padding=1)
        )
        self.branch2 = nn.Sequential(
            ConvBlock(32, 6), ConvBlock(6, 8, kernel_size=5, stride=2, padding=1)
        )
        self.branch3 = nn.Sequential(
            nn.MaxPool2d(3, stride=2, padding=1), ConvBlock(32, 8)
        )
        self.pool = nn.AvgPool2d(3)
        self.branch4 = nn.Sequential(Sqrt(), ConvBlock(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        x2 = F.pad(self.branch4(self.pool(x * x) * 9.0), (1, 1, 1, 1))
        x3 = F.pad(self.branch2(x), (0, 1, 0, 1))
        return torch.cat([self.branch1(x), x3, self.branch3(x), x2], 1)


class OpenfaceInception(nn.Module):
    """Input: (N, 3, H, W) float32 (H and W from 49 to 64). Output: (N, 32) float32."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvBlock(3, 12, kernel_size=7, stride=2, padding=3),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.LocalResponseNorm(5),
            ConvBlock(12, 12),
            ConvBlock(12, 24, kernel_size=3, padding=1),
            nn.LocalResponseNorm(5),
            nn.MaxPool2d(3, stride=2, padding=1),
            Inception(),
            DownsamplingInception(),
            nn.AvgPool2d(3, stride=1),
        )
        self.linear = nn.Linear(128, 32)

    def forward(self, x: Tensor) -> Tensor:
        _, c, h, w = x.shape
        fits = (c == 3) & (h >= 49) & (h <= 64) & (w >= 49) & (w <= 64)
        torch._assert(fits, "not (N, 3, H, W) with H and W from 49 to 64")
        x = self.linear(self.features(x).flatten(1))
        return x / (x.pow(2.0).sum(-1, keepdim=True) + 1e-10).pow(0.5)

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = OpenfaceInception

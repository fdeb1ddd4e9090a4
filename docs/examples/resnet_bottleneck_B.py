"""Converted from resnet_bottleneck_B.t7 at model (Torch7, sha256 7b98535174da…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        updates = self.training and len(input) > 1  # Torch7 freezes it for one sample
        known = self.running_mean, self.running_var, self.weight, self.bias
        return nn.functional.batch_norm(input, *known, updates, self.momentum, self.eps)


class Bottleneck(nn.Module):
    def __init__(
        self, in_channels: int, channels: int, out_channels: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, channels, 1, bias=False),
            BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False),
            BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, out_channels, 1, bias=False),
            BatchNorm2d(out_channels),
        )
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                BatchNorm2d(out_channels),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.branch(x) + self.shortcut(x))


class ResnetBottleneckB(nn.Module):
    """Input: (N, 3, H, W) float32 (H and W from 49 to 64). Output: (N, 20) float32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False),
            BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.layer1 = nn.Sequential(Bottleneck(8, 4, 16), Bottleneck(16, 4, 16))
        self.layer2 = nn.Sequential(
            Bottleneck(16, 8, 32, stride=2), Bottleneck(32, 8, 32)
        )
        self.layer3 = nn.Sequential(
            Bottleneck(32, 12, 48, stride=2), Bottleneck(48, 12, 48)
        )
        self.pool = nn.AvgPool2d(4, stride=1)
        self.linear = nn.Linear(48, 20)

    def forward(self, x: Tensor) -> Tensor:
        _, c, h, w = x.shape
        fits = (c == 3) & (h >= 49) & (h <= 64) & (w >= 49) & (w <= 64)
        torch._assert(fits, "not (N, 3, H, W) with H and W from 49 to 64")
        x = self.stem(x)
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        return self.linear(self.pool(x).flatten(1))

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = ResnetBottleneckB

"""Converted from unet_nngraph.t7 (Torch7, sha256 033ba5c76f6a…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        updates = self.training and len(input) > 1  # Torch7 freezes it for one sample
        known = self.running_mean, self.running_var, self.weight, self.bias
        return nn.functional.batch_norm(input, *known, updates, self.momentum, self.eps)


class ConvBlock(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class UnetNngraph(nn.Module):
    """Input: (N, 1, H, W) float32 (H and W a multiple of 4).

    Output: (N, 1, H, W) float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder1 = nn.Sequential(ConvBlock(1, 6), ConvBlock(6, 6))
        self.encoder2 = nn.Sequential(
            nn.MaxPool2d(2), ConvBlock(6, 12), ConvBlock(12, 12)
        )
        self.bottleneck = nn.Sequential(
            nn.MaxPool2d(2),
            ConvBlock(12, 24),
            ConvBlock(24, 24),
            nn.Dropout(),
            nn.ConvTranspose2d(24, 12, 2, stride=2),
        )
        self.decoder1 = nn.Sequential(
            ConvBlock(24, 12), ConvBlock(12, 12), nn.ConvTranspose2d(12, 6, 2, stride=2)
        )
        self.decoder2 = nn.Sequential(
            ConvBlock(12, 6), ConvBlock(6, 6), nn.Conv2d(6, 1, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        _, c, h, w = x.shape
        fits = (c == 1) & (h % 4 == 0) & (w % 4 == 0)
        torch._assert(fits, "not (N, 1, H, W) with H and W a multiple of 4")
        skip1 = self.encoder1(x)
        skip2 = self.encoder2(skip1)
        x = torch.cat([self.bottleneck(skip2), skip2], 1)
        return self.decoder2(torch.cat([self.decoder1(x), skip1], 1))

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = UnetNngraph

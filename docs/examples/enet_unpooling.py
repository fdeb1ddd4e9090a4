"""Converted from enet_unpooling.t7 (Torch7, sha256 de417843f8d2…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm2d(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        updates = self.training and len(input) > 1  # Torch7 freezes it for one sample
        known = self.running_mean, self.running_var, self.weight, self.bias
        return F.batch_norm(input, *known, updates, self.momentum, self.eps)


class FeatureDropout(nn.Module):
    """Drops whole feature maps, which have 2 dimensions; multiplies by 1-p in evaluation."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x * (1 - self.p)
        if x.dim() not in (3, 4):
            raise ValueError(f"FeatureDropout takes 3 or 4 dimensions, not {x.dim()}")
        mask = x.new_empty(x.shape[:-2] + (1, 1)).bernoulli_(1 - self.p)
        return x * mask


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv(x), self.pool(x)], 1)


class ConvBlock(nn.Sequential):
    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        kernel_size: int = 1,
        dilation: int = 1,
        p: float = 0.1,
    ) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels, channels, kernel_size, stride=kernel_size, bias=False
            ),
            BatchNorm2d(channels, eps=0.001),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
            BatchNorm2d(channels, eps=0.001),
            nn.PReLU(channels),
            nn.Conv2d(channels, out_channels, 1, bias=False),
            BatchNorm2d(out_channels, eps=0.001),
            FeatureDropout(p),
        )


class DownsamplingBottleneck(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = ConvBlock(8, 4, 8, kernel_size=2, p=0.01)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.prelu = nn.PReLU(8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x2, indices = self.pool(x)
        return self.prelu(self.branch(x) + x2), indices


class Bottleneck(nn.Module):
    def __init__(self, in_channels: int, branch: nn.Module) -> None:
        super().__init__()
        self.prelu = nn.PReLU(in_channels)
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(x + self.branch(x))


class DownsamplingBottleneck2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = ConvBlock(8, 4, 16, kernel_size=2, p=0.01)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.prelu = nn.PReLU(16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x2, indices = self.pool(x)
        x = self.branch(x) + F.pad(x2, (0, 0, 0, 0, 0, 8), value=0.0)
        return self.prelu(x), indices


class UpsamplingBottleneck(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, 4, 1, bias=False),
            BatchNorm2d(4, eps=0.001),
            nn.ReLU(),
            nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1),
            BatchNorm2d(4, eps=0.001),
            nn.ReLU(),
            nn.Conv2d(4, 8, 1, bias=False),
            BatchNorm2d(8, eps=0.001),
        )
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 8, 1, bias=False), BatchNorm2d(8, eps=0.001)
        )

    def forward(self, x: Tensor, indices: Tensor) -> Tensor:
        x = self.branch(x) + F.max_unpool2d(self.layers(x), indices, 2)
        return torch.relu(x)


class EnetUnpooling(nn.Module):
    """Input: (N, 3, H, W) float32 (H and W a multiple of 8).

    Output: (N, 6, H, W) float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(Branches(), BatchNorm2d(8, eps=0.001), nn.PReLU(8))
        self.block1 = DownsamplingBottleneck()
        self.block2 = Bottleneck(8, ConvBlock(8, 2, 8))
        self.block3 = DownsamplingBottleneck2()
        self.layer2 = nn.Sequential(
            Bottleneck(16, ConvBlock(16, 4, 16, dilation=2)),
            Bottleneck(
                16,
                nn.Sequential(
                    nn.Conv2d(16, 4, 1, bias=False),
                    BatchNorm2d(4, eps=0.001),
                    nn.PReLU(4),
                    nn.Conv2d(4, 4, (1, 5), padding=(0, 2), bias=False),
                    nn.Conv2d(4, 4, (5, 1), padding=(2, 0)),
                    BatchNorm2d(4, eps=0.001),
                    nn.PReLU(4),
                    nn.Conv2d(4, 16, 1, bias=False),
                    BatchNorm2d(16, eps=0.001),
                    FeatureDropout(0.1),
                ),
            ),
            Bottleneck(16, ConvBlock(16, 4, 16, dilation=4)),
        )
        self.block4 = UpsamplingBottleneck(16)
        self.block5 = Bottleneck(8, ConvBlock(8, 2, 8))
        self.block6 = UpsamplingBottleneck(8)
        self.deconv = nn.ConvTranspose2d(8, 6, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        _, c, h, w = x.shape
        fits = (c == 3) & (h % 8 == 0) & (w % 8 == 0)
        torch._assert(fits, "not (N, 3, H, W) with H and W a multiple of 8")
        x, indices = self.block1(self.layer1(x))
        x, indices2 = self.block3(self.block2(x))
        x = self.block4(self.layer2(x), indices2)
        x = self.block6(self.block5(x), indices)
        return self.deconv(x)

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = EnetUnpooling

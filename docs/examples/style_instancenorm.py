"""Converted from style_instancenorm.t7 at model (Torch7, sha256 5a3060870fb7…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class PlaneAffine(nn.Module):
    """Scales each plane and adds a bias: what an instance normalization comes to that runs on fresh statistics."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_features))
        self.bias = nn.Parameter(torch.empty(num_features))

    def forward(self, x: Tensor) -> Tensor:
        scale: float = (1 + 1e-05) ** 0.5
        return x * (self.weight / scale).reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)


class ResidualBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(16, 16, 3),
            PlaneAffine(16),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(16, 16, 3),
            PlaneAffine(16),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + x


class StyleInstancenorm(nn.Module):
    """Input: (N, 3, H, W) float32 (H and W at least 5).

    Output: (N, 3, 4·⌈H/4⌉, 4·⌈W/4⌉) float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ReflectionPad2d(4),
            nn.Conv2d(3, 8, 9),
            PlaneAffine(8),
            nn.ReLU(),
            nn.Conv2d(8, 12, 3, stride=2, padding=1),
            PlaneAffine(12),
            nn.ReLU(),
            nn.Conv2d(12, 16, 3, stride=2, padding=1),
            PlaneAffine(16),
            nn.ReLU(),
            ResidualBlock(),
            ResidualBlock(),
            nn.Upsample(scale_factor=2.0),
            nn.ReflectionPad2d(1),
            nn.Conv2d(16, 12, 3),
            PlaneAffine(12),
            nn.ReLU(),
            nn.ConvTranspose2d(12, 8, 3, stride=2, padding=1, output_padding=1),
            PlaneAffine(8),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(8, 3, 3),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        torch._assert((x.dim() == 4) & (x.size(1) == 3), "not (N, 3, H, W)")
        return self.features(x) * 45.0

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = StyleInstancenorm

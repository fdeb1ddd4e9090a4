"""Converted from pix2pix_unet.t7 (Torch7, sha256 f6fd16fecfb5…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        updates = self.training and len(input) > 1  # Torch7 freezes it for one sample
        known = self.running_mean, self.running_var, self.weight, self.bias
        return nn.functional.batch_norm(input, *known, updates, self.momentum, self.eps)


class Pix2pixUnet(nn.Module):
    """Input: (N, 3, H, W) float32 (H and W multiples of 16; of others not all fit).

    Output: (N, 3, H, W) float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder1 = nn.Sequential(
            nn.Conv2d(3, 6, 4, stride=2, padding=1), nn.LeakyReLU(0.2)
        )
        self.encoder2 = nn.Sequential(
            nn.Conv2d(6, 12, 4, stride=2, padding=1), BatchNorm2d(12), nn.LeakyReLU(0.2)
        )
        self.encoder3 = nn.Sequential(
            nn.Conv2d(12, 24, 4, stride=2, padding=1),
            BatchNorm2d(24),
            nn.LeakyReLU(0.2),
        )
        self.bottleneck = nn.Sequential(
            nn.Conv2d(24, 24, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(24, 24, 4, stride=2, padding=1),
            BatchNorm2d(24),
            nn.Dropout(),
        )
        self.decoder1 = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose2d(48, 12, 4, stride=2, padding=1),
            BatchNorm2d(12),
        )
        self.decoder2 = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose2d(24, 6, 4, stride=2, padding=1), BatchNorm2d(6)
        )
        self.decoder3 = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose2d(12, 3, 4, stride=2, padding=1), nn.Tanh()
        )

    def forward(self, x: Tensor) -> Tensor:
        torch._assert((x.dim() == 4) & (x.size(1) == 3), "not (N, 3, H, W)")
        skip1 = self.encoder1(x)  # Torch7 activates in place, so skip connections too
        skip2 = self.encoder2(skip1)
        skip3 = self.encoder3(skip2)
        x = torch.cat([self.bottleneck(skip3), skip3], 1)
        x = self.decoder2(torch.cat([self.decoder1(x), skip2], 1))
        return self.decoder3(torch.cat([x, skip1], 1))

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = Pix2pixUnet

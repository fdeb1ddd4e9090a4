"""willwhitney/understanding-visual-concepts: encoders of two frames of a film."""

from __future__ import annotations

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts
from ....model.traits import Traits


class Blend(nn.Module):
    """Of [share, a, b] the sum of a, (1 - share) times, and of b, share times."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[1] * (1 - x[0]) + x[2] * x[0]


@converts("nn.ChangeLimiter", traits=Traits(reuses="nothing"))
def change_limiter(layer: Layer) -> Blend:
    """nn.ChangeLimiter(), of willwhitney/understanding-visual-concepts

    Takes {distribution, a, b} and goes from a to b where the distribution says so.
    """
    return Blend()


class AddNoise(nn.Module):
    """Adds normal noise in training."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.randn_like(x) * self.std if self.training else x

    def extra_repr(self) -> str:
        return f"{self.std}"


@converts("nn.Noise", traits=Traits(output="pass", reuses="nothing", keeps_size=True, picture="dropout"))
def noise(layer: Layer) -> AddNoise:
    """nn.Noise(variance), of willwhitney/understanding-visual-concepts

    Adds normal noise of that standard deviation in training.
    """
    layer.ignore("active")
    return AddNoise(layer.number("variance"))


@converts("nn.ScheduledWeightSharpener")
def scheduled_weight_sharpener(layer: Layer) -> nn.Module:
    """nn.ScheduledWeightSharpener(sharpening_rate), of willwhitney/understanding-visual-concepts

    Not converted: its exponent follows from a counter of the training script, which is not in the file.
    """
    layer.refuse("its exponent follows from opt.current_scheduler_iteration of the training script, not in the file")

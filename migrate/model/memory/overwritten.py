"""What older results of a module become in Torch7 when it runs again, as modules of a rewritten network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Overwritten(nn.Module):
    """Gives the second of two tensors: Torch7 ran one module twice, and the second result overwrote the first.

    Args:
        resized: the older tensor itself was written, and took the size of the newer one. Otherwise it is another view
            of that memory, and keeps its own size.
    """

    def __init__(self, resized: bool = True) -> None:
        super().__init__()
        self.resized = resized

    def forward(self, x: list[Any]) -> Any:
        old, new = x
        if isinstance(new, list):
            return [self(list(pair)) for pair in zip(old, new, strict=True)]
        if self.resized or old.shape == new.shape:
            return new
        memory, rest = new.flatten(), old.flatten()[new.numel() :]  # memory never shrinks
        return torch.cat([memory, rest])[: old.numel()].reshape(old.shape)

    def extra_repr(self) -> str:
        return f"resized={self.resized}"


class Slices(nn.Module):
    """Gives the slices of its input along a dimension (0-based) as a list."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return list(x.unbind(self.dim))

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

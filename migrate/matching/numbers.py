"""When two values count as the same."""

from __future__ import annotations

from collections.abc import Iterator

import torch

#: How far two float64 results of the same arithmetic may be apart, of the largest number.
TOLERANCE = 1e-9


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Have two tensors the same sizes, and numbers that are finite and equal but for rounding in float64?"""
    if a.shape != b.shape:
        return False
    if not a.numel():
        return True
    a, b = a.double(), b.double()
    far, scale = float((a - b).abs().max()), float(b.abs().max())
    return far <= TOLERANCE * scale < float("inf")  # NaN and Inf are equal to nothing


def alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    """The same, when the sizes may be written otherwise: flattened, or steps and samples or channels exchanged."""
    return a.numel() == b.numel() and any(same(a.reshape(-1), other.reshape(-1)) for other in _layouts(a, b))


def _layouts(a: torch.Tensor, b: torch.Tensor) -> Iterator[torch.Tensor]:
    yield b
    if b.dim() == 2 and not a.is_floating_point():  # indices of words, of each step or of each sample
        yield b.t()
    if b.dim() == 3:
        yield b.transpose(0, 1)
        yield b.transpose(1, 2)
    if a.dim() == 3 and b.dim() == 2 and b.shape[0] == a.shape[0] * a.shape[1]:  # rows of each step, of each sample
        yield b.reshape(a.shape[1], a.shape[0], -1).transpose(0, 1)


def difference(a: torch.Tensor, b: torch.Tensor) -> str:
    """How two tensors differ, in words."""
    if a.shape != b.shape:
        return f"sizes {sizes(a)} there, {sizes(b)} in the .t7 file"
    return f"up to {float((a.double() - b.double()).abs().max()):.3g}, where numbers reach {float(b.abs().max()):.3g}"


def sizes(tensor: torch.Tensor) -> str:
    """Sizes as the command line writes them."""
    return "x".join(map(str, tensor.shape)) or "1"

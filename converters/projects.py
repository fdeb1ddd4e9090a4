"""Layers that no package has, but that well-known projects defined beside their models."""

from __future__ import annotations

import torch
from torch import nn

from ..layer import Layer
from ..registry import converts


@converts("nn.InstanceNormalization")
def instance_normalization(layer: Layer) -> nn.InstanceNorm2d:
    """nn.InstanceNormalization(nOutput, [eps = 1e-5], [momentum = 0.1], [affine = true])

    fast-neural-style's: each plane of each image is normalized by its own mean and variance.
    """
    layer.ignore("momentum", "affine", "nOutput", "prev_batch_size", "bn", "prev_N")
    features = layer.tensor("weight").numel()
    module = layer.make(nn.InstanceNorm2d, features, eps=layer.number("eps", 1e-5), affine=True)
    layer.put_all(module, "weight", "bias")
    return module


@converts("nn.Rectifier")
def rectifier(layer: Layer) -> nn.ReLU:
    """nn.Rectifier()

    deep-q-network's: (|x| + x) / 2. At 0 its gradient is 1/2, ReLU's is 0.
    """
    return nn.ReLU()


class OneHot(nn.Module):
    """Rows with a one at a 1-based index and zeros elsewhere.

    Args:
        depth: numbers of a row.
        dtype: of the rows, where the indices are whole numbers.
    """

    def __init__(self, depth: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.depth = depth
        self.dtype = dtype

    def forward(self, x: torch.Tensor | float) -> torch.Tensor:
        indices = torch.as_tensor(x)
        dtype = indices.dtype if indices.is_floating_point() and isinstance(x, torch.Tensor) else self.dtype
        numbers = torch.arange(1, self.depth + 1, device=indices.device)
        return (indices.long().unsqueeze(-1) == numbers).to(dtype)

    def extra_repr(self) -> str:
        return f"{self.depth}, dtype={self.dtype}"


_TYPES = {
    "torch.DoubleTensor": torch.float64,
    "torch.FloatTensor": torch.float32,
    "torch.CudaTensor": torch.float32,
    "torch.CudaDoubleTensor": torch.float64,
    "torch.CudaHalfTensor": torch.float32,
}


@converts("OneHot", "nn.OneHot")
def one_hot(layer: Layer) -> OneHot:
    """nn.OneHot(outputSize), or char-rnn's OneHot(outputSize)"""
    layer.ignore("_eye", "_input", "_single", "_longInput", "_ix", "_longInput2", "inputTensorType")
    depth = layer.integer("depth") if layer.has("depth") else layer.integer("outputSize")
    layer.ignore("depth", "outputSize")
    return OneHot(depth, _TYPES.get(layer.text("_type", "torch.FloatTensor"), torch.float32))

"""Activation functions of package cudnn."""

from __future__ import annotations

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from .activations import is_inplace

ACTIVATION = Traits(keeps_size=True, picture="activation")


def _check_mode(layer: Layer, mode: str) -> None:
    """Package cudnn calls what the field `mode` says, whatever the class."""
    layer.ignore("activDesc", "threshold", "val")
    found = layer.text("mode", mode)
    if found != mode:
        layer.refuse(f"its mode is {found!r}; a {layer.typename} has {mode!r}")


@converts("cudnn.ReLU", traits=ACTIVATION)
def cudnn_relu(layer: Layer) -> nn.ReLU:
    """cudnn.ReLU([inplace = false])"""
    _check_mode(layer, "CUDNN_ACTIVATION_RELU")
    return nn.ReLU(inplace=is_inplace(layer))


@converts("cudnn.ClippedReLU", traits=ACTIVATION)
def cudnn_clipped_relu(layer: Layer) -> nn.Hardtanh:
    """cudnn.ClippedReLU(ceiling, [inplace = false])"""
    _check_mode(layer, "CUDNN_ACTIVATION_CLIPPED_RELU")
    return nn.Hardtanh(0.0, layer.number("ceiling"), inplace=is_inplace(layer))


class Tanh(nn.Module):
    """Hyperbolic tangent that can overwrite its input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.tanh_() if self.inplace else x.tanh()

    def extra_repr(self) -> str:
        return f"inplace={self.inplace}"


@converts("cudnn.Tanh", traits=ACTIVATION)
def cudnn_tanh(layer: Layer) -> nn.Tanh | Tanh:
    """cudnn.Tanh([inplace = false])"""
    _check_mode(layer, "CUDNN_ACTIVATION_TANH")
    return Tanh(inplace=True) if is_inplace(layer) else nn.Tanh()


class Sigmoid(nn.Module):
    """Logistic function that can overwrite its input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sigmoid_() if self.inplace else x.sigmoid()

    def extra_repr(self) -> str:
        return f"inplace={self.inplace}"


@converts("cudnn.Sigmoid", traits=ACTIVATION)
def cudnn_sigmoid(layer: Layer) -> nn.Sigmoid | Sigmoid:
    """cudnn.Sigmoid([inplace = false])"""
    _check_mode(layer, "CUDNN_ACTIVATION_SIGMOID")
    return Sigmoid(inplace=True) if is_inplace(layer) else nn.Sigmoid()

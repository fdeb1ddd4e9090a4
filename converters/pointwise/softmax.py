"""Softmax in its forms; Torch7 takes the dimension from the number of dimensions of the input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits

ACTIVATION_OF_ROWS = Traits(picture="activation")


class SoftMax(nn.Module):
    """Softmax over the classes of a vector, a batch of vectors (N, C), an image (C, H, W) or a batch of images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() > 4:
            raise ValueError(f"SoftMax takes 1 to 4 dimensions, not {x.dim()}")
        return torch.softmax(x, dim=0 if x.dim() in (1, 3) else 1)


class LogSoftMax(nn.Module):
    """Log of the softmax over the classes of a vector, a batch (N, C), an image (C, H, W) or a batch of images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() > 4:
            raise ValueError(f"LogSoftMax takes 1 to 4 dimensions, not {x.dim()}")
        return torch.log_softmax(x, dim=0 if x.dim() in (1, 3) else 1)


module_form("by rows", LogSoftMax)(True)


def _exp_of_old(x: torch.Tensor) -> torch.Tensor:
    """exp(-x) of numbers from 0 on, in double, as the CPU code of Torch7 until 2015 approximated it."""
    x = x.double()
    y = 1.0 + x * (0.125 + x * (0.0078125 + x * (0.00032552083 + x * 1.0172526e-5)))
    return torch.where(x < 13, 1 / y**8, 0.0)


class _SoftMaxOfOld(torch.autograd.Function):
    """The way back takes the output as it is, as Torch7 does."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, dim: int) -> torch.Tensor:
        z = _exp_of_old(x.amax(dim, keepdim=True) - x)
        made = (z / z.sum(dim, keepdim=True)).to(x.dtype)
        ctx.save_for_backward(made)
        ctx.dim = dim
        return made

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (made,) = ctx.saved_tensors
        return made * (gradient - (gradient * made).sum(ctx.dim, keepdim=True)), None


class _LogSoftMaxOfOld(torch.autograd.Function):
    """The way back takes the output as it is, with the exact exp, as Torch7 does."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, dim: int) -> torch.Tensor:
        largest = x.amax(dim, keepdim=True)
        total = _exp_of_old(largest - x).sum(dim, keepdim=True)
        made = (x.double() - (largest.double() + total.log())).to(x.dtype)
        ctx.save_for_backward(made)
        ctx.dim = dim
        return made

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (made,) = ctx.saved_tensors
        return gradient - made.exp() * gradient.sum(ctx.dim, keepdim=True), None


@module_form("approximation", SoftMax)
def _softmax_of_old(module: SoftMax, x: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = _SoftMaxOfOld.apply(x, 0 if x.dim() in (1, 3) else 1)  # type: ignore[no-untyped-call]
    return made


@module_form("approximation", LogSoftMax)
def _log_softmax_of_old(module: LogSoftMax, x: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = _LogSoftMaxOfOld.apply(x, 0 if x.dim() in (1, 3) else 1)  # type: ignore[no-untyped-call]
    return made


class SoftMin(nn.Module):
    """Softmax of the negated input over the classes of a vector, a batch (N, C), an image or a batch of images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() > 4:
            raise ValueError(f"SoftMin takes 1 to 4 dimensions, not {x.dim()}")
        return torch.softmax(-x, dim=0 if x.dim() in (1, 3) else 1)


@module_form("stock", SoftMax, LogSoftMax)
def _stock(module: nn.Module, x: torch.Tensor) -> nn.Module:
    return (nn.Softmax if isinstance(module, SoftMax) else nn.LogSoftmax)(0 if x.dim() in (1, 3) else 1)


@converts("nn.SoftMax", traits=replace(ACTIVATION_OF_ROWS, safe_on_own_output=True))
@converts("nn.SpatialSoftMax", traits=Traits(safe_on_own_output=True, reads="images", picture="activation"))
def soft_max(layer: Layer) -> SoftMax:
    """nn.SoftMax()

    The classes are dimension 1 of inputs with one or three dimensions (C, H, W), dimension 2 of those with two or four.
    """
    return SoftMax()


@converts("nn.LogSoftMax", traits=replace(ACTIVATION_OF_ROWS, safe_on_own_output=True))
@converts("nn.SpatialLogSoftMax", traits=Traits(safe_on_own_output=True, reads="images", picture="activation"))
def log_soft_max(layer: Layer) -> LogSoftMax:
    """nn.LogSoftMax()

    The classes are dimension 1 of inputs with one or three dimensions (C, H, W), dimension 2 of those with two or four.
    """
    return LogSoftMax()


@converts("nn.SoftMin", traits=Traits(safe_on_own_output=True))
def soft_min(layer: Layer) -> SoftMin:
    """nn.SoftMin()

    The classes are dimension 1 of inputs with one or three dimensions (C, H, W), dimension 2 of those with two or four.
    """
    layer.ignore("mininput")
    return SoftMin()


class InstanceSoftMax(nn.Module):
    """Softmax over all elements of a sample: of a vector or image (C, H, W), or of each in a batch."""

    def __init__(self, log: bool = False) -> None:
        super().__init__()
        self.log = log

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() > 4:
            raise ValueError(f"InstanceSoftMax takes 1 to 4 dimensions, not {x.dim()}")
        flat = x.flatten() if x.dim() in (1, 3) else x.flatten(1)
        y = torch.log_softmax(flat, -1) if self.log else torch.softmax(flat, -1)
        return y.reshape(x.shape)

    def extra_repr(self) -> str:
        return f"log={self.log}"


@module_form("stock", InstanceSoftMax)
def _stock_of_instances(module: InstanceSoftMax, x: torch.Tensor) -> nn.Module:
    return nn.LogSoftmax(1) if module.log else nn.Softmax(1)


class VolumetricSoftMax(nn.Module):
    """Softmax over the classes of a volume (C, T, H, W) or a batch of volumes."""

    def __init__(self, log: bool = False) -> None:
        super().__init__()
        self.log = log

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() not in (4, 5):
            raise ValueError(f"VolumetricSoftMax takes 4 or 5 dimensions, not {x.dim()}")
        return torch.log_softmax(x, -4) if self.log else torch.softmax(x, -4)

    def extra_repr(self) -> str:
        return f"log={self.log}"


def _is_log(layer: Layer, default: bool = False) -> bool:
    algorithm = layer.text("algorithm", "CUDNN_SOFTMAX_LOG" if default else "CUDNN_SOFTMAX_ACCURATE")
    if algorithm not in ("CUDNN_SOFTMAX_FAST", "CUDNN_SOFTMAX_ACCURATE", "CUDNN_SOFTMAX_LOG"):
        layer.refuse(f"its algorithm is {algorithm!r}, which is none of cudnn's")
    return algorithm == "CUDNN_SOFTMAX_LOG"


@converts("cudnn.SoftMax", traits=ACTIVATION_OF_ROWS)
def cudnn_soft_max(layer: Layer) -> InstanceSoftMax:
    """cudnn.SoftMax([fast = false])

    Over all elements of a sample: of an image the classes and all positions together, unlike nn.SoftMax.
    """
    layer.ignore("mode")  # the class sets it whenever it runs
    return InstanceSoftMax(_is_log(layer))


@converts("cudnn.LogSoftMax", traits=ACTIVATION_OF_ROWS)
def cudnn_log_soft_max(layer: Layer) -> InstanceSoftMax:
    """cudnn.LogSoftMax()

    Over all elements of a sample: of an image the classes and all positions together, unlike nn.LogSoftMax.
    """
    layer.ignore("mode", "algorithm")  # the class sets them whenever it runs
    return InstanceSoftMax(log=True)


@converts("cudnn.SpatialSoftMax", "cudnn.SpatialLogSoftMax", traits=Traits(reads="images", picture="activation"))
def cudnn_spatial_soft_max(layer: Layer) -> SoftMax | LogSoftMax | InstanceSoftMax:
    """cudnn.SpatialSoftMax([fast = false])"""
    log = _is_log(layer, default=layer.typename == "cudnn.SpatialLogSoftMax")
    mode = layer.text("mode", "CUDNN_SOFTMAX_MODE_CHANNEL")
    if mode == "CUDNN_SOFTMAX_MODE_INSTANCE":
        return InstanceSoftMax(log)
    if mode != "CUDNN_SOFTMAX_MODE_CHANNEL":
        layer.refuse(f"its mode is {mode!r}, which is none of cudnn's")
    return LogSoftMax() if log else SoftMax()


@converts("cudnn.VolumetricSoftMax", "cudnn.VolumetricLogSoftMax", traits=Traits(reads="volumes", picture="activation"))
def cudnn_volumetric_soft_max(layer: Layer) -> VolumetricSoftMax:
    """cudnn.VolumetricSoftMax([fast = false])"""
    inner = layer.module("ssm")
    if not isinstance(inner, (SoftMax, LogSoftMax)):
        layer.refuse("its softmax is not over the classes")
    return VolumetricSoftMax(isinstance(inner, LogSoftMax))

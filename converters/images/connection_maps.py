"""Convolutions of which only some pairs of planes are connected, and sums over windows."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts
from .convolutions import ENLARGED_IMAGES, IMAGE_WEIGHTS, IMAGE_WINDOWS


class ConvMap2d(nn.Module):
    """A convolution that connects the listed pairs of an input and an output plane.

    Args:
        in_channels, out_channels: numbers of planes.
        connections: how many pairs there are.
        kernel_size, stride: height, width.
        transposed: is it a transposed convolution?
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        connections: int,
        kernel_size: tuple[int, int],
        stride: tuple[int, int],
        transposed: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.connections = connections
        self.kernel_size = kernel_size
        self.stride = stride
        self.transposed = transposed
        self.weight = nn.Parameter(torch.empty(connections, *kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.register_buffer("inputs", torch.empty(connections, dtype=torch.int64))
        self.register_buffer("outputs", torch.empty(connections, dtype=torch.int64))
        self.inputs: torch.Tensor
        self.outputs: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() == 3:
            x = x[: self.in_channels]  # an image may have planes behind the last one that is connected
        pairs = self.weight.new_zeros(self.in_channels * self.out_channels, *self.kernel_size)
        if self.transposed:
            pairs = pairs.index_add(0, self.inputs * self.out_channels + self.outputs, self.weight)
            dense = pairs.reshape(self.in_channels, self.out_channels, *self.kernel_size)
            return F.conv_transpose2d(x, dense, self.bias, self.stride)
        pairs = pairs.index_add(0, self.outputs * self.in_channels + self.inputs, self.weight)
        dense = pairs.reshape(self.out_channels, self.in_channels, *self.kernel_size)
        return F.conv2d(x, dense, self.bias, self.stride)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, connections={self.connections}, "
            f"kernel_size={self.kernel_size}, stride={self.stride}, transposed={self.transposed}"
        )


def _connection_map(layer: Layer, transposed: bool) -> ConvMap2d:
    table = layer.tensor("connTable").detach()
    module = layer.make(
        ConvMap2d,
        layer.integer("nInputPlane"),
        layer.integer("nOutputPlane"),
        len(table),
        (layer.integer("kH"), layer.integer("kW")),
        (layer.integer("dH", 1), layer.integer("dW", 1)),
        transposed=transposed,
    )
    layer.put_all(module, "weight", "bias")
    layer.put(module, "inputs", table[:, 0].long() - 1, field="connTable")
    return layer.put(module, "outputs", table[:, 1].long() - 1, field="connTable")


@converts("nn.SpatialConvolutionMap", traits=IMAGE_WINDOWS)
def spatial_convolution_map(layer: Layer) -> ConvMap2d:
    """nn.SpatialConvolutionMap(connTable, kW, kH, [dW], [dH])

    connTable lists pairs of an input and an output plane.
    """
    return _connection_map(layer, False)


@converts("nn.SpatialFullConvolutionMap", traits=ENLARGED_IMAGES)
def spatial_full_convolution_map(layer: Layer) -> ConvMap2d:
    """nn.SpatialFullConvolutionMap(connTable, kW, kH, [dW], [dH])

    connTable lists pairs of an input and an output plane.
    """
    return _connection_map(layer, True)


class SubSampling2d(nn.Module):
    """Sums each plane over windows, times a weight plus a bias per plane."""

    def __init__(self, channels: int, kernel_size: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.channels = channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel = self.weight.reshape(-1, 1, 1, 1).expand(self.channels, 1, *self.kernel_size)
        return F.conv2d(x, kernel, self.bias, self.stride, groups=self.channels)

    def extra_repr(self) -> str:
        return f"{self.channels}, kernel_size={self.kernel_size}, stride={self.stride}"


@converts("nn.SpatialSubSampling", traits=IMAGE_WEIGHTS)
def spatial_sub_sampling(layer: Layer) -> SubSampling2d:
    """nn.SpatialSubSampling(nInputPlane, kW, kH, [dW], [dH])"""
    module = layer.make(
        SubSampling2d,
        layer.integer("nInputPlane"),
        (layer.integer("kH"), layer.integer("kW")),
        (layer.integer("dH", 1), layer.integer("dW", 1)),
    )
    weight = layer.tensor("weight")
    if weight.numel() > len(module.weight):
        layer.note(
            f"its weight is of size {'x'.join(map(str, weight.shape))}; Torch7 reads the first number for each plane"
        )
        layer.put(module, "weight", weight.reshape(-1)[: len(module.weight)])
        return layer.put_all(module, "bias")
    return layer.put_all(module, "weight", "bias")

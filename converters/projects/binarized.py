"""Binary networks: allenai/XNOR-Net and juefeix/lbcnn.torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits
from ..images.convolutions import spatial_convolution


class BinaryBackward(torch.autograd.Function):
    """The sign; the gradient passes where the input lies between -1 and 1."""

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x.sign()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return torch.where((x < 1) & (x > -1), grad, torch.zeros_like(grad))


class BinaryActivation(nn.Module):
    """The sign of its input, 0 of 0; the gradient passes where the input lies between -1 and 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_exporting():
            return x.sign()
        y: torch.Tensor = BinaryBackward.apply(x)  # type: ignore[no-untyped-call]
        return y


@converts("nn.BinActiveZ", traits=Traits(keeps_size=True, picture="activation"))
def bin_active_z(layer: Layer) -> BinaryActivation:
    """nn.BinActiveZ(), of allenai/XNOR-Net

    The sign; the gradient passes where the input lies between -1 and 1.
    """
    return BinaryActivation()


@converts("cudnn.RandomBinaryConvolution", traits=Traits(reads="images", picture="weights"))
def random_binary_convolution(layer: Layer) -> nn.Module:
    """cudnn.RandomBinaryConvolution(nInputPlane, nOutputPlane, kW, kH, [dW], [dH], [padW], [padH])

    Of juefeix/lbcnn.torch. A convolution without bias; Torch7 does not train its weight, here it can be trained.
    """
    return spatial_convolution(layer)

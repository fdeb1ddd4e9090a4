"""Activation functions that work on each element alone, those of package cudnn last."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ...model.layer import Layer
from ...model.registry import converts, converts_to
from ...model.traits import Traits

ACTIVATION = Traits(keeps_size=True, picture="activation")


def is_inplace(layer: Layer) -> bool:
    """The `inplace` flag, which files from before it existed lack; such a layer writes into its input."""
    inplace = layer.flag("inplace", default=False)
    if inplace:
        layer.traits(output="write")
    return inplace


@converts("nn.ReLU", traits=ACTIVATION)
def relu(layer: Layer) -> nn.ReLU | nn.Threshold:
    """nn.ReLU([inplace = false])"""
    if layer.number("threshold", 0.0) != 0 or layer.number("val", 0.0) != 0:
        return threshold(layer)
    return nn.ReLU(inplace=is_inplace(layer))


@converts("nn.Threshold", traits=ACTIVATION)
def threshold(layer: Layer) -> nn.Threshold:
    """nn.Threshold([th = 1e-6], [v = 0], [inplace = false])"""
    return nn.Threshold(layer.number("threshold"), layer.number("val"), inplace=is_inplace(layer))


@converts("nn.ReLU6", traits=ACTIVATION)
def relu6(layer: Layer) -> nn.ReLU6:
    """nn.ReLU6([inplace = false])"""
    return nn.ReLU6(inplace=is_inplace(layer))


@converts("nn.HardTanh", "nn.Clamp", traits=ACTIVATION)
def hard_tanh(layer: Layer) -> nn.Hardtanh:
    """nn.HardTanh([min_value = -1], [max_value = 1], [inplace = false])"""
    return nn.Hardtanh(layer.number("min_val", -1.0), layer.number("max_val", 1.0), inplace=is_inplace(layer))


@converts("nn.ELU", traits=ACTIVATION)
def elu(layer: Layer) -> nn.ELU:
    """nn.ELU([alpha = 1], [inplace = false])"""
    return nn.ELU(layer.number("alpha", 1.0), inplace=is_inplace(layer))


@converts("nn.LeakyReLU", traits=ACTIVATION)
def leaky_relu(layer: Layer) -> nn.LeakyReLU:
    """nn.LeakyReLU([negval = 1/100], [inplace = false])"""
    return nn.LeakyReLU(layer.number("negval"), inplace=is_inplace(layer))


class PReLU(nn.PReLU):
    """nn.PReLU that also takes one sample without batch: a vector, each element with its own slope."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.prelu(x.unsqueeze(0) if x.dim() == 1 else x, self.weight)
        return y.squeeze(0) if x.dim() == 1 else y


@converts("nn.PReLU", traits=ACTIVATION)
def prelu(layer: Layer) -> nn.PReLU:
    """nn.PReLU([nOutputPlane])

    Dimension 2 holds the planes of every input of two or more dimensions, so an image needs a batch dimension.
    """
    layer.ignore("gradWeightBuf", "gradWeightBuf2")
    planes = layer.integer("nOutputPlane", 0)
    return layer.put(layer.make(PReLU, planes) if planes > 1 else layer.make(nn.PReLU), "weight")


class RReLU(nn.RReLU):
    """nn.RReLU that can be exported: in evaluation it is a leaky ReLU with the mean slope."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            return super().forward(x)
        return functional.leaky_relu(x, (self.lower + self.upper) / 2, self.inplace)


@converts("nn.RReLU", traits=ACTIVATION)
def rrelu(layer: Layer) -> RReLU:
    """nn.RReLU([lower = 1/8], [upper = 1/3], [inplace = false])"""
    layer.ignore("noise")
    return RReLU(layer.number("lower"), layer.number("upper"), inplace=is_inplace(layer))


@converts("nn.SoftPlus", traits=ACTIVATION)
def soft_plus(layer: Layer) -> nn.Softplus:
    """nn.SoftPlus([beta = 1])"""
    return nn.Softplus(layer.number("beta", 1.0), layer.number("threshold", 20.0))


converts_to(
    nn.Softsign,
    "nn.SoftSign",
    ignore=("temp", "tempgrad"),
    traits=Traits(safe_on_own_output=True, picture="activation"),
)


@converts("nn.SoftShrink", traits=Traits(safe_on_own_output=True))
def soft_shrink(layer: Layer) -> nn.Softshrink:
    """nn.SoftShrink([lambda = 0.5])"""
    bound = layer.number("lambda", 0.5)
    if bound < 0:
        layer.refuse(f"its lambda is {bound:g}; PyTorch has no soft shrinkage with a negative lambda")
    return nn.Softshrink(bound)


@converts("nn.HardShrink", traits=Traits(safe_on_own_output=True))
def hard_shrink(layer: Layer) -> nn.Hardshrink:
    """nn.HardShrink([lambda = 0.5])"""
    return nn.Hardshrink(layer.number("lambda", 0.5))


converts_to(nn.Tanhshrink, "nn.TanhShrink", ignore=("tanh",), traits=Traits(safe_on_own_output=True))
converts_to(nn.LogSigmoid, "nn.LogSigmoid", traits=ACTIVATION)
converts_to(nn.Tanh, "nn.Tanh", traits=ACTIVATION)
converts_to(nn.Sigmoid, "nn.Sigmoid", traits=ACTIVATION)


@converts("nn.GatedLinearUnit")
def gated_linear_unit(layer: Layer) -> nn.GLU:
    """nn.GatedLinearUnit([dim])"""
    return nn.GLU(layer.integer("dim") - 1 if layer.has("dim") else -1)


class CReLU(nn.Module):
    """Joins x and -x along the first dimension of a sample, which has `num_input_dims` of them, then rectifies."""

    def __init__(self, num_input_dims: int) -> None:
        super().__init__()
        self.num_input_dims = num_input_dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dim = 1 if x.dim() == self.num_input_dims + 1 else 0
        return torch.relu(torch.cat([x, -x], dim))

    def extra_repr(self) -> str:
        return f"num_input_dims={self.num_input_dims}"


@converts("nn.CReLU", traits=ACTIVATION)
def crelu(layer: Layer) -> CReLU:
    """nn.CReLU(nInputDims, [inplace = false])"""
    layer.ignore("modules", "inplace")  # in place refers to a tensor that the layer makes itself
    return CReLU(layer.integer("nInputDims"))


@converts("nn.Maxout")
def maxout(layer: Layer) -> nn.Sequential:
    """nn.Maxout(inputSize, outputSize, maxoutNumber, [preprocess])"""
    return nn.Sequential(*layer.modules())


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

"""Layers that code, place and compare images and features: Deep-Encoding, style-swap, VideoPrediction and others."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts, converts_to
from ....model.traits import Traits
from ...criterions.regression import AveragingCriterion, averages
from ...reshaping.slices import zero_based
from ..games import SalientReLU

SAME = Traits(reuses="nothing", safe_on_own_output=True, output="pass", keeps_size=True, keeps_numbers=True)
CRITERION = Traits(criterion=True)
STEREO = "jzbontar/mc-cnn"


class Aggregate(nn.Module):
    """Of [weights (…, N, K), residuals (…, N, K, D)] the weighted sums of the residuals over N, (…, K, D)."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        weights, residuals = x
        return (weights.unsqueeze(-1) * residuals).sum(-3)


@converts("nn.Aggregate")
def aggregate(layer: Layer) -> Aggregate:
    """nn.Aggregate(K, D), of zhanghang1989/Deep-Encoding"""
    layer.ignore("K", "D")
    return Aggregate()


class Encoding(nn.Module):
    """Of descriptors (…, N, D) the residuals to K codewords, softly assigned and added up over N, (…, K, D).

    Args:
        codewords: K.
        size: D.
    """

    def __init__(self, codewords: int, size: int) -> None:
        super().__init__()
        self.codewords = codewords
        self.size = size
        self.weight = nn.Parameter(torch.empty(codewords, size))
        self.bias = nn.Parameter(torch.empty(codewords))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residuals = x.unsqueeze(-2) - self.weight
        assigned = (-residuals.square().sum(-1) * self.bias).softmax(-1)
        return (assigned.unsqueeze(-1) * residuals).sum(-3)

    def extra_repr(self) -> str:
        return f"{self.codewords}, {self.size}"


@converts("nn.Encoding", traits=Traits(picture="weights"))
def encoding(layer: Layer) -> Encoding:
    """nn.Encoding(K, D), of zhanghang1989/Deep-Encoding

    Its bias scales the distances to the codewords. In Torch7 the part of the gradient that comes by the assignment has
    the other sign; here it is the derivative.
    """
    layer.ignore("K", "D", "A", "R", "L2", "SL2", "soft", "batchMul", "gradA", "gradSL2")
    return layer.put_all(layer.make(Encoding, *layer.tensor("weight").shape), "weight", "bias")


class NetVLAD(nn.Module):
    """Of descriptors (…, N, D) the residuals to K centres, assigned by a network and added up over N, (…, K, D).

    Args:
        assigner: gives the K shares of each descriptor.
        centres: K.
        size: D.
    """

    def __init__(self, assigner: nn.Module, centres: int, size: int) -> None:
        super().__init__()
        self.assigner = assigner
        self.centres = centres
        self.size = size
        self.weight = nn.Parameter(torch.empty(centres, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assigned: torch.Tensor = self.assigner(x.reshape(-1, self.size))
        residuals = x.unsqueeze(-2) - self.weight
        return (assigned.reshape(*x.shape[:-1], -1, 1) * residuals).sum(-3)

    def extra_repr(self) -> str:
        return f"{self.centres}, {self.size}"


@converts("nn.NetVLAD", traits=Traits(picture="weights"))
def net_vlad(layer: Layer) -> NetVLAD:
    """nn.NetVLAD(K, D), of zhanghang1989/Deep-Encoding"""
    layer.ignore("K", "D", "A", "R", "gradA")
    assigner = layer.module("assigner")
    return layer.put(layer.make(NetVLAD, assigner, *layer.tensor("weight").shape), "weight")


@converts("nn.Calibrate", traits=SAME)
def calibrate(layer: Layer) -> nn.Identity:
    """nn.Calibrate(), of zhanghang1989/MSG-Net

    It becomes nn.Identity; the Gram matrix that Torch7 keeps aside is not computed.
    """
    layer.ignore("gram", "calibrator")
    return nn.Identity()


class LargestPlane(nn.Module):
    """Of the planes of (…, C, H, W) 1 where one is the largest, 0 elsewhere; no gradient passes.

    Args:
        inplace: write it into the input.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        largest = x.argmax(-3, keepdim=True)
        marks = (torch.arange(x.shape[-3], device=x.device).reshape(-1, 1, 1) == largest).to(x.dtype)
        return x.copy_(marks) if self.inplace else marks

    def extra_repr(self) -> str:
        return f"inplace={self.inplace}"


@converts("nn.MaxCoord", traits=Traits(reads="images", keeps_size=True, reuses="nothing"))
def max_coord(layer: Layer) -> LargestPlane:
    """nn.MaxCoord([inplace = false]), of rtqichen/style-swap

    1 where a plane is the largest of all, 0 elsewhere.
    """
    # Torch7 works on floats, and so on a copy of numbers of any other type
    inplace = layer.flag("inplace", default=False) and layer.text("_type", "") == "torch.FloatTensor"
    if inplace:
        layer.traits(output="write")
    return LargestPlane(inplace)


class InvertCrop(nn.Module):
    """The affine matrices (N, 2, 3) of scale and shift that undo others; what is off their diagonal becomes 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        across, down, zero = x[:, 0, 0], x[:, 1, 1], torch.zeros_like(x[:, 0, 0])
        first = torch.stack([1 / across, zero, -x[:, 0, 2] / across], -1)
        return torch.stack([first, torch.stack([zero, 1 / down, -x[:, 1, 2] / down], -1)], 1)


converts_to(InvertCrop, "nn.CropInvert", project="reedscot/nips2016", traits=Traits(keeps_size=True))


class QuaternionProduct(nn.Module):
    """The products of the quaternions (…, 4) of two entries of a list."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        a, b, c, d = x[0].unbind(-1)
        e, f, g, h = x[1].unbind(-1)
        parts = (
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        )
        return torch.stack(parts, -1)


converts_to(
    QuaternionProduct, "nn.HamiltonProduct", project="shubhtuls/volumetricPrimitives", traits=Traits(reuses="nothing")
)


class Expand(nn.Module):
    """Repeats a dimension (0-based) of size 1 `count` times, without copying."""

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.dim = dim
        self.count = count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sizes = [-1] * x.dim()
        sizes[self.dim] = self.count
        return x.expand(sizes)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, count={self.count}"


@converts("nn.ExpandDim", traits=Traits(output="pass", reuses="nothing"))
def expand_dim(layer: Layer) -> Expand:
    """nn.ExpandDim(d, k), of coupriec/VideoPredictionICLR2016"""
    return Expand(zero_based(layer, "d"), layer.integer("k"))


class SquareUpsample(nn.Module):
    """Makes square images (N, C, h, h) larger, to H x H, by a matrix (H, h) on rows and on columns."""

    matrix: torch.Tensor

    def __init__(self, size: int, larger: int) -> None:
        super().__init__()
        self.size = size
        self.larger = larger
        self.register_buffer("matrix", torch.empty(larger, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.matrix @ x @ self.matrix.t()

    def extra_repr(self) -> str:
        return f"{self.size}, {self.larger}"


@converts("nn.SpatialUpSample", traits=Traits(reads="images", enlarges=True))
def spatial_up_sample(layer: Layer) -> SquareUpsample:
    """nn.SpatialUpSample(inputH, outputH), of coupriec/VideoPredictionICLR2016"""
    layer.ignore("h", "H", "tmp", "tmp2")
    larger, size = layer.tensor("M").shape
    return layer.put(layer.make(SquareUpsample, size, larger), "matrix", layer.tensor("M").detach(), field="M")


@converts("nn.DeconvReLU", "nn.GuidedBackpropReLU", traits=Traits(keeps_size=True, picture="activation"))
def salient_relu(layer: Layer) -> SalientReLU:
    """nn.GuidedBackpropReLU(), of ramprs/grad-cam

    nn.ReLU, but only positive gradients go back: nn.GuidedBackpropReLU's where the input was positive, nn.DeconvReLU's
    everywhere.
    """
    layer.ignore("inplace", "threshold", "val")
    return SalientReLU(deconv=layer.typename == "nn.DeconvReLU")


class TripletLoss(nn.Module):
    """How much nearer [anchors, alike, others] (N, D) come to the alike than to the others: what lacks to `alpha`."""

    def __init__(self, alpha: float = 0.2) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: list[torch.Tensor], target: Any = None) -> torch.Tensor:
        anchor, alike, other = x
        away = (anchor - alike).square().sum(1) - (anchor - other).square().sum(1)
        return (away + self.alpha).clamp(min=0).mean()

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


@converts("nn.TripletEmbeddingCriterion", traits=CRITERION)
def triplet_embedding_criterion(layer: Layer) -> TripletLoss:
    """nn.TripletEmbeddingCriterion([alpha = 0.2]), of Atcold/torch-TripletEmbedding

    Takes {anchors, alike, others}; it has no target.
    """
    layer.ignore("Li")
    return TripletLoss(layer.number("alpha", 0.2))


class ScaleSlices(nn.Module):
    """Multiplies each sample of a batch by a number of its own; with `inplace` the input itself.

    Args:
        samples: how many.
        inplace: change the input.
    """

    factors: torch.Tensor

    def __init__(self, samples: int, inplace: bool = False) -> None:
        super().__init__()
        self.samples = samples
        self.inplace = inplace
        self.register_buffer("factors", torch.empty(samples))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        factors = self.factors[: x.shape[0]].reshape(-1, *[1] * (x.dim() - 1))
        return x.mul_(factors) if self.inplace else x * factors

    def extra_repr(self) -> str:
        return f"{self.samples}, inplace={self.inplace}"


@converts("nn.MulConstantSlices", traits=Traits(keeps_size=True))
def mul_constant_slices(layer: Layer) -> ScaleSlices:
    """nn.MulConstantSlices(constant_tensor, [inplace = false]), of xgastaldi/shake-shake

    Each sample of a batch is multiplied by a number of its own.
    """
    inplace = layer.flag("inplace", default=False)
    if inplace:
        layer.traits(output="write")
    factors = layer.tensor("constant_tensor").detach()
    return layer.put(layer.make(ScaleSlices, factors.numel(), inplace), "factors", factors, field="constant_tensor")


class StereoProduct(nn.Module):
    """Of pairs of features that follow each other in a batch (2N, C, H, W) the products over C, (N, 1, H, W)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[0::2] * x[1::2]).sum(1, keepdim=True)


converts_to(StereoProduct, "nn.StereoJoin1", project=STEREO, ignore=("tmp",), traits=Traits(reads="images"))


@converts("nn.SpatialConvolution1_fw", traits=Traits(reads="images", picture="weights", zeros_by_chance=True))
def pointwise_convolution(layer: Layer) -> nn.Conv2d:
    """nn.SpatialConvolution1_fw(inputSize, outputSize), of jzbontar/mc-cnn

    A convolution of 1 x 1.
    """
    outputs, inputs = layer.tensor("weight").shape
    module = layer.make(nn.Conv2d, inputs, outputs, 1)
    layer.put(module, "weight", layer.tensor("weight").reshape(outputs, inputs, 1, 1), field="weight")
    return layer.put(module, "bias", layer.tensor("bias").reshape(-1), field="bias")


class UnitFeatures(nn.Module):
    """Divides the features of each pixel of (N, C, H, W) by the root of the sum of their squares and 1e-5."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().sum(1, keepdim=True) + 1e-5).sqrt()


CUDA = "its source is CUDA, and needs a GPU"
NORMALIZATION = Traits(reads="images", keeps_size=True, picture="normalization", unproven=CUDA)

converts_to(UnitFeatures, "nn.Normalize2", project=STEREO, ignore=("norm",), traits=NORMALIZATION)


@converts("nn.StereoJoin")
def stereo_join(layer: Layer) -> nn.Module:
    """nn.StereoJoin(disp_max), of jzbontar/mc-cnn

    Not converted: its CUDA leaves what is beyond the left border as it was in memory.
    """
    layer.refuse(
        "its CUDA leaves what is beyond the left border as it was in memory, so that its output is not defined"
    )


class SafeBinaryCrossEntropy(AveragingCriterion):
    """The binary cross entropy of probabilities, 1e-12 added before each logarithm."""

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = -((1 - target) * (1 - x + 1e-12).log() + target * (x + 1e-12).log())
        return loss.mean() if self.average else loss.sum()


@converts("nn.BCECriterion2", traits=CRITERION)
def bce_criterion_2(layer: Layer) -> SafeBinaryCrossEntropy:
    """nn.BCECriterion2(), of jzbontar/mc-cnn"""
    layer.ignore("term1", "term2", "term3")
    return SafeBinaryCrossEntropy(averages(layer))

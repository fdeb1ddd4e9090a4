"""Layers of networks with an outside memory: kaishengtai/torch-ntm, facebook/MemNN, facebookresearch/fairseq-lua."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, converts_to, module_form
from ...model.traits import Traits
from ...source.forms import Structure
from ..tables.products import MatrixProduct
from ..tables.table_layers import AddEntries

MERGES = Traits(picture="merge")


class ScalarProduct(nn.Module):
    """The first entry of a list times the only number of the second."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0] * x[1].reshape(-1)[0]


converts_to(ScalarProduct, "nn.ScalarMulTable", project="kaishengtai/torch-ntm", traits=MERGES)


class ScalarQuotient(nn.Module):
    """The first entry of a list divided by the only number of the second."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0] / x[1].reshape(-1)[0]


converts_to(ScalarQuotient, "nn.ScalarDivTable", project="kaishengtai/torch-ntm", traits=MERGES)


class ScalarPower(nn.Module):
    """The first entry of a list raised to the only number of the second."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0] ** x[1].reshape(-1)[0]


converts_to(ScalarPower, "nn.PowTable", project="kaishengtai/torch-ntm")


class OuterProduct(nn.Module):
    """The outer product of two or three vectors, or of two batches (N, A), (N, B) of them."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        product = x[0].unsqueeze(-1) * x[1].unsqueeze(-2)
        return product if len(x) == 2 else product.unsqueeze(-1) * x[2]


@converts("nn.OuterProd")
def outer_prod(layer: Layer) -> OuterProduct:
    """nn.OuterProd(), of kaishengtai/torch-ntm (vectors) and of yoonkim/lstm-char-cnn (batches too)"""
    layer.ignore("order", "size")
    return OuterProduct()


class SmoothCosine(nn.Module):
    """The cosines of a matrix's rows (N, D) with a vector (D,); `smooth` is added to the product of the norms."""

    def __init__(self, smooth: float = 1e-3) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        rows, vector = x
        norms: torch.Tensor = rows.norm(dim=1) * vector.norm()
        return rows @ vector / (norms + self.smooth)

    def extra_repr(self) -> str:
        return f"smooth={self.smooth}"


@converts("nn.SmoothCosineSimilarity")
def smooth_cosine_similarity(layer: Layer) -> SmoothCosine:
    """nn.SmoothCosineSimilarity([smoothen = 1e-3]), of kaishengtai/torch-ntm"""
    layer.ignore("rownorms", "knorm", "dot")
    return SmoothCosine(layer.number("smooth"))


class CircularConvolution(nn.Module):
    """Convolves a vector, taken as a ring, with a kernel whose middle keeps each number at its place."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        vector, kernel = x
        middle = len(kernel) // 2
        turned = [torch.roll(vector, i - middle) for i in range(len(kernel))]
        return kernel @ torch.stack(turned)


@converts("nn.CircularConvolution", traits=Traits(picture="weights"))
def circular_convolution(layer: Layer) -> CircularConvolution:
    """nn.CircularConvolution(), of kaishengtai/torch-ntm

    Takes {vector, kernel}.
    """
    layer.ignore("size", "kernel_size", "kernel_shift")
    return CircularConvolution()


class UnitLength(nn.Module):
    """Divides by the norm over the last dimension; where that is at most `threshold`, by 1 + `threshold`."""

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm: torch.Tensor = x.norm(dim=-1, keepdim=True)
        return x / norm.masked_fill(norm <= self.threshold, self.threshold + 1)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"


@converts("nn.Normalization", traits=Traits(keeps_size=True))
def normalization(layer: Layer) -> UnitLength:
    """nn.Normalization(), of facebook/MemNN (EntNet-babi)"""
    return UnitLength(layer.number("thresh", 0.0))


@converts("nn.BeamableMM", traits=MERGES)
def beamable_mm(layer: Layer) -> MatrixProduct:
    """nn.BeamableMM([transA = false], [transB = false]), of facebookresearch/fairseq-lua

    nn.MM; a beam size only tells Torch7 how to compute it faster.
    """
    layer.ignore("beam")
    return MatrixProduct(layer.flag("transA", default=False), layer.flag("transB", default=False))


class ScaledSum(AddEntries):
    """Adds up the entries of a list, and multiplies the sum by `factor`."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return super().forward(x) * self.factor

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


module_form("structure", ScaledSum)(Structure(merges="sum"))


@converts("nn.CAddTableMulConstant")
def scaled_add_table(layer: Layer) -> ScaledSum:
    """nn.CAddTableMulConstant(constant_scalar), of facebookresearch/fairseq-lua"""
    layer.ignore("inplace")
    return ScaledSum(layer.number("constant_scalar"))


@converts("nn.GradMultiply")
def grad_multiply(layer: Layer) -> nn.Module:
    """nn.GradMultiply(module, factor), of facebookresearch/fairseq-lua

    It becomes the module that it holds.
    """
    factor = layer.number("factor")
    layer.note(f"in Torch7 the gradients of its parameters are multiplied by {factor:g}; here they are not")
    (module,) = layer.modules()
    return module


class AppendOne(nn.Module):
    """Appends a 1 to the last dimension."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, torch.ones_like(x[..., :1])], -1)


converts_to(AppendOne, "nn.AppendBias", project="facebookresearch/fairseq-lua")


class ScaleByLength(nn.Module):
    """Multiplies the first entry of a list by the square root of the second's size in its second dimension."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0] * math.sqrt(x[1].shape[1])


@converts("nn.SeqMultiply")
def seq_multiply(layer: Layer) -> ScaleByLength:
    """nn.SeqMultiply(), of facebookresearch/fairseq-lua

    Takes {x, sequences}; x is multiplied by the square root of the length of the sequences.
    """
    layer.ignore("scale", "zeroGrads", "grads")
    return ScaleByLength()


class ZipManyToOne(nn.Module):
    """Turns [[a, b, …], v] into [[a, v], [b, v], …]."""

    def forward(self, x: list[Any]) -> list[list[Any]]:
        return [[item, x[1]] for item in x[0]]


converts_to(
    ZipManyToOne, "nn.ZipAlong", project="facebookresearch/fairseq-lua", ignore=("gradInputBase", "gradInputDup")
)

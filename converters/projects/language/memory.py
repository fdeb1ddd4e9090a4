"""Layers of networks with an outside memory: kaishengtai/torch-ntm, facebook/MemNN, facebookresearch/fairseq-lua."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ....model.layer import Layer
from ....model.recurrent_state import Remembering
from ....model.registry import converts, converts_to, module_form
from ....model.traits import Traits
from ....source.forms import Structure
from ...tables.products import MatrixProduct
from ...tables.table_layers import AddEntries

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


class TimeFirstConv1d(nn.Conv1d):
    """A convolution over time of (time, batch, features)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(1, 2, 0)).permute(2, 0, 1)


@converts("nn.TemporalConvolutionTBC", traits=Traits(reads="sequences", picture="weights", zeros_by_chance=True))
def temporal_convolution_tbc(layer: Layer) -> TimeFirstConv1d:
    """nn.TemporalConvolutionTBC(nIn, nOut, kw, [pad = 0]), of facebook/fbnn

    A convolution over time of (time, batch, features), as facebookresearch/fairseq-lua's networks have it.
    """
    inputs, outputs, width = layer.integer("nIn"), layer.integer("nOut"), layer.integer("kw")
    module = layer.make(
        TimeFirstConv1d, inputs, outputs, width, padding=layer.integer("pad", 0), bias=layer.has("bias")
    )
    layer.put(module, "weight", layer.tensor("weight").permute(2, 1, 0), field="weight")
    return layer.put_all(module, "bias")


class Either(nn.Module):
    """Runs one module in training, another in evaluation."""

    def __init__(self, for_training: nn.Module, for_evaluation: nn.Module) -> None:
        super().__init__()
        self.for_training = for_training
        self.for_evaluation = for_evaluation

    def forward(self, x: Any) -> Any:
        return self.for_training(x) if self.training else self.for_evaluation(x)


@converts("nn.TrainTestLayer", "nn.ConvBlockTrainTestLayer", traits=Traits(reuses="unknown"))
def train_test_layer(layer: Layer) -> Either:
    """nn.TrainTestLayer(trainModule, evalModule, onTrain, onEvaluate), of facebookresearch/fairseq-lua

    The first module runs in training, the second in evaluation. Torch7 copies weights from one to the other where the
    mode changes; here both keep what the file holds.
    """
    layer.ignore("onTrain", "onEvaluate")
    if not layer.trains():
        layer.note("in evaluation its second module runs, with the weights that the file holds for it")
    for_training, for_evaluation = layer.modules()
    return Either(for_training, for_evaluation)


class WindowStart(nn.Module):
    """What a convolution gives for the first frames of a sequence: all frames of its window but the last are zero.

    Args:
        in_features: numbers of a frame.
        out_features: numbers of a result.
        width: frames of the window.
    """

    def __init__(self, in_features: int, out_features: int, width: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.width = width
        self.weight = nn.Parameter(torch.empty(out_features, width * in_features))
        self.bias = nn.Parameter(torch.empty(out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = x[:, -1] if self.width > 1 else x.flatten(1)
        weight = self.weight[:, self.weight.shape[1] - last.shape[1] :]
        return nn.functional.linear(last, weight, self.bias).unsqueeze(1)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, width={self.width}"


@converts("nn.LinearizedConvolution", traits=Traits(picture="weights"))
def linearized_convolution(layer: Layer) -> WindowStart:
    """nn.LinearizedConvolution(), of facebookresearch/fairseq-lua

    A convolution of which each call computes the last frame. fairseq's decoder shifts its window between calls
    (shiftState); here every call is the first step of a sequence.
    """
    layer.ignore("tmpBuffer", "inputBuffer", "addBuffer")
    width = layer.integer("kw")
    if width < 1 or not layer.has("weight"):
        layer.refuse("its weight was never set (setParameters)")
    if layer.has("inputBuffer"):
        layer.note("the file holds the window of the last sequence, which the converted layer does not go on with")
    layer.note("each call is the first step of a sequence; fairseq's decoder shifts the window between calls")
    outputs, columns = layer.tensor("weight").shape
    return layer.put_all(layer.make(WindowStart, columns // width, outputs, width), "weight", "bias")


class NeuralTuringMachine(Remembering):
    """One step of a Neural Turing Machine: `cell` turns [x, state …] into [output, state …].

    Args:
        cell: the step.
        start: gives [output, state …] before the first step, of a tensor of one 0.
    """

    def __init__(self, cell: nn.Module, start: nn.Module) -> None:
        super().__init__()
        self.cell = cell
        self.start = start

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state: list[Any] = self.start(x.new_zeros(1))[1:] if self.state is None else self.state
        output: torch.Tensor
        output, *self.state = self.cell([x, *state])
        return output


#: What says again how the cell of nn.NTM was built.
_CONFIGURATION = ("input_dim", "output_dim", "mem_rows", "mem_cols", "cont_dim", "cont_layers", "shift_range")


MACHINE = Traits(recurrent=True, picture="recurrent", children=("master_cell", "init_module"), reuses="nothing")


@converts("ntm.NTM", traits=MACHINE)
def neural_turing_machine(layer: Layer) -> NeuralTuringMachine:
    """ntm.NTM(config), of kaishengtai/torch-ntm

    A call is one time step; `forget(module)` starts a new sequence.
    """
    layer.ignore(*_CONFIGURATION, "write_heads", "read_heads", "depth", "cells", "initial_values")
    return NeuralTuringMachine(layer.module("master_cell"), layer.module("init_module"))

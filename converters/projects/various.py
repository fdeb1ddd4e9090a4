"""Layers that no package has, but that well-known projects defined beside their models."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, converts_to, module_form
from ...model.traits import Traits
from ...source.expressions import Variable, python
from ...t7 import LuaTable, Tensor
from ..linear.lookup import LookupTable, lookup_table
from ..tables.decorators import dtype_of
from .generation.style import is_fresh


class PlaneAffine(nn.Module):
    """Scales each plane and adds a bias: what an instance normalization comes to that runs on fresh statistics."""

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.affine = affine
        if affine:
            self.weight = nn.Parameter(torch.empty(num_features))
            self.bias = nn.Parameter(torch.empty(num_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale: float = (1 + self.eps) ** 0.5
        if not self.affine:
            return x / scale
        y: torch.Tensor = x * (self.weight / scale).reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)
        return y

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, affine={self.affine}"


def _instance_norm(layer: Layer, *, measure: bool) -> nn.Module:
    layer.ignore("momentum", "affine", "prev_batch_size", "bn", "prev_N", "running_mean", "running_var")
    features = layer.integer("nOutput") if layer.has("nOutput") else layer.tensor("weight").numel()
    eps, affine = layer.number("eps", 1e-5), layer.has("weight")
    if layer.flag("disabled", default=False):
        layer.ignore("weight", "bias")
        layer.traits(output="copy")
        return nn.Identity()
    module: nn.Module
    if measure:
        module = layer.make(nn.InstanceNorm2d, features, eps=eps, affine=affine)
    else:
        module = layer.make(PlaneAffine, features, eps=eps, affine=affine)
    if affine:
        layer.put_all(module, "weight", "bias")
    return module


@converts("nn.InstanceNormalization", traits=Traits(reads="numbers", keeps_size=True, picture="normalization"))
def instance_normalization(layer: Layer) -> nn.Module:
    """nn.InstanceNormalization(nOutput, [eps = 1e-5], [momentum = 0.1], [affine = true])

    Of jcjohnson/fast-neural-style, DmitryUlyanov/texture_nets, junyanz/CycleGAN and xunhuang1995/AdaIN-style. It runs a
    batch normalization on a batch of one, and the last nn passes such a batch through its fresh running statistics:
    each plane is only scaled. Models trained with an nn before that (2017) normalized each plane by its own statistics:
    convert these with --alias nn.InstanceNormalization=torchmigrate.InstanceNorm. If the file holds running statistics
    that were updated, which only that nn did, this happens by itself.
    """
    if not (is_fresh(layer.object) and is_fresh(layer.value("bn", None))):
        layer.note(
            "its running statistics were updated, which nn did only when it still normalized each plane by its own "
            "statistics (until 2017): so does the converted layer. The last Torch7 computes something else from this "
            "file, which depends on the size of the batch"
        )
        return _instance_norm(layer, measure=True)
    layer.note(
        "the last Torch7 only scales here, since its batch normalization passes a batch of one through its running "
        "statistics. If the model was trained before nn did so (2017), and normalizes each plane, convert it with "
        "--alias nn.InstanceNormalization=torchmigrate.InstanceNorm"
    )
    return _instance_norm(layer, measure=False)


@converts("torchmigrate.InstanceNorm", traits=Traits(unproven="it stands for an nn of before 2017"))
def instance_norm(layer: Layer) -> nn.Module:
    """--alias nn.InstanceNormalization=torchmigrate.InstanceNorm

    Each plane of each image is normalized by its own mean and variance, as fast-neural-style meant it.
    """
    return _instance_norm(layer, measure=True)


@converts("nn.Rectifier")
def rectifier(layer: Layer) -> nn.ReLU:
    """nn.Rectifier()

    deep-q-network's: (|x| + x) / 2, which is nn.ReLU, its gradient too.
    """
    return nn.ReLU()


class OneHot(nn.Module):
    """Rows with a one at a 1-based index and zeros elsewhere, whatever type the indices have.

    Args:
        depth: numbers of a row.
        number_type: of the rows; `float()`, `double()` and `to(dtype)` change it like that of a weight.
    """

    def __init__(self, depth: int, number_type: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.depth = depth
        self.number_type = number_type

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> OneHot:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.number_type = fn(torch.empty(0, dtype=self.number_type)).dtype
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # or a number, which TorchScript can't say beside it
        indices = torch.as_tensor(x)
        numbers = torch.arange(1, self.depth + 1, device=indices.device)
        return (indices.long().unsqueeze(-1) == numbers).to(self.number_type)

    def extra_repr(self) -> str:
        return f"{self.depth}, number_type={self.number_type}"


@module_form("python", OneHot)
def _rows(module: OneHot, x: Variable) -> ast.expr | None:
    """As PyTorch has it."""
    name = {torch.float32: "float", torch.float64: "double"}.get(module.number_type)
    if name is None or not all(isinstance(value, torch.Tensor) for value in x.values):
        return None
    return python(f"F.one_hot(x.long() - 1, depth).{name}()", x=x, depth=module.depth)


class OneHotBut(OneHot):
    """OneHot, with zeros in one column; of indices (N, 1) it makes rows (N, depth).

    Args:
        depth: numbers of a row.
        zeros: the column, 1-based.
        number_type: of the rows.
    """

    def __init__(self, depth: int, zeros: int, number_type: torch.dtype = torch.float32) -> None:
        super().__init__(depth, number_type)
        self.zeros = zeros

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        indices = x[:, 0] if x.dim() == 2 and x.shape[1] == 1 else x
        return super().forward(torch.where(indices == self.zeros, 0, indices))

    def extra_repr(self) -> str:
        return f"{self.depth}, zeros={self.zeros}, number_type={self.number_type}"


@converts("OneHot", "nn.OneHot", traits=Traits(reads="indices"))
def one_hot(layer: Layer) -> OneHot:
    """nn.OneHot(outputSize), or char-rnn's OneHot(outputSize)

    Torch7 copies the rows into `output`, whose type is that of the model, and Double where nothing says another.
    nn.OneHot(outputSize, [zeroOnNum]) of eladhoffer/seq2seq.torch sets a column to zero.
    """
    layer.ignore("_eye", "_input", "_single", "_longInput", "_ix", "_longInput2", "inputTensorType")
    depth = layer.integer("depth") if layer.has("depth") else layer.integer("outputSize")
    layer.ignore("depth", "outputSize")
    said = layer.text("_type", "torch.DoubleTensor")
    kept = [value.type for name in ("output", "gradInput") if isinstance(value := layer.object.get(name), Tensor)]
    number_type = dtype_of([*kept, said][0]) or torch.float64
    if layer.has("zeroOnNum"):
        return OneHotBut(depth, layer.integer("zeroOnNum"), number_type)
    return OneHot(depth, number_type)


@converts("nn.SpatialConvolutionGroups", traits=Traits(reads="images", output="children"))
def spatial_convolution_groups(layer: Layer) -> nn.Module:
    """nn.SpatialConvolutionGroups(nInputPlane, nOutputPlane, kW, kH, dW, dH, padW, padH, groups), of fmassa/torch-nn

    It becomes the nn.Concat that it holds, of a convolution for each group of planes.
    """
    return layer.convert(layer.value("modules"), "modules")


class AlwaysDropout(nn.Module):
    """Drops numbers with probability p and scales the others, in evaluation too; with p = 0 it gives zeros."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.p <= 0:
            return torch.zeros_like(x)
        return x * torch.empty_like(x).bernoulli_(1 - self.p) / (1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


@converts("nn.DropoutEx", traits=Traits(keeps_size=True, picture="dropout", label=("p",)))
def dropout_ex(layer: Layer) -> AlwaysDropout:
    """nn.DropoutEx([p = 0.5]), of torch/tutorials

    It drops numbers in evaluation too.
    """
    layer.ignore("noise")
    module = AlwaysDropout(layer.number("p"))
    layer.traits(random=module.p > 0)
    return module


class Rows(nn.Module):
    """Cuts a vector into rows of a length."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, self.length).clone()

    def extra_repr(self) -> str:
        return f"{self.length}"


@converts("nn.Ravel", traits=Traits(keeps_numbers=True))
def ravel(layer: Layer) -> Rows:
    """nn.Ravel(seq_length), of fwtan/obj2txt"""
    return Rows(layer.integer("seq_length"))


class MergeFirst(nn.Module):
    """Merges the first two dimensions of (N, T, D)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(0, 1).clone()


converts_to(MergeFirst, "nn.Unravel", project="fwtan/obj2txt", traits=Traits(keeps_numbers=True))


@converts("nn.FairLookupTable", traits=Traits(reuses="rows", reads="indices", picture="weights"))
def fair_lookup_table(layer: Layer) -> LookupTable:
    """nn.FairLookupTable(batchScaled, nIndex, nOutput), of nicholas-leonard/dp

    nn.LookupTable; Torch7 divides the updates of a row by how often it was looked up, here they are not.
    """
    layer.ignore("batchScaled", "batchSize", "inputs")
    return lookup_table(layer)


class AdaptiveSoftMax(nn.Module):
    """Scores of frequent words and of the clusters of rare ones, and of the words of each cluster for some samples.

    Args:
        head: scores of the frequent words and of the clusters.
        tail: for each cluster the scores of its words.
        cutoff: the last word of the head, and of each cluster.
        rows: for each cluster the samples (0-based) that are scored, as the last targets asked for.
    """

    def __init__(self, head: nn.Module, tail: list[nn.Module], cutoff: list[int], rows: list[list[int]]) -> None:
        super().__init__()
        self.head = head
        self.tail = nn.ModuleList(tail)
        self.cutoff = cutoff
        self.rows = rows

    def forward(self, x: torch.Tensor) -> list[Any]:
        scores: list[Any] = [self.head(x)]
        for cluster, rows in zip(self.tail, self.rows, strict=False):
            scores.append(cluster(x[rows]) if rows else [])
        return scores

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """The log probabilities (N, words) of all words, Torch7's getLogProb."""
        head = self.head(x).log_softmax(1)
        first = self.cutoff[0]
        parts = [head[:, :first]]
        for i, cluster in enumerate(self.tail):
            parts.append(head[:, first + i : first + i + 1] + cluster(x).log_softmax(1))
        return torch.cat(parts, 1)

    def extra_repr(self) -> str:
        return f"cutoff={self.cutoff}"


@converts("nn.AdaptiveSoftMax", traits=Traits(children=("head", "tail"), reads="numbers"))
def adaptive_soft_max(layer: Layer) -> AdaptiveSoftMax:
    """nn.AdaptiveSoftMax(isz, cutoff), of facebookresearch/adaptive-softmax

    Which samples are scored by the clusters hangs on the targets that Torch7 was given before (setTarget); it keeps
    those of the file. All log probabilities: module.log_prob(x).
    """
    layer.ignore("isz", "hsz")
    cutoff = list(layer.integers("cutoff"))
    asked = layer.value("idx", LuaTable()).list()
    rows = [[int(i) - 1 for i in held.numpy().reshape(-1)] if isinstance(held, Tensor) else [] for held in asked]
    layer.note(
        "which samples are scored by the clusters of rare words are those of the targets that Torch7 was given last "
        "(setTarget); module.log_prob(x) gives the log probabilities of all words"
    )
    return AdaptiveSoftMax(layer.module("head"), layer.modules("tail"), cutoff, rows)


class AdaptiveLoss(nn.Module):
    """The cross entropy of what AdaptiveSoftMax gives: of the head, and of each cluster for its own targets (1-based).

    Args:
        cutoff: the last word of the head, and of each cluster.
    """

    def __init__(self, cutoff: list[int]) -> None:
        super().__init__()
        self.cutoff = cutoff

    def forward(self, x: list[Any], target: torch.Tensor) -> torch.Tensor:
        words = target.reshape(-1).long()
        first = words.clone()
        loss: torch.Tensor = x[0].new_zeros(())
        for i, (low, high) in enumerate(zip(self.cutoff, self.cutoff[1:], strict=False)):
            within = (words > low) & (words <= high)
            first = torch.where(within, self.cutoff[0] + i + 1, first)
            if len(x) > i + 1 and isinstance(x[i + 1], torch.Tensor):
                loss = loss + nn.functional.cross_entropy(x[i + 1], words[within] - low - 1, reduction="sum")
        loss = loss + nn.functional.cross_entropy(x[0], first - 1, reduction="sum")
        mean: torch.Tensor = loss / x[0].shape[0]
        return mean

    def extra_repr(self) -> str:
        return f"cutoff={self.cutoff}"


@converts("nn.AdaptiveLoss", traits=Traits(criterion=True))
def adaptive_loss(layer: Layer) -> AdaptiveLoss:
    """nn.AdaptiveLoss(cutoff), of facebookresearch/adaptive-softmax"""
    layer.ignore("criterions")
    return AdaptiveLoss(list(layer.integers("cutoff")))


@converts(
    "nn.PositionalEncoder", "nn.SumVecarr", "nn.WeightedLookupTableSkinny", "nn.ScaleBHWD", "nn.BilinearSamplerBDHW"
)
def computed_in_c(layer: Layer) -> nn.Module:
    """nn.PositionalEncoder([forwardLen]), of facebook/MemNN

    Not converted, nor are its nn.SumVecarr and nn.WeightedLookupTableSkinny, nn.ScaleBHWD of anuragranj/spynet and
    nn.BilinearSamplerBDHW of manuelruder/fast-artistic-videos: libraries of the projects in C and CUDA compute them.
    """
    layer.refuse("a library of the project, in C or CUDA, computes it")

"""Layers of attention and of encoders: jeffreyling/seq2seq-hard, patverga/torch-relation-extraction and others."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts
from ....model.traits import Traits
from ...pointwise.changed_gradients import PASSES
from ...pointwise.dropout import MaskDropout, dropout
from ...reshaping.slices import zero_based
from ...tables.containers import ConcatTable
from ...tables.table_layers import JoinTable, join_table
from .sentence_pairs import LOOKS_UP, FixedLookupTable


class ReplicateAs(nn.Module):
    """Repeats x[0] along a new dimension `dim`, as often as dimension `like` of x[1] is long.

    Args:
        dim: where the new dimension stands, 0-based.
        like: a dimension of x[1], 0-based.
        joined: a matrix comes out: all that is behind the first dimension becomes one.
    """

    def __init__(self, dim: int, like: int, joined: bool = False) -> None:
        super().__init__()
        self.dim = dim
        self.like = like
        self.joined = joined

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        size = [*x[0].shape]
        size.insert(self.dim, x[1].shape[self.like])
        y = x[0].unsqueeze(self.dim).expand(size)
        return y.flatten(1) if self.joined else y

    def extra_repr(self) -> str:
        return f"{self.dim}, {self.like}, joined={self.joined}"


@converts("nn.ReplicateAs", traits=Traits(reuses="nothing"))
def replicate_as(layer: Layer) -> ReplicateAs:
    """nn.ReplicateAs(in_dim, template_dim), of jeffreyling/seq2seq-hard

    Takes {x, template} and repeats x along a new dimension in_dim as often as the template is long in template_dim.
    nn.ReplicateAs(dim, ndim) of patverga/torch-relation-extraction takes matrices, repeats each row as often as the
    template has columns, and gives a matrix.
    """
    if layer.has("in_dim"):
        layer.traits(output="pass")
        return ReplicateAs(zero_based(layer, "in_dim"), zero_based(layer, "template_dim"))
    layer.ignore("nfeatures")
    dims = layer.integer("ndim") if layer.has("ndim") else 2
    dim = layer.integer("dim", 1)
    if (dim, dims) not in ((2, 2), (1, 1)):
        layer.refuse(f"with dim = {dim} and ndim = {dims} it repeats no rows")
    layer.note("its Lua adds up the gradient along another dimension; here it is the derivative")
    return ReplicateAs(1, 1, joined=True)


class ViewAs(nn.Module):
    """Gives x[0] the first `dims` sizes of x[1]; without `dims` all of them."""

    def __init__(self, dims: int | None = None) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0].reshape(x[1].shape[: self.dims])

    def extra_repr(self) -> str:
        return f"dims={self.dims}"


@converts("nn.ViewAs", traits=PASSES)
def view_as(layer: Layer) -> ViewAs:
    """nn.ViewAs([ndim]), of jeffreyling/seq2seq-hard

    Takes {x, template}: x gets the first ndim sizes of the template, or all of them.
    """
    return ViewAs(layer.integer("ndim") if layer.has("ndim") else None)


class SparseMax(nn.Module):
    """The nearest point of the simplex, along the dimension that Torch7's SoftMax takes (0 of 1 or 3, else 1)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dim = 1 if x.dim() in (2, 4) else 0
        z = x - x.amax(dim, keepdim=True)
        sorted_z = z.sort(dim, descending=True).values
        shape = [-1 if d == dim else 1 for d in range(x.dim())]
        place = torch.arange(1, x.shape[dim] + 1, device=x.device).to(x.dtype).reshape(shape)
        above = (1 + place * sorted_z > sorted_z.cumsum(dim)).to(x.dtype)
        count = (place * above).amax(dim, keepdim=True)
        threshold = ((above * sorted_z).sum(dim, keepdim=True) - 1) / count
        return torch.relu(z - threshold)


@converts("nn.SparseMax", traits=Traits(keeps_size=True, reuses="nothing", picture="activation"))
def sparse_max(layer: Layer) -> SparseMax:
    """nn.SparseMax(), of jeffreyling/seq2seq-hard

    Sparsemax along the dimension that nn.SoftMax takes.
    """
    return SparseMax()


class AddEntropyGradient(torch.autograd.Function):
    """The input; its gradient gets that of a multiple of the entropy."""

    @staticmethod
    def forward(x: torch.Tensor, scale: float) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, float], output: torch.Tensor) -> None:
        x, ctx.scale = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad - ctx.scale * ((x + 1e-8).log() + 1), None


class EntropyPenalty(nn.Module):
    """Gives its input; the gradient gets that of `scale` times the entropy."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = AddEntropyGradient.apply(x, self.scale)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"{self.scale}"


@converts("nn.EntropyBackward", traits=Traits(output="pass", reuses="nothing", keeps_size=True, keeps_numbers=True))
def entropy_backward(layer: Layer) -> EntropyPenalty:
    """nn.EntropyBackward(entropy), of jeffreyling/seq2seq-hard

    Gives its input; the gradient gets that of `entropy` times the entropy.
    """
    return EntropyPenalty(layer.number("entropy"))


@converts("nn.SynchedDropout", traits=Traits(output="copy", keeps_size=True, picture="dropout", label=("p",)))
def synched_dropout(layer: Layer) -> nn.Dropout | MaskDropout:
    """nn.SynchedDropout([p = 0.5], [global_noise], [noise_idx], [v1 = false], [inplace = false]), of harvardnlp/BSO

    nn.Dropout; in Torch7 the training script draws what is dropped.
    """
    layer.ignore("global_noise", "noise_idx")
    layer.note("in training it draws what it drops at each call; in Torch7 the script draws that once for all steps")
    return dropout(layer)


@converts("nn.Freeze", traits=Traits(output="children", flow="wrapper", children=("module",)))
def freeze(layer: Layer) -> nn.Module:
    """nn.Freeze(module), of deepsearch-dcd/vqa

    It becomes the module that it holds.
    """
    layer.note("in Torch7 its parameters are not trained; here they are, unless they are told not to")
    return layer.module("module")


class FitLength(nn.Module):
    """Cuts or pads the end of a dimension to a length.

    Args:
        dim: the dimension, 0-based, of an input of `input_dims` dimensions, or of any if that is None.
        length: what it becomes.
        input_dims: an input of another number of dimensions is a batch, and the next dimension is meant.
        value: what is put there.
    """

    def __init__(self, dim: int, length: int, input_dims: int | None = None, value: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.length = length
        self.input_dims = input_dims
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dim = self.dim + (self.input_dims is not None and x.dim() != self.input_dims)
        missing = self.length - x.shape[dim]
        return nn.functional.pad(x, [0, 0] * (x.dim() - 1 - dim) + [0, missing], value=self.value)

    def extra_repr(self) -> str:
        return f"{self.dim}, {self.length}, input_dims={self.input_dims}, value={self.value}"


@converts("nn.MakeupPadding")
def makeup_padding(layer: Layer) -> FitLength:
    """nn.MakeupPadding(dim, len, [nInputDim], [value = 0]), of deepsearch-dcd/vqa

    Cuts or pads the end of a dimension to the length len.
    """
    layer.ignore("outputSize")
    dims = layer.integer("nInputDim") if layer.has("nInputDim") else None
    return FitLength(zero_based(layer, "dim"), layer.integer("len"), dims, layer.number("value", 0.0))


class LastEntry(nn.Module):
    """The last entry along `dim` (0-based)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.select(self.dim, -1).clone()

    def extra_repr(self) -> str:
        return f"{self.dim}"


@converts("nn.SelectLast")
def select_last(layer: Layer) -> LastEntry:
    """nn.SelectLast(dimension), of patverga/torch-relation-extraction

    The last entry along a dimension.
    """
    return LastEntry(zero_based(layer, "dimension"))


@converts("nn.NoUpdateLookupTable", traits=LOOKS_UP)
def no_update_lookup_table(layer: Layer) -> FixedLookupTable:
    """nn.NoUpdateLookupTable(nIndex, nOutput), of patverga/torch-relation-extraction

    nn.LookupTable whose weight gets no gradient.
    """
    layer.ignore("_count", "_input", "paddingValue", "shouldScaleGradByFreq", "_sorted", "_indices", "size")
    if layer.has("maxNorm"):
        layer.refuse("rows that are scaled to a norm are not known of this class")
    return layer.put(layer.make(FixedLookupTable, *layer.tensor("weight").shape), "weight")


@converts("nn.VariableLengthJoinTable", traits=Traits(picture="merge"))
def variable_length_join_table(layer: Layer) -> JoinTable:
    """nn.VariableLengthJoinTable(dimension, [nInputDims]), of patverga/torch-relation-extraction

    nn.JoinTable.
    """
    return join_table(layer)


@converts("nn.VariableLengthConcatTable", traits=Traits(output="children", flow="branches"))
def variable_length_concat_table(layer: Layer) -> ConcatTable:
    """nn.VariableLengthConcatTable(), of patverga/torch-relation-extraction

    nn.ConcatTable.
    """
    return ConcatTable(layer.modules())


class WordDropout(nn.Module):
    """In training, puts the index `unknown` in the place of words with probability p."""

    def __init__(self, p: float, unknown: float) -> None:
        super().__init__()
        self.p = p
        self.unknown = unknown

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x.clone()
        kept = torch.empty(x.shape, device=x.device).bernoulli_(1 - self.p).to(x.dtype)
        return x * kept + self.unknown * (1 - kept)

    def extra_repr(self) -> str:
        return f"p={self.p}, unknown={self.unknown}"


@converts("nn.WordDropout", traits=Traits(keeps_size=True, reads="indices", picture="dropout", label=("p",)))
def word_dropout(layer: Layer) -> WordDropout:
    """nn.WordDropout([p = 0.5], unkIndex), of patverga/torch-relation-extraction

    In training puts an index in the place of words.
    """
    layer.ignore("noise")
    return WordDropout(layer.number("p", 0.5), layer.number("unkIndex"))


class EncodeEach(nn.Module):
    """Encodes each of (N, K, …) by itself, then puts the codes (N, K, …) through another module."""

    def __init__(self, mapper: nn.Module, reducer: nn.Module) -> None:
        super().__init__()
        self.mapper = mapper
        self.reducer = reducer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        codes: torch.Tensor = self.mapper(x.flatten(0, 1))
        y: torch.Tensor = self.reducer(codes.reshape(*x.shape[:2], *codes.shape[1:]))
        return y


@converts("nn.EncoderPool", traits=Traits(output="children"))
def encoder_pool(layer: Layer) -> EncodeEach:
    """nn.EncoderPool(mapper, reducer), of patverga/torch-relation-extraction

    Runs the mapper on each of the K entries of (N, K, …), and the reducer on what it gives, (N, K, …).
    """
    layer.ignore("inputSize", "sizes", "reshapedInput", "mapped", "sizes2", "sizes3", "mappedAndReshaped", "modules")
    layer.ignore("reshapedReducerGrad")
    return EncodeEach(layer.module("mapper"), layer.module("reducer"))

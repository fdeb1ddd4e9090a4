"""Layers of networks that answer questions: visdial, ChainsofReasoning and HieCoAttenVQA."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts
from ....model.traits import Traits
from ...linear.lookup import LookupTable, lookup_table
from ...pointwise.changed_gradients import PASSES
from ...reshaping.reductions import Sum, sum_
from ...reshaping.shapes import optional_integer
from ...reshaping.slices import zero_based
from ...tables.containers import ConcatTable
from ...tables.table_layers import SplitTable, split_table
from ..generation.generative import no_other_fields


class LowerTriangle(nn.Module):
    """Keeps of each matrix the numbers on and below its diagonal, and puts 0 in the place of the others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.tril()


@converts("nn.MaskFuture", traits=Traits(keeps_size=True))
def mask_future(layer: Layer) -> LowerTriangle:
    """nn.MaskFuture(numClasses), of batra-mlp-lab/visdial

    Puts 0 above the diagonal of each matrix of (N, numClasses, numClasses).
    """
    layer.ignore("mask")
    return LowerTriangle()


class ReplaceZero(nn.Module):
    """A constant in the place of each 0."""

    def __init__(self, constant: float) -> None:
        super().__init__()
        self.constant = constant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x == 0, torch.full_like(x, self.constant), x)

    def extra_repr(self) -> str:
        return f"constant={self.constant}"


@converts("nn.ReplaceZero", traits=Traits(keeps_size=True))
def replace_zero(layer: Layer) -> ReplaceZero:
    """nn.ReplaceZero(constant), of batra-mlp-lab/visdial"""
    layer.ignore("mask")
    return ReplaceZero(layer.number("constant"))


class RepeatWhereWords(nn.Module):
    """Of [words (T, N), features (N, D)] the features for each step, (T, N, D); 0 where the word is 0."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        words, features = x
        return features * (words != 0).unsqueeze(-1).to(features.dtype)


@converts("nn.MaskTime")
def mask_time(layer: Layer) -> RepeatWhereWords:
    """nn.MaskTime(featSize), of batra-mlp-lab/visdial

    Takes {words (T, N), features (N, featSize)}; the features at each step, 0 where the word is 0.
    """
    layer.ignore("mask", "seqLen", "featSize")
    return RepeatWhereWords()


@converts("nn.ConcatTableNoGrad", traits=Traits(output="children", flow="branches"))
def concat_table_no_grad(layer: Layer) -> ConcatTable:
    """nn.ConcatTableNoGrad(), of rajarshd/ChainsofReasoning

    nn.ConcatTable.
    """
    return ConcatTable(layer.modules())


@converts("nn.SplitTableNoGrad", traits=replace(PASSES, reuses="nothing"))
def split_table_no_grad(layer: Layer) -> SplitTable:
    """nn.SplitTableNoGrad(dimension, [nInputDims]), of rajarshd/ChainsofReasoning

    nn.SplitTable; in Torch7 its input gets no gradient, here it gets it.
    """
    return split_table(layer)


@converts("nn.LookupTableWithGrad", traits=Traits(reuses="rows", reads="indices", picture="weights"))
def lookup_table_with_grad(layer: Layer) -> LookupTable:
    """nn.LookupTableWithGrad(nIndex, nOutput), of rajarshd/ChainsofReasoning

    nn.LookupTable.
    """
    return lookup_table(layer)


@converts("nn.Sum_nc")
def sum_nc(layer: Layer) -> Sum:
    """nn.Sum_nc([dimension = 1], [nInputDims], [sizeAverage = false], [squeeze = true]), of rajarshd/ChainsofReasoning

    nn.Sum.
    """
    return sum_(layer)


class LogSumExp(nn.Module):
    """The logarithm of the sum of the exponentials of one dimension, which becomes 1; without `dim` of rows (N, D)."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.dim is None and x.dim() != 2:
            raise ValueError(f"which dimension is reduced is known of rows (N, D) only, not of {tuple(x.shape)}")
        return x.logsumexp(1 if self.dim is None else self.dim, keepdim=True)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


@converts("nn.LogSumExp")
def log_sum_exp(layer: Layer) -> LogSumExp:
    """nn.LogSumExp([dim]), of rajarshd/ChainsofReasoning

    Without dim it is the last one, and at its first forward it is written into the field. Other projects have a class
    of that name without it that takes the second; so without it only rows (N, D) are taken.
    """
    layer.ignore("maxes", "score_minus_max", "exp_score_minus_max", "sum_exp_score_minus_max", "max_val")
    dim = zero_based(layer, "dim") if layer.has("dim") else None
    no_other_fields(layer)
    return LogSumExp(dim)


class TopK(nn.Module):
    """The `k` largest numbers of one dimension (all, if there are fewer), the largest first.

    Args:
        k: how many.
        dim: the dimension (0-based; negative: from the end).
        num_input_dims: an input of exactly one dimension more is a batch, and `dim` counts within its samples.
        largest: the largest; if not, the smallest, the smallest first.
    """

    def __init__(self, k: int, dim: int, num_input_dims: int | None = None, largest: bool = True) -> None:
        super().__init__()
        self.k = k
        self.dim = dim
        self.num_input_dims = num_input_dims
        self.largest = largest

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = self.dim >= 0 and self.num_input_dims is not None and x.dim() == self.num_input_dims + 1
        return x.topk(min(self.k, x.shape[self.dim + batch]), self.dim + batch, self.largest).values

    def extra_repr(self) -> str:
        return f"k={self.k}, dim={self.dim}, num_input_dims={self.num_input_dims}, largest={self.largest}"


@converts("nn.TopK")
def top_k(layer: Layer) -> TopK:
    """nn.TopK(K, [dimension = 1], [nInputDims]), of rajarshd/ChainsofReasoning

    fmassa's nn.TopK([k = 1], [dim = 1], [dir = false], [sort = false]) is told by its field `k`; without dir it gives
    the smallest. Unless it sorts, Torch7 gives the numbers in no particular order; here the largest (the smallest) is
    first.
    """
    layer.ignore("_output", "_indices")
    dim = zero_based(layer, "dimension")
    if layer.has("k"):
        module = TopK(layer.integer("k"), dim, None, layer.flag("dir", default=False))
        ordered = layer.flag("sort", default=False)
    else:
        module = TopK(layer.integer("K"), dim, optional_integer(layer, "nInputDims"))
        ordered = False
    if not ordered:
        layer.note("Torch7 gives its numbers in no particular order; here the largest (or the smallest) comes first")
    no_other_fields(layer)
    return module


class MapReduce(nn.Module):
    """Runs one module on all of (N, M, …) as on a batch (N * M, …), and another on its results as (N, M, …)."""

    def __init__(self, mapper: nn.Module, reducer: nn.Module) -> None:
        super().__init__()
        self.mapper = mapper
        self.reducer = reducer

    def forward(self, x: torch.Tensor) -> Any:
        mapped: torch.Tensor = self.mapper(x.flatten(0, 1))
        return self.reducer(mapped.reshape(*x.shape[:2], *mapped.shape[1:]))


@converts("nn.MapReduce")
def map_reduce(layer: Layer) -> MapReduce:
    """nn.MapReduce(mapper, reducer), of rajarshd/ChainsofReasoning

    The mapper runs on all samples of (N, M, …) as on one batch, the reducer on its results as (N, M, …).
    """
    layer.ignore("modules", "inputSize", "sizes", "sizes2", "sizes3", "reshapedInput", "mapped", "mappedAndReshaped")
    return MapReduce(layer.module("mapper"), layer.module("reducer"))


PARTS = Traits(flow="wrapper", children=("cnn_part", "atten_encode"))


@converts("nn.cnnModel", "nn.recursive_atten", traits=PARTS)
def attention_part(layer: Layer) -> nn.Module:
    """nn.cnnModel(opt); nn.recursive_atten(opt), of jiasenlu/HieCoAttenVQA

    It becomes the network that it holds, cnn_part or atten_encode.
    """
    layer.ignore("input_size", "output_size", "cnn_proto", "cnn_model", "backend", "h", "w", "seq_length")
    return layer.module("cnn_part" if layer.typename == "nn.cnnModel" else "atten_encode")


class WordAttention(nn.Module):
    """Of [words (N, T), image] the embedded words, the features of the image, both attended to, and the attention.

    The fifth entry of the list is the mask of the words that are 0.

    Args:
        embedding: makes vectors of the words.
        attention: takes [vectors, features, mask]; gives both attended to, and two attentions.
        features: makes the features of the image.
    """

    def __init__(self, embedding: nn.Module, attention: nn.Module, features: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding
        self.attention = attention
        self.features = features

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        words, image = x
        mask = (words == 0).to(torch.uint8)
        features = self.features(image)
        vectors = self.embedding(words)
        question, picture, *attention = self.attention([vectors, features, mask])
        return [vectors, features, question, picture, mask, *attention]


OPTIONS = ("vocab_size", "hidden_size", "seq_length", "atten_type", "feature_type", "mask")


@converts("nn.word_level", traits=Traits(children=("cnn", "LE", "atten")))
def word_level(layer: Layer) -> WordAttention:
    """nn.word_level(opt), of jiasenlu/HieCoAttenVQA

    Takes {words, image}; embeds the words, and attends to them and to the image.
    """
    layer.ignore(*OPTIONS, "img_feat", "embed_output")
    return WordAttention(layer.module("LE"), layer.module("atten"), layer.module("cnn"))


class PhraseAttention(nn.Module):
    """Of [vectors, lengths, features, mask] the phrases, and what an attention to them and the features gives.

    Args:
        phrases: makes phrases of the vectors.
        attention: takes [phrases, features, mask].
    """

    def __init__(self, phrases: nn.Module, attention: nn.Module) -> None:
        super().__init__()
        self.phrases = phrases
        self.attention = attention

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        vectors, _, features, mask = x
        phrases = self.phrases(vectors)
        return [phrases, *self.attention([phrases, features, mask])]


@converts("nn.phrase_level", traits=Traits(children=("conv", "atten")))
def phrase_level(layer: Layer) -> PhraseAttention:
    """nn.phrase_level(opt), of jiasenlu/HieCoAttenVQA

    Takes {vectors, lengths, features, mask}; makes phrases of the vectors, and attends to them and to the image.
    """
    layer.ignore(*OPTIONS, "conv_out")
    return PhraseAttention(layer.module("conv"), layer.module("atten"))


class QuestionAttention(nn.Module):
    """Of [vectors (N, T, D), lengths, features, mask] what an attention to the states of an LSTM gives.

    Where a word is masked, from the shortest question's end on, state and output are 0.

    Args:
        core: a step, [x, states …] -> [states …, output].
        attention: takes [outputs, features, mask].
        states: how many states there are.
    """

    def __init__(self, core: nn.Module, attention: nn.Module, states: int) -> None:
        super().__init__()
        self.core = core
        self.attention = attention
        self.states = states

    def forward(self, x: list[torch.Tensor]) -> Any:
        vectors, lengths, features, mask = x
        state = [vectors.new_zeros(vectors.shape[0], vectors.shape[2]) for _ in range(self.states)]
        outputs = []
        for t in range(vectors.shape[1]):
            stopped = (mask[:, t : t + 1] != 0) & (t >= lengths.min()) | (t >= lengths.max())
            step = [item.masked_fill(stopped, 0) for item in self.core([vectors[:, t], *state])]
            state = step[: self.states]
            outputs.append(step[self.states])
        return self.attention([torch.stack(outputs, 1), features, mask])

    def extra_repr(self) -> str:
        return f"states={self.states}"


@converts("nn.ques_level", traits=Traits(children=("core", "atten"), picture="recurrent"))
def ques_level(layer: Layer) -> QuestionAttention:
    """nn.ques_level(opt), of jiasenlu/HieCoAttenVQA

    Takes {vectors, lengths, features, mask}; runs an LSTM over the vectors, and attends to its states and to the image.
    """
    layer.ignore(*OPTIONS, "rnn_size", "init_state", "num_state", "tmax", "tmin", "cores", "core_output")
    layer.ignore("fore_state", "fore_inputs")
    return QuestionAttention(layer.module("core"), layer.module("atten"), 2 * layer.integer("num_layers"))

"""OpenNMT/OpenNMT: its networks, which wrap a module each, and what they are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ....model.layer import Layer
from ....model.recurrent_state import Remembering
from ....model.registry import converts, module_form
from ....model.traits import Traits
from ....t7 import LuaObject, LuaTable, Value
from ...criterions.containers import ParallelCriterion, parallel_criterion
from ...tables.containers import ConcatTable

#: A network around one module.
WRAPPER = Traits(output="children", flow="wrapper")


def network_of(layer: Layer, *ignored: str) -> nn.Module:
    """The module in the field `net`, which is the first of `modules` too."""
    layer.ignore("modules", *ignored)
    return layer.module("net")


@converts("onmt.Network", traits=WRAPPER)
def network(layer: Layer) -> nn.Module:
    """onmt.Network(net), of OpenNMT/OpenNMT

    It becomes the module that it holds.
    """
    return network_of(layer)


@converts("onmt.LSTM", "onmt.GRU", traits=replace(WRAPPER, recurrent=True, picture="recurrent"))
def stacked_cell(layer: Layer) -> nn.Module:
    """onmt.LSTM(layers, inputSize, hiddenSize, [dropout = 0], [residual], …), of OpenNMT/OpenNMT

    One step: {c1, h1, c2, h2, …, x} becomes {c1, h1, c2, h2, …}; onmt.GRU turns {h1, h2, …, x} into {h1, h2, …}, or
    into h1 if it has one layer. It becomes the graph that it holds.
    """
    return network_of(layer, "dropout", "numStates", "outputSize", "numEffectiveLayers")


@converts("onmt.WordEmbedding", traits=WRAPPER)
def word_embedding(layer: Layer) -> nn.Module:
    """onmt.WordEmbedding(vocabSize, vecSize, [preTrained], [fix]), of OpenNMT/OpenNMT

    It becomes the nn.LookupTable that it holds. Embeddings that were fixed in training can be trained again.
    """
    return network_of(layer, "preTrained", "preTrainedVecSize", "fix", "vocabSize", "vecSize")


@converts("onmt.FeaturesEmbedding", traits=WRAPPER)
def features_embedding(layer: Layer) -> nn.Module:
    """onmt.FeaturesEmbedding(vocabSizes, vecSizes, merge), of OpenNMT/OpenNMT

    It becomes the graph that it holds.
    """
    return network_of(layer, "outputSize")


@converts("onmt.GlobalAttention", "onmt.NoAttention", "onmt.MaskedSoftmax", traits=WRAPPER)
def attention(layer: Layer) -> nn.Module:
    """onmt.GlobalAttention(opt, dim), of OpenNMT/OpenNMT

    Takes {query, context}. It becomes the graph that it holds, as do onmt.NoAttention and onmt.MaskedSoftmax.
    """
    return network_of(layer, "args", "name", "softmaxAttn")


class NoState(nn.Module):
    """Returns an empty list, whatever it is given."""

    def forward(self, x: Any) -> list[torch.Tensor]:
        return []


@converts("onmt.Bridge", traits=WRAPPER)
def bridge(layer: Layer) -> nn.Module:
    """onmt.Bridge(bridgeType, encoderRnnSize, encoderNumStates, decoderRnnSize, decoderNumStates), of OpenNMT/OpenNMT

    It becomes the module that it holds. Type 'none' has none and returns nothing, here an empty list.
    """
    if not layer.has("net"):
        layer.ignore("modules")
        return NoState()
    return network_of(layer)


class Generator(nn.Module):
    """Gives its input, or the first entry of a list, to a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        return self.module(x if isinstance(x, torch.Tensor) else x[0])


@converts("onmt.Generator", "onmt.FeaturesGenerator")
def generator(layer: Layer) -> Generator:
    """onmt.Generator(opt, sizes), of OpenNMT/OpenNMT

    Returns a list of log probabilities: of the words, and of each feature. Those of before version 2 are brought into
    that form, as OpenNMT does when it loads them.
    """
    layer.ignore("rindexLinear", "outputSize")
    if layer.has("version"):
        return Generator(network_of(layer))
    layer.ignore("modules")
    if layer.typename == "onmt.Generator":
        return Generator(ConcatTable([layer.module("net")]))
    heads = _children(layer, layer.value("net"))
    first = heads[0]
    inner = first.get("modules") if isinstance(first, LuaObject) else None
    words = inner.get(1) if isinstance(inner, LuaTable) else None
    if isinstance(words, LuaObject) and words.typename == "onmt.Generator":
        first = words.get("net")
    others = [layer.convert(head, f"net.{i}") for i, head in enumerate(heads[1:], 2)]
    return Generator(ConcatTable([layer.convert(first, "net.1"), *others]))


def _children(layer: Layer, holder: Value) -> list[Value]:
    table = holder.get("modules") if isinstance(holder, LuaObject) else None
    found = table.list() if isinstance(table, LuaTable) else []
    if not found:
        layer.refuse("its network holds no modules")
    return found


class PositionEmbedding(nn.Module):
    """Vectors of the positions in sequences, of [entries (N, T, D), lengths (N)] whose padding comes first.

    Args:
        positions: the later ones get the vector of the last; the first vector is that of padding.
        size: numbers of a vector.
    """

    def __init__(self, positions: int, size: int) -> None:
        super().__init__()
        self.positions = positions
        self.size = size
        self.weight = nn.Parameter(torch.empty(positions + 1, size))

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        lengths, steps = x[1].long(), x[0].shape[1]
        place = torch.arange(1, steps + 1, device=lengths.device) - steps + lengths.unsqueeze(1)
        return nn.functional.embedding(place.clamp(0, self.positions), self.weight, padding_idx=0)

    def extra_repr(self) -> str:
        return f"{self.positions}, {self.size}"


@converts("onmt.PositionEmbedding", traits=Traits(picture="weights"))
def position_embedding(layer: Layer) -> PositionEmbedding:
    """onmt.PositionEmbedding(dimension, nIndex, nOutput), of OpenNMT/OpenNMT

    Takes {entries (N, T, D), lengths (N)}; the sequences end together, padding comes first.
    """
    layer.ignore("input", "nOutput", "shouldScaleGradByFreq")
    if layer.integer("dimension") not in (2, -2) or layer.has("maxNorm"):
        layer.refuse("OpenNMT indexes dimension 2 of (N, T, D), and limits no norm")
    if layer.number("paddingValue", 0.0):
        layer.note("Torch7 does not train the vector of the padding; the converted layer does")
    size = layer.tensor("weight").shape[1]
    return layer.put_all(layer.make(PositionEmbedding, layer.integer("max_pos"), size), "weight")


class JoinReplicateTable(nn.Module):
    """Joins the entries of a list, those of size 1 along another dimension repeated there to the size of the largest.

    Args:
        replicate: the dimension to repeat along (0-based; negative: from the end).
        join: the dimension to join along.
        num_input_dims: entries of exactly one dimension more are batches, and dimensions count within their samples.
    """

    def __init__(self, replicate: int, join: int, num_input_dims: int | None = None) -> None:
        super().__init__()
        self.replicate = replicate
        self.join = join
        self.num_input_dims = num_input_dims

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        batch = self.num_input_dims is not None and x[0].dim() == self.num_input_dims + 1
        replicate = self.replicate + (batch and self.replicate >= 0)
        size = max(entry.shape[replicate] for entry in x)
        grown = []
        for entry in x:
            sizes = [-1] * entry.dim()
            sizes[replicate] = size
            grown.append(entry.expand(sizes))
        return torch.cat(grown, self.join + (batch and self.join >= 0))

    def extra_repr(self) -> str:
        return f"replicate={self.replicate}, join={self.join}, num_input_dims={self.num_input_dims}"


@converts("onmt.JoinReplicateTable")
def join_replicate_table(layer: Layer) -> JoinReplicateTable:
    """onmt.JoinReplicateTable(dimensionReplicate, dimensionJoin, [nInputDims]), of OpenNMT/OpenNMT"""
    layer.ignore("size")
    replicate, join = layer.integer("dimensionReplicate"), layer.integer("dimensionJoin")
    if replicate == 0 or join == 0:
        layer.refuse("its dimensions count from 1")
    dims = layer.integer("nInputDims") if layer.has("nInputDims") else None
    return JoinReplicateTable(replicate - (replicate > 0), join - (join > 0), dims)


class VariationalDropout(Remembering):
    """Dropout with one mask for all steps of a sequence; `forget` takes a new one."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return x
        if self.state is None or self.state.shape != x.shape:
            self.state = torch.empty_like(x).bernoulli_(1 - self.p) / (1 - self.p)
        mask: torch.Tensor = self.state
        return x * mask

    def extra_repr(self) -> str:
        return f"p={self.p}"


class CopyingVariationalDropout(VariationalDropout):
    """VariationalDropout that copies its input in evaluation: a layer behind may work in place."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y.clone() if y is x else y


module_form("copying", VariationalDropout)(CopyingVariationalDropout)


@converts("onmt.VariationalDropout", traits=Traits(output="copy", keeps_size=True, picture="dropout", label=("p",)))
def variational_dropout(layer: Layer) -> VariationalDropout:
    """onmt.VariationalDropout([p = 0.5]), of OpenNMT/OpenNMT

    Steps of a sequence share a mask until `forget(module)`, OpenNMT's initializeNetwork. A mask kept in the file is not
    used again.
    """
    layer.ignore("noiseInit", "sharedNoise")
    return VariationalDropout(layer.number("p", 0.5))


@converts("onmt.ParallelClassNLLCriterion", traits=Traits(criterion=True))
def parallel_class_nll_criterion(layer: Layer) -> ParallelCriterion:
    """onmt.ParallelClassNLLCriterion(outputSizes), of OpenNMT/OpenNMT"""
    layer.ignore("mainCriterion")
    return parallel_criterion(layer)


@converts(
    "onmt.Encoder",
    "onmt.Decoder",
    "onmt.BiEncoder",
    "onmt.DBiEncoder",
    "onmt.PDBiEncoder",
    "onmt.GoogleEncoder",
    "onmt.CNNEncoder",
)
@converts(
    "onmt.Sequencer",
    traits=Traits(flow="steps", recurrent=True, picture="recurrent"),
)
def encoder(layer: Layer) -> nn.Module:
    """onmt.Encoder(args, inputNetwork), of OpenNMT/OpenNMT

    Not converted, nor are the decoder and the other encoders: they take OpenNMT's batch objects, and its translator
    drives them. The network of one step can be converted, modules[1] of the encoder or decoder in the file.
    """
    layer.refuse(
        "it takes batch objects of OpenNMT, whose translator drives it step by step; convert the network of one step "
        "in its field 'modules' instead (--key)"
    )


@converts("onmt.SentenceNLLCriterion", traits=Traits(criterion=True))
def sentence_nll_criterion(layer: Layer) -> nn.Module:
    """onmt.SentenceNLLCriterion(args, outputSize), of OpenNMT/OpenNMT

    Not converted: a loss over whole sequences, with parameters and a decoding of its own.
    """
    layer.refuse("it is a conditional random field over whole sequences with a decoding of its own")

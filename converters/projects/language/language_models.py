"""Layers that projects of language models defined beside their models: torch-rnn, neuraltalk2, treelstm."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ....model.layer import Layer
from ....model.recurrent_state import Remembering
from ....model.registry import converts, converts_to, module_form
from ....model.traits import Traits
from ....t7 import LuaObject, LuaTable
from ...images.batch_norm import BatchNorm
from ...recurrent.sequences import as_lstm
from ...recurrent.steps import UNFINISHED, lstm
from ...tables.containers import Bottle
from ..vision.regions import DenseCaptions
from .torch_rnn import SequenceLSTM, VanillaRNN

#: What torch-rnn's layers leave behind.
_BUFFERS = ("buffer1", "buffer2", "buffer3", "grad_a_buffer", "grad_c0", "grad_h0", "grad_x", "gates")
_MARKS = ("recompute_backward", "_return_grad_h0", "_return_grad_c0")


@converts("nn.LSTM", traits=Traits(reads="numbers", recurrent=True, picture="recurrent"))
def either_lstm(layer: Layer) -> nn.Module:
    """nn.LSTM(inputSize, outputSize, [rho], [cell2gate = true], [p], [mono]), of package rnn

    A call is one time step; `forget(module)` starts a new sequence. In a sequencer that happens by itself.
    jcjohnson/torch-rnn's nn.LSTM(inputDim, hiddenDim), which takes whole sequences (N, T, D), is told by its fields.
    """
    return sequence_lstm(layer) if layer.has("hidden_dim") else lstm(layer)


def sequence_lstm(layer: Layer) -> SequenceLSTM:
    """The nn.LSTM of jcjohnson/torch-rnn."""
    layer.ignore(*_BUFFERS, *_MARKS, "cell", "c0", "h0")
    inputs, size = layer.integer("input_dim"), layer.integer("hidden_dim")
    remember = layer.flag("remember_states", default=False)
    module = layer.make(SequenceLSTM, inputs, size, size, batch_first=True, remember="both" if remember else "neither")
    weight, bias = layer.tensor("weight"), layer.tensor("bias")
    layer.put(module.lstm, "weight_ih_l0", as_lstm(weight[:inputs].t()), field="weight")
    layer.put(module.lstm, "weight_hh_l0", as_lstm(weight[inputs:].t()), field="weight")
    layer.put(module.lstm, "bias_ih_l0", as_lstm(bias), field="bias")
    layer.put(module.lstm, "bias_hh_l0", torch.zeros_like(bias, requires_grad=False))
    if remember and layer.has("h0") and layer.has("c0"):
        module.state = last_entries(layer, "output", "cell")
    return module


def last_entries(layer: Layer, *names: str) -> list[torch.Tensor] | None:
    """The last entry of each sequence (N, T, H) that the file holds, from which the next call goes on."""
    if not all(layer.has(name) for name in names):
        return None
    layer.note(UNFINISHED)
    return [layer.tensor(name).detach()[:, -1].clone() for name in names]


@converts("nn.VanillaRNN", traits=Traits(picture="recurrent"))
def vanilla_rnn(layer: Layer) -> VanillaRNN:
    """nn.VanillaRNN(inputDim, hiddenDim), of jcjohnson/torch-rnn

    It runs on nn.RNN, whose second bias is zero. With remember_states the state lasts from one call to the next, until
    `forget(module)`, Torch7's resetStates.
    """
    layer.ignore(*_BUFFERS, *_MARKS, "h0")
    inputs = layer.integer("input_dim")
    remember = layer.flag("remember_states", default=False)
    module = layer.make(VanillaRNN, inputs, layer.integer("hidden_dim"), remember)
    weight, bias = layer.tensor("weight"), layer.tensor("bias")
    layer.put(module.rnn, "weight_ih_l0", weight[:inputs].t(), field="weight")
    layer.put(module.rnn, "weight_hh_l0", weight[inputs:].t(), field="weight")
    layer.put(module.rnn, "bias_ih_l0", bias, field="bias")
    layer.put(module.rnn, "bias_hh_l0", torch.zeros_like(bias, requires_grad=False))
    if remember and layer.has("h0") and (state := last_entries(layer, "output")):
        module.state = state[0]
    return module


def over_sequences(layer: Layer, holder: Any, views: list[Any], prefix: str = "") -> list[nn.Module]:
    """The modules of a sequential that takes (N, T, D), without its `views`, which merge N and T and part them again.

    A view takes its sizes from each input in Torch7; what lies between them works on (N, T, D) as well, but batch
    normalization, which then merges N and T itself.
    """
    table = holder.get("modules") if isinstance(holder, LuaObject) else None
    if not isinstance(table, LuaTable):
        layer.refuse("it holds no modules")
    modules = []
    for i, child in enumerate(table.list(), 1):
        if not any(child is view for view in views):
            module = layer.convert(child, f"{prefix}{i}")
            modules.append(Bottle(module, 2) if isinstance(module, BatchNorm) else module)
    return modules


@converts("nn.LanguageModel", traits=Traits(children=("net", "core", "lookup_table"), recurrent=True))
def language_model(layer: Layer) -> nn.Module:
    """nn.LanguageModel{idx_to_token, model_type, wordvec_size, rnn_size, num_layers, …}, of jcjohnson/torch-rnn

    Takes a batch of 1-based tokens (N, T) and returns the scores of the next ones (N, T, V). The state lasts from one
    call to the next, until `forget(module)`, Torch7's resetStates; Torch7's `sample` does so before and after.
    karpathy/neuraltalk2's nn.LanguageModel{vocab_size, rnn_size, …} takes {images, tokens} and is told by its `core`,
    jcjohnson/densecap's, which takes {regions, tokens}, by its `image_encoder`.
    """
    if layer.has("image_encoder"):
        return dense_captions(layer)
    if layer.has("core"):
        return caption_model(layer)
    if not layer.has("net"):
        layer.refuse("it is neither torch-rnn's, with a field 'net', nor neuraltalk2's, with a field 'core'")
    layer.ignore("idx_to_token", "token_to_idx", "vocab_size", "model_type", "wordvec_dim", "rnn_size", "num_layers")
    layer.ignore("dropout", "batchnorm", "rnns")
    views = [layer.value("view1", None), layer.value("view2", None)]
    for name in ("bn_view_in", "bn_view_out"):
        views += layer.value(name, LuaTable()).list()
    return nn.Sequential(*over_sequences(layer, layer.value("net"), views, "net."))


def dense_captions(layer: Layer) -> DenseCaptions:
    """The nn.LanguageModel of jcjohnson/densecap."""
    layer.ignore("net", "vocab_size", "input_encoding_size", "image_vector_dim", "rnn_size", "num_layers", "dropout")
    layer.ignore("idx_to_token", "END_TOKEN", "_gt_with_start", "_forward_sampled", "recompute_backward", "gt_sequence")
    if layer.has("beam_size") or not layer.flag("sample_argmax", default=True):
        layer.note("of an empty tensor of captions it gives the likeliest words; no beam search, no random words")
    layer.ignore("beam_size")
    rnn = over_sequences(layer, layer.value("rnn"), [layer.value("view_in"), layer.value("view_out")], "rnn.")
    if any(getattr(module, "remember", "neither") != "neither" for module in rnn):
        layer.refuse("its nn.LSTM remembers states: it was saved while it made captions (resetStates)")
    encoder, words = layer.module("image_encoder"), layer.module("lookup_table")
    tokens = layer.integer("START_TOKEN"), layer.integer("NULL_TOKEN")
    return DenseCaptions(encoder, words, nn.Sequential(*rnn), *tokens, layer.integer("seq_length"))


@converts("nn.TemporalAdapter", traits=Traits(reads="frames"))
def temporal_adapter(layer: Layer) -> Bottle:
    """nn.TemporalAdapter(module), of jcjohnson/torch-rnn

    Runs a module on every entry of sequences (N, T, D).
    """
    views = [layer.value("view_in"), layer.value("view_out")]
    (module,) = over_sequences(layer, layer.value("net"), views, "net.")
    return Bottle(module.module if isinstance(module, Bottle) else module, 2)


class TemporalCrossEntropyCriterion(nn.Module):
    """Softmax and negative log likelihood over (N, T, C), of the classes (N, T), 1-based; 0 doesn't count.

    Args:
        batch_average: divide by N.
        time_average: divide by T.
    """

    def __init__(self, batch_average: bool = True, time_average: bool = False) -> None:
        super().__init__()
        self.batch_average = batch_average
        self.time_average = time_average

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = F.cross_entropy(x.flatten(0, 1), target.long().flatten() - 1, ignore_index=-1, reduction="sum")
        if self.batch_average:
            loss = loss / x.shape[0]
        return loss / x.shape[1] if self.time_average else loss

    def extra_repr(self) -> str:
        return f"batch_average={self.batch_average}, time_average={self.time_average}"


@converts("nn.TemporalCrossEntropyCriterion", traits=Traits(reads="frames", criterion=True))
def temporal_cross_entropy_criterion(layer: Layer) -> TemporalCrossEntropyCriterion:
    """nn.TemporalCrossEntropyCriterion(), of jcjohnson/torch-rnn

    Classes are 1-based; entries with the class 0 do not count, yet the average is over all of them.
    """
    layer.ignore("lsm", "grad_logprobs", "losses")
    return TemporalCrossEntropyCriterion(
        layer.flag("batch_average", default=True), layer.flag("time_average", default=False)
    )


class CaptionModel(nn.Module):
    """Log probabilities of the next tokens, (T + 2, N, V), of [codes of images (N, D), 1-based tokens (T, N)].

    Args:
        core: turns [entry, *state] into the next [*state, log probabilities].
        lookup_table: turns tokens into entries.
        vocab_size: number of tokens, without the one that starts and ends a sentence.
        hidden_size: size of each part of the state.
        num_state: number of its parts.
    """

    def __init__(
        self, core: nn.Module, lookup_table: nn.Module, vocab_size: int, hidden_size: int, num_state: int
    ) -> None:
        super().__init__()
        self.core = core
        self.lookup_table = lookup_table
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_state = num_state

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        images, tokens = x[0], x[1].long()
        tokens = torch.where(tokens == 0, 1, tokens)  # the null token stands for any
        start = torch.full_like(tokens[:1], self.vocab_size + 1)
        words = self.lookup_table(torch.cat([start, tokens]))
        state = [images.new_zeros(images.shape[0], self.hidden_size)] * self.num_state
        outputs = []
        for entry in [images, *words.unbind(0)]:
            *state, output = self.core([entry, *state])
            outputs.append(output)
        return torch.stack(outputs)

    def extra_repr(self) -> str:
        return f"vocab_size={self.vocab_size}, hidden_size={self.hidden_size}, num_state={self.num_state}"


def caption_model(layer: Layer) -> CaptionModel:
    """The nn.LanguageModel of karpathy/neuraltalk2."""
    layer.traits(flow="entries", children=("core", "lookup_table"))
    layer.ignore("input_encoding_size", "seq_length", "init_state", "clones", "lookup_tables", "state", "inputs")
    layer.ignore("lookup_tables_inputs", "tmax", "num_state")
    layer.note(
        "it takes a token sequence of any length. Torch7 leaves the output as it was where all sequences have ended "
        "(rows of zeros); here these rows are computed. Torch7's `sample` is not part of the converted model"
    )
    return CaptionModel(
        layer.module("core"),
        layer.module("lookup_table"),
        layer.integer("vocab_size"),
        layer.integer("rnn_size"),
        2 * layer.integer("num_layers"),
    )


class FeatExpander(nn.Module):
    """Repeats each row of (N, D) `times` times, one after another."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.times == 1 else x.unsqueeze(1).expand(-1, self.times, -1).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"{self.times}"


@converts("nn.FeatExpander")
def feat_expander(layer: Layer) -> FeatExpander:
    """nn.FeatExpander(n), of karpathy/neuraltalk2"""
    times = layer.integer("n")
    if times == 1:
        layer.traits(output="pass", reuses="nothing")
    return FeatExpander(times)


class CaptionCriterion(nn.Module):
    """Negative log likelihood of the tokens (T, N) under (T + 2, N, V), whose first row is of the image.

    Tokens are 1-based. The last number of V is the end of a sentence, wanted where a null token is met first.
    """

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        wanted = torch.cat([target.long(), torch.zeros_like(target[:1]).long()])
        null = wanted == 0
        wanted = torch.where(null & (null.cumsum(0) == 1), x.shape[2], wanted)
        counts = wanted != 0
        scores = x[1:].gather(2, (wanted - 1).clamp(min=0).unsqueeze(2)).squeeze(2)
        return -torch.where(counts, scores, 0).sum() / counts.sum()


converts_to(
    CaptionCriterion, "nn.LanguageModelCriterion", project="karpathy/neuraltalk2", traits=Traits(criterion=True)
)


class AddRow(nn.Module):
    """Adds the second entry of a list, a vector, to every row of the first."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0] + x[1]


converts_to(AddRow, "treelstm.CRowAddTable", project="stanfordnlp/treelstm", traits=Traits(picture="merge"))


class SequenceCell(Remembering):
    """Runs a cell over a sequence (T, D), [x, cell state, output] -> [cell state, output]; returns its last output.

    A further call goes on from there.

    Args:
        cell: the step.
        layers: of how many states and outputs there are lists; 1: they are tensors.
        size: numbers of a state.
    """

    def __init__(self, cell: nn.Module, layers: int, size: int) -> None:
        super().__init__()
        self.cell = cell
        self.layers = layers
        self.size = size

    def forward(self, x: torch.Tensor) -> Any:
        zeros: Any = x.new_zeros(self.size) if self.layers == 1 else [x.new_zeros(self.size)] * self.layers
        state: list[Any] = [zeros, zeros] if self.state is None else self.state
        for step in x.unbind(0):
            state = self.cell([step, *state])
        self.state = state
        return state[1]

    def extra_repr(self) -> str:
        return f"layers={self.layers}, size={self.size}"


module_form("state names", SequenceCell)(("lstm", ("c", "h")))


@converts(
    "treelstm.LSTM",
    traits=Traits(recurrent=True, picture="recurrent", children=("master_cell",), reuses="nothing"),
)
def treelstm_lstm(layer: Layer) -> SequenceCell:
    """treelstm.LSTM(config), of stanfordnlp/treelstm

    Takes a sequence (T, in_dim) and gives its last output, of several layers a list. A further call goes on from there;
    `forget(module)` starts anew.
    """
    layer.ignore("in_dim", "gate_output", "depth", "cells", "initial_values")
    return SequenceCell(layer.module("master_cell"), layer.integer("num_layers"), layer.integer("mem_dim"))


@converts("treelstm.BinaryTreeLSTM", "treelstm.ChildSumTreeLSTM")
def tree_lstm(layer: Layer) -> nn.Module:
    """treelstm.BinaryTreeLSTM(config)

    Not converted, nor is treelstm.ChildSumTreeLSTM: they take objects that are trees, whose nodes keep what they
    computed.
    """
    layer.refuse("it takes objects that are trees; its composer and leaf_module can be converted by themselves (--key)")

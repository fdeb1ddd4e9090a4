"""Package rnn: layers that take a whole sequence as one tensor, (T, N, D) or with `batch_first` (N, T, D)."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.recurrent_state import Remembering
from ...model.registry import converts, module_form
from ...onnx.operators.recurrent import OnnxSequence, Packed
from .cudnn import SEQUENCES, CudnnRNN
from .sequencers import has_memory
from .steps import UNFINISHED, detached
from .zero_masks import ZeroMasked, mask_kind


class ProjectedWeights(nn.Module):
    """The parameters of an LSTM with a projection of any size, named as those of nn.LSTM (which projects to less)."""

    def __init__(self, input_size: int, hidden_size: int, proj_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.proj_size = proj_size
        self.weight_ih_l0 = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(4 * hidden_size, proj_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh_l0 = nn.Parameter(torch.empty(4 * hidden_size))
        self.weight_hr_l0 = nn.Parameter(torch.empty(proj_size, hidden_size))

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The same as in nn.LSTM."""
        return [list(self.parameters())]


class SeqLSTM(Remembering):
    """An LSTM over a sequence; also takes [h0, x] or [c0, h0, x].

    Args:
        input_size: size of an entry of the sequence.
        hidden_size: size of the cell.
        output_size: size of the output; another than `hidden_size` makes it a projection.
        batch_first: the sequence is (N, T, D).
        remember: in which mode the state lasts from one sequence to the next: "neither", "train", "eval", "both".
        mask_zero: where an entry is all zero, the output and the state become zero.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        batch_first: bool = False,
        remember: str = "neither",
        mask_zero: bool = False,
        project: bool = False,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.output_size = output_size
        self.batch_first = batch_first
        self.remember = remember
        self.mask_zero = mask_zero
        self.project = project
        self.lstm: Any = (
            ProjectedWeights(input_size, hidden_size, output_size) if project else nn.LSTM(input_size, hidden_size)
        )

    def forward(self, x: Any) -> torch.Tensor:
        given: list[torch.Tensor] = []
        if not isinstance(x, torch.Tensor):
            *given, x = x
        if self.batch_first:
            x = x.transpose(0, 1)
        h, c = self.start(x, given)
        if self.mask_zero or self.project:  # ONNX has no LSTM with a projection
            output, h, c = self.steps(x, h, c)
        else:
            output, (h, c) = self.lstm(x, (h.unsqueeze(0), c.unsqueeze(0)))
            h, c = h.squeeze(0), c.squeeze(0)
        self.state = [h.detach(), c.detach()] if has_memory(self) else None
        return output.transpose(0, 1) if self.batch_first else output

    def start(self, x: torch.Tensor, given: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        if self.state is not None and has_memory(self):
            h, c = self.state
        else:
            h, c = x.new_zeros(x.shape[1], self.output_size), x.new_zeros(x.shape[1], self.hidden_size)
        return given[-1] if given else h, given[0] if len(given) > 1 else c

    def steps(
        self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        weight_ih, weight_hh, bias_ih, bias_hh, *projection = self.lstm.all_weights[0]
        inputs = nn.functional.linear(x, weight_ih, bias_ih + bias_hh)
        kept = self.kept(x) if self.mask_zero else x
        outputs = []
        for step in range(x.shape[0]):
            i, f, g, o = (inputs[step] + nn.functional.linear(h, weight_hh)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            if self.project:
                h = nn.functional.linear(h, projection[0])
            if self.mask_zero:
                h = torch.where(kept[step], h, torch.zeros_like(h))
                c = torch.where(kept[step], c, torch.zeros_like(c))
            outputs.append(h)
        return torch.stack(outputs), h, c

    def kept(self, x: torch.Tensor) -> torch.Tensor:
        return (x != 0).any(-1, keepdim=True)

    def train(self, mode: bool = True) -> SeqLSTM:
        if mode != self.training:
            self.state = None
        super().train(mode)
        return self

    def extra_repr(self) -> str:
        return f"batch_first={self.batch_first}, remember={self.remember!r}, mask_zero={self.mask_zero}"


class MaskedSeqLSTM(ZeroMasked, SeqLSTM):
    """A `SeqLSTM` whose output and state become zero where `set_zero_mask` said that samples are padding."""


module_form("state names", SeqLSTM, MaskedSeqLSTM)(("lstm", ("h", "c")))


@module_form("recurrent", SeqLSTM, MaskedSeqLSTM)
def stock_lstm(module: SeqLSTM) -> nn.LSTM | None:
    """The LSTM of torch.nn that the layer runs from zeros, if it does no more than that."""
    if module.remember != "neither" or module.mask_zero or module.project:
        return None
    lstm: nn.LSTM = copy.copy(module.lstm)
    lstm.batch_first = module.batch_first
    return lstm


@module_form("onnx", SeqLSTM)
class OnnxSeqLSTM(OnnxSequence, SeqLSTM):
    """As `SeqLSTM`."""

    @classmethod
    def put(cls, module: SeqLSTM) -> None:
        if not (module.mask_zero or module.project):  # ONNX's LSTM does neither
            module.packed = Packed("LSTM", module.hidden_size, module.lstm.all_weights)
            del module.lstm
            super().put(module)


@converts("nn.SeqLSTM", "nn.SeqLSTMP", traits=replace(SEQUENCES, parameters=("weight", "bias", "weightO")))
def seq_lstm(layer: Layer) -> SeqLSTM:
    """nn.SeqLSTM(inputSize, hiddenSize, [outputSize]); nn.SeqLSTMP(inputSize, hiddenSize, outputSize)

    It runs on nn.LSTM, whose second bias is zero, or step by step with its weights. With remember('both') and the like
    the state lasts from one call to the next, until `forget(module)`.
    """
    ignore_buffers(layer)
    layer.ignore("grad_c0", "cell", "c0", "_hidden", "next_h", "grad_next_h", "gradWeightO", "userNextGradCell")
    layer.ignore("hidden", "grad_hidden", "grad_cT")
    mask = mask_kind(layer)
    input_size, output_size = layer.integer("inputsize"), layer.integer("outputsize")
    hidden_size = layer.integer("hiddensize", output_size)
    project = layer.typename == "nn.SeqLSTMP" or layer.has("weightO")
    module = layer.make(
        MaskedSeqLSTM if mask == "given" else SeqLSTM,
        input_size,
        hidden_size,
        output_size,
        batch_first=layer.flag("batchfirst", default=False),
        remember=layer.text("_remember", "neither"),
        mask_zero=mask != "",
        project=project,
    )
    weight, bias = layer.tensor("weight"), layer.tensor("bias")
    layer.put(module.lstm, "weight_ih_l0", as_lstm(weight[:input_size].t()), field="weight")
    layer.put(module.lstm, "weight_hh_l0", as_lstm(weight[input_size:].t()), field="weight")
    layer.put(module.lstm, "bias_ih_l0", as_lstm(bias), field="bias")
    layer.put(module.lstm, "bias_hh_l0", torch.zeros_like(bias, requires_grad=False))
    if project:
        layer.put(module.lstm, "weight_hr_l0", layer.tensor("weightO").t(), field="weightO")
    module.training = layer.trains()
    module.state = kept_state(layer, module, last_output(layer), "cell") if layer.has("c0") else None
    return module


def as_lstm(rows: torch.Tensor) -> torch.Tensor:
    """Rows for the input, forget, output gate and the candidate in the order of nn.LSTM: the last two change places."""
    i, f, o, g = rows.chunk(4)
    return torch.cat([i, f, g, o])


def ignore_buffers(layer: Layer) -> None:
    """Ignores what the layer computed last."""
    layer.ignore("gates", "buffer1", "buffer2", "buffer3", "grad_a_buffer", "grad_h0", "grad_x", "_grad_x", "h0")
    layer.ignore("forceLua", "grad_hT")  # torch/rnn's
    layer.ignore("zeroMask", "_zeroMask", "_maskbyte", "_maskindices", "recompute_backward", "_return_grad_c0")
    layer.ignore("_return_grad_h0", "gradPrevOutput", "userGradPrevOutput", "userGradPrevCell", "_output", "rho")
    if layer.has("userPrevOutput") or layer.has("userPrevCell"):
        layer.refuse("it was given a state to start its next sequence from (userPrevOutput)")


def last_output(layer: Layer) -> str:
    """The field of the last output (T, N, H): torch/rnn's layers have no `batchfirst`, and so no second one."""
    return "_output" if layer.has("_output") else "output"


def kept_state(layer: Layer, module: nn.Module, *names: str) -> list[torch.Tensor] | None:
    """The last entries of sequences that the file holds, if the next call of the layer goes on from them."""
    if not has_memory(module) or not all(layer.has(name) for name in names):
        return None
    layer.note(UNFINISHED)
    state: list[torch.Tensor] = detached([layer.tensor(name)[-1].clone() for name in names])
    return state


class SeqGRU(Remembering):
    """A GRU over a sequence, whose reset gate comes before the matrix product; also takes [h0, x].

    Args:
        input_size: size of an entry of the sequence.
        hidden_size: size of the output.
        batch_first: the sequence is (N, T, D).
        remember: in which mode the state lasts from one sequence to the next: "neither", "train", "eval", "both".
        mask_zero: where an entry is all zero, the output becomes zero.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        batch_first: bool = False,
        remember: str = "neither",
        mask_zero: bool = False,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.batch_first = batch_first
        self.remember = remember
        self.mask_zero = mask_zero
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))

    def forward(self, x: Any) -> torch.Tensor:
        h: torch.Tensor | None = None
        if not isinstance(x, torch.Tensor):
            h, x = x
        if self.batch_first:
            x = x.transpose(0, 1)
        if h is None:
            remembered = self.state if has_memory(self) else None
            h = x.new_zeros(x.shape[1], self.hidden_size) if remembered is None else remembered
        inputs = nn.functional.linear(x, self.weight_ih, self.bias)
        kept = self.kept(x) if self.mask_zero else x
        size = self.hidden_size
        outputs = []
        for step in range(x.shape[0]):
            gates = inputs[step, :, : 2 * size] + nn.functional.linear(h, self.weight_hh[: 2 * size])
            reset, update = torch.sigmoid(gates).chunk(2, 1)
            candidate = inputs[step, :, 2 * size :] + nn.functional.linear(reset * h, self.weight_hh[2 * size :])
            h = (1 - update) * torch.tanh(candidate) + update * h
            if self.mask_zero:
                h = torch.where(kept[step], h, torch.zeros_like(h))
            outputs.append(h)
        self.state = h.detach() if has_memory(self) else None
        output = torch.stack(outputs)
        return output.transpose(0, 1) if self.batch_first else output

    def kept(self, x: torch.Tensor) -> torch.Tensor:
        return (x != 0).any(-1, keepdim=True)

    def train(self, mode: bool = True) -> SeqGRU:
        if mode != self.training:
            self.state = None
        super().train(mode)
        return self

    def extra_repr(self) -> str:
        names = ("input_size", "hidden_size", "batch_first", "remember", "mask_zero")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


class MaskedSeqGRU(ZeroMasked, SeqGRU):
    """A `SeqGRU` whose output and state become zero where `set_zero_mask` said that samples are padding."""


module_form("state names", SeqGRU, MaskedSeqGRU)(("gru", ("h",)))


@module_form("onnx", SeqGRU)
class OnnxSeqGRU(OnnxSequence, SeqGRU):
    """As `SeqGRU`."""

    @classmethod
    def put(cls, module: SeqGRU) -> None:
        if not module.mask_zero:
            weights = [[module.weight_ih, module.weight_hh, module.bias]]
            module.packed = Packed("GRU", module.hidden_size, weights)
            del module.weight_ih, module.weight_hh, module.bias
            super().put(module)


@module_form("sequence length", SeqLSTM, MaskedSeqLSTM, SeqGRU, MaskedSeqGRU, CudnnRNN)
def sequence_length(module: SeqLSTM | SeqGRU | CudnnRNN, x: Any) -> int:
    """How many steps a layer makes on `x`, a sequence as one tensor, alone or behind the states to begin with."""
    sequence = x if isinstance(x, torch.Tensor) else x[-1]
    return int(sequence.shape[1 if module.batch_first else 0])


@converts("nn.SeqGRU", traits=SEQUENCES)
def seq_gru(layer: Layer) -> SeqGRU:
    """nn.SeqGRU(inputSize, outputSize)

    The reset gate comes before the matrix product, unlike in nn.GRU of PyTorch. With remember('both') and the like the
    state lasts from one call to the next, until `forget(module)`.
    """
    ignore_buffers(layer)
    layer.ignore("seqLength", "miniBatch")
    mask = mask_kind(layer)
    input_size, output_size = (
        layer.integer(f"{name}size" if layer.has(f"{name}size") else f"{name}Size")  # torch/rnn writes them small
        for name in ("input", "output")
    )
    module = layer.make(
        MaskedSeqGRU if mask == "given" else SeqGRU,
        input_size,
        output_size,
        batch_first=layer.flag("batchfirst", default=False),
        remember=layer.text("_remember", "neither"),
        mask_zero=mask != "",
    )
    weight = layer.tensor("weight")
    layer.put(module, "weight_ih", weight[:input_size].t(), field="weight")
    layer.put(module, "weight_hh", weight[input_size:].t(), field="weight")
    layer.put(module, "bias")
    module.training = layer.trains()
    state = kept_state(layer, module, last_output(layer)) if layer.has("h0") else None
    module.state = state[0] if state else None
    return module

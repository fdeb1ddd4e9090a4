"""Package cudnn: recurrent layers, which keep all their weights in one flat tensor."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from ...model.layer import Layer
from ...model.recurrent_state import Remembering
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...onnx.operators.recurrent import Packed
from ...onnx.operators.stand_ins import StandIn

SEQUENCES = Traits(reads="sequences", recurrent=True, picture="recurrent")

#: cudnn's mode -> the kind of layer. The order of the gates is that of PyTorch.
MODES = {"CUDNN_LSTM": "LSTM", "CUDNN_GRU": "GRU", "CUDNN_RNN_RELU": "relu", "CUDNN_RNN_TANH": "tanh"}


class CudnnRNN(Remembering):
    """A recurrent layer over a sequence, (T, N, D) or with `batch_first` (N, T, D); returns the outputs only.

    Args:
        kind: "LSTM", "GRU", or the nonlinearity of a simple one: "tanh", "relu".
        input_size: size of an entry of the sequence.
        hidden_size: size of the output of each direction.
        num_layers: how many layers lie on top of each other.
        batch_first: the sequence is (N, T, D).
        dropout: of the output of each layer but the last, in training.
        bidirectional: a second direction runs backward through the sequence.
        remember: the state lasts from one call to the next while the size of the batch stays the same.
    """

    def __init__(
        self,
        kind: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        remember: bool = False,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.remember = remember
        drop = dropout if num_layers > 1 else 0.0
        if kind == "LSTM":
            self.rnn: nn.RNNBase = nn.LSTM(input_size, hidden_size, num_layers, True, batch_first, drop, bidirectional)
        elif kind == "GRU":
            self.rnn = nn.GRU(input_size, hidden_size, num_layers, True, batch_first, drop, bidirectional)
        else:
            self.rnn = nn.RNN(input_size, hidden_size, num_layers, kind, True, batch_first, drop, bidirectional)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.state if self.remember else None
        if state is not None and state[0].shape[1] != x.shape[0 if self.batch_first else 1]:
            state = None
        if state is not None and self.kind != "LSTM":
            state = state[0]
        output: torch.Tensor
        output, last = self.rnn(x, state)
        if self.remember:
            self.state = tuple(part.detach() for part in (last if self.kind == "LSTM" else (last,)))
        return output

    def extra_repr(self) -> str:
        return f"remember={self.remember}"


@module_form("recurrent", CudnnRNN)
def _stock(module: CudnnRNN) -> nn.RNNBase | None:
    return None if module.remember else module.rnn


module_form("state names", CudnnRNN)(("rnn", ("h", "c")))


@module_form("onnx", CudnnRNN)
class OnnxCudnnRNN(StandIn, CudnnRNN):
    """As `CudnnRNN`."""

    layers: nn.ModuleList

    @classmethod
    def put(cls, module: CudnnRNN) -> None:
        rnn, parts = module.rnn, ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        names = ["", "_reverse"] if rnn.bidirectional else [""]
        kind, attributes = {
            "LSTM": ("LSTM", {}),
            "GRU": ("GRU", {"linear_before_reset": 1}),
        }.get(module.kind, ("RNN", {"activations": [module.kind.capitalize()] * len(names)}))
        weights = [
            [[getattr(rnn, f"{part}_l{number}{name}") for part in parts] for name in names]
            for number in range(rnn.num_layers)
        ]
        module.layers = nn.ModuleList(Packed(kind, rnn.hidden_size, layer, attributes) for layer in weights)
        del module.rnn
        super().put(module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.transpose(0, 1) if self.batch_first else x
        before, after = list(self.state or ()), []
        count = 2 if self.bidirectional else 1
        for number, layer in enumerate(self.layers):
            y, *last = layer(y, *(state[number * count : (number + 1) * count] for state in before))
            after.append(last)
        if before:
            self.state = tuple(torch.cat(states) for states in zip(*after, strict=True))
        return y.transpose(0, 1) if self.batch_first else y


@converts("cudnn.RNN", "cudnn.LSTM", "cudnn.GRU", "cudnn.BLSTM", "cudnn.BGRU", traits=SEQUENCES)
@converts("cudnn.RNNReLU", "cudnn.RNNTanh", traits=replace(SEQUENCES, keeps_size=True, picture="activation"))
def cudnn_rnn(layer: Layer) -> CudnnRNN:
    """cudnn.LSTM(inputSize, hiddenSize, numLayers, [batchFirst], [dropout], [rememberStates]) and its relatives

    It runs on nn.LSTM, nn.GRU or nn.RNN. With rememberStates the state lasts from one call to the next, until
    `forget(module)`.
    """
    layer.ignore("seed", "datatype", "seqLength", "miniBatch", "sync", "inputPacked", "reserve", "dropoutStates")
    layer.ignore("dropoutStatesSize", "gradHiddenInput", "gradCellInput", "gradHiddenOutput", "gradCellOutput")
    layer.ignore("dropoutDesc", "rnnDesc", "xDescs", "yDescs", "hxDesc", "hyDesc", "cxDesc", "cyDesc")
    mode = layer.text("mode")
    if mode not in MODES:
        layer.refuse(f"its mode {mode} is unknown")
    kind = MODES[mode]
    remember = layer.flag("rememberStates", default=False)
    if not remember and (layer.has("hiddenInput") or layer.has("cellInput")):
        layer.refuse("it was given a state to start from (hiddenInput)")
    layer.ignore("hiddenInput", "cellInput", "numDirections")
    module = layer.make(
        CudnnRNN,
        kind,
        layer.integer("inputSize"),
        layer.integer("hiddenSize"),
        layer.integer("numLayers", 1),
        batch_first=layer.flag("batchFirst", default=False),
        dropout=layer.number("dropout", 0.0),
        bidirectional=layer.text("bidirectional", "CUDNN_UNIDIRECTIONAL") == "CUDNN_BIDIRECTIONAL",
        remember=remember,
    )
    put_flat(layer, module, skip=layer.text("inputMode", "CUDNN_LINEAR_INPUT") == "CUDNN_SKIP_INPUT")
    names = ("hiddenOutput", "cellOutput")[: 2 if kind == "LSTM" else 1]
    layer.ignore("hiddenOutput", "cellOutput")
    if remember and all(layer.has(name) and layer.tensor(name).dim() == 3 for name in names):
        layer.note("the file holds its last state; `forget` starts anew, a saved folder does not keep it")
        module.state = tuple(layer.tensor(name).detach().clone() for name in names)
    return module


def put_flat(layer: Layer, module: CudnnRNN, *, skip: bool) -> None:
    """Cuts the flat weight: the matrices of every layer and direction, then their biases, as PyTorch orders each."""
    flat, rnn = layer.tensor("weight"), module.rnn
    parameters = {name: parameter.shape for name, parameter in rnn.named_parameters()}
    skipped = [name for name in parameters if skip and name.startswith("weight_ih_l0")]
    stored = [name for kind in ("weight", "bias") for name in parameters if name.startswith(kind)]
    pieces = {name: parameters[name] for name in stored if name not in skipped}
    counts = [shape.numel() for shape in pieces.values()]
    if flat.numel() != sum(counts):
        layer.refuse(f"its weight has {flat.numel()} numbers, its sizes need {sum(counts)}")
    for (name, shape), numbers in zip(pieces.items(), flat.reshape(-1).split_with_sizes(counts), strict=True):
        layer.put(rnn, name, numbers.reshape(shape), field="weight")
    if skip:  # the input is added to every gate as it is
        if rnn.input_size != rnn.hidden_size:
            layer.refuse("it skips its input matrix, but its input and hidden sizes differ")
        gates = parameters["weight_ih_l0"][0] // rnn.hidden_size
        identity = torch.eye(rnn.hidden_size, dtype=flat.dtype).repeat(gates, 1)
        for name in skipped:
            layer.put(rnn, name, identity)
        layer.note("cudnn adds the input without a matrix (CUDNN_SKIP_INPUT); here the matrix is the identity")

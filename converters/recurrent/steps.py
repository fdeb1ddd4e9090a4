"""Package rnn: modules that compute one time step and remember their state for the next.

As in Torch7 a call is one step; the state lasts until `forget(module)`, which sequencers call by themselves. The cells
are the modules that the file holds, so any variant (masks, dropout, batch normalisation, a cell of one's own) works.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.recurrent_state import Remembering
from ...model.registry import converts, module_form, traits_of
from ...model.traits import Traits
from ...onnx.operators.cells import OnnxStep
from ...source.forms import Structure
from ...t7 import LuaObject, LuaTable, Storage, Tensor, Value
from ..tables.containers import only_child
from .fast_lstm import FastLSTM, fast_lstm

#: What is said where a file brings a state along.
UNFINISHED = (
    "the file holds the state of an unfinished sequence, from which the next call goes on unless a sequencer "
    "starts a new one; a saved folder does not keep it"
)


def detach_state(module: nn.Module) -> None:
    """Keeps the states of all parts of `module`, but no gradient will flow back through them."""
    for part in module.modules():
        if isinstance(part, Remembering):
            part.state = detached(part.state)


def detached(value: Any) -> Any:
    """The tensors of a nested list without their history."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    return [detached(item) for item in value] if isinstance(value, list) else value


class LSTMStep(Remembering):
    """One step of an LSTM: `module` turns [x, output, cell] into the next [output, cell].

    Args:
        module: the cell.
        hidden_size: size of the cell.
        initial_size: size of the output and cell that every sequence starts from, in buffers; None: from zeros.
        output_size: size of the output; None: that of the cell.
    """

    def __init__(
        self,
        module: nn.Module,
        hidden_size: int,
        initial_size: list[int] | None = None,
        output_size: int | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.hidden_size = hidden_size
        self.initial_size = initial_size
        self.output_size = hidden_size if output_size is None else output_size
        for name in ("initial_output", "initial_cell"):
            self.register_buffer(name, None if initial_size is None else torch.empty(initial_size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.state
        if state is None and self.initial_size is None:
            state = [x.new_zeros(*x.shape[:-1], size) for size in (self.output_size, self.hidden_size)]
        elif state is None:
            state = [self.initial_output, self.initial_cell]
        self.state = self.module([x, *state])
        output: torch.Tensor = self.state[0]
        return output


module_form("state names", LSTMStep)(("lstm", ("h", "c")))
module_form("structure", LSTMStep)(Structure(cell="LSTMCell"))


# what the file's cells consist of, where they may be an ONNX operator; other parts have this form beside their classes
module_form("cell part", nn.Sequential, nn.Identity, nn.Sigmoid, nn.Tanh, nn.Dropout)("function")
module_form("cell part", nn.Linear)("matrix")


class IndexLSTMStep(Remembering):
    """One step of an LSTM whose cell looks up x itself, indices (N): it begins from a zero state for each of them.

    Args:
        module: the cell, which turns [x, output, cell] into the next [output, cell].
        hidden_size: size of output and cell.
    """

    def __init__(self, module: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.module = module
        self.hidden_size = hidden_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.state is None:
            dtype = next((each.dtype for each in self.module.parameters()), x.dtype)
            self.state = [x.new_zeros(*x.shape, self.hidden_size, dtype=dtype) for _ in range(2)]
        self.state = self.module([x, *self.state])
        output: torch.Tensor = self.state[0]
        return output


module_form("state names", IndexLSTMStep)(("lstm", ("h", "c")))


@module_form("onnx", LSTMStep)
class OnnxLSTMStep(OnnxStep, LSTMStep):
    """As `LSTMStep`."""

    operator = "LSTM"


# nn.LSTM itself is registered in projects_language.py, since torch-rnn has another class of that name
@converts("nn.FastLSTM", traits=Traits(reads="numbers", picture="recurrent"))
def lstm(layer: Layer) -> LSTMStep | FastLSTM | IndexLSTMStep:
    """nn.FastLSTM(inputSize, outputSize, [rho], [cell2gate = true], [p], [mono])

    A call is one time step; `forget(module)` starts a new sequence. In a sequencer that happens by itself. It runs on
    nn.LSTM, whose gates stand in another order, unless it has batch normalisation, dropout, a mask, or a start state.
    """
    of_package_rnn(layer)
    layer.ignore("cellLayer", "inputGate", "forgetGate", "outputGate", "hiddenLayer", "cell2gate", "inputSize")
    layer.ignore("i2g", "o2g", "p", "mono", "eps", "momentum", "affine", "bn", "usenngraph")
    given = layer.has("userPrevOutput")
    if given != layer.has("userPrevCell"):
        layer.refuse("it was given only one of userPrevOutput and userPrevCell to start each sequence from")
    cell = layer.value("recurrentModule", None)
    if not given and isinstance(cell, LuaObject) and (stock := fast_lstm(layer, cell)) is not None:
        ignore_bookkeeping(layer)
        layer.ignore("modules")
        stock.state = remembered(layer, "outputs", "cells")
        return stock
    initial_size = list(layer.tensor("userPrevOutput").shape) if given else None
    if not given and looks_up(cell):
        layer.note("its cell takes indices: its state is a row for each, as in karthikncode/text-world-player")
        layer.traits(reads="indices")
        begun = IndexLSTMStep(cell_of(layer), layer.integer("outputSize"))
        begun.state = remembered(layer, "outputs", "cells")
        return begun
    module = layer.make(LSTMStep, cell_of(layer), layer.integer("outputSize"), initial_size)
    if given:
        layer.put(module, "initial_output", field="userPrevOutput")
        layer.put(module, "initial_cell", field="userPrevCell")
    module.state = remembered(layer, "outputs", "cells")
    return module


def looks_up(cell: Value) -> bool:
    """Does a cell look up the indices in its first entry before anything else?"""
    first = cell
    while isinstance(first, LuaObject) and isinstance(children := first.get("modules"), LuaTable) and len(children):
        first = children.get(1)
    return isinstance(first, LuaObject) and traits_of(first.typename).reads == "indices"


class GRUStep(Remembering):
    """One step of a GRU: `module` turns [x, output] into the next output.

    Args:
        module: the cell.
        hidden_size: size of the output.
        initial_size: size of the output that every sequence starts from, in a buffer; None: from zeros.
    """

    initial_output: torch.Tensor

    def __init__(self, module: nn.Module, hidden_size: int, initial_size: list[int] | None = None) -> None:
        super().__init__()
        self.module = module
        self.hidden_size = hidden_size
        self.initial_size = initial_size
        self.register_buffer("initial_output", None if initial_size is None else torch.empty(initial_size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        previous = self.state
        if previous is None:
            zeros = x.new_zeros(*x.shape[:-1], self.hidden_size)
            previous = zeros if self.initial_size is None else self.initial_output
        output: torch.Tensor = self.module([x, previous])
        self.state = output
        return output


module_form("state names", GRUStep)(("gru", ("h",)))
module_form("structure", GRUStep)(Structure(cell="GRUCell"))


@module_form("onnx", GRUStep)
class OnnxGRUStep(OnnxStep, GRUStep):
    """As `GRUStep`."""

    operator = "GRU"


@converts("nn.GRU", traits=Traits(reads="numbers", recurrent=True, picture="recurrent"))
@converts("nn.MuFuRu", traits=Traits(reads="numbers"))
@converts("nn.GRUST", traits=Traits(reads="numbers", recurrent=True, picture="recurrent"))
def gru(layer: Layer) -> GRUStep:
    """nn.GRU(inputSize, outputSize, [rho], [p], [mono]); nn.MuFuRu(inputSize, outputSize, [ops], [rho])

    A call is one time step; `forget(module)` starts a new sequence. In a sequencer that happens by itself. The reset
    gate comes before the matrix product, unlike in nn.GRU of PyTorch. So is Cadene/grust.torch's nn.GRUST.
    """
    of_package_rnn(layer)
    layer.ignore("i2g", "o2g", "p", "mono", "inputSize", "ops", "num_ops", "operations")
    given = layer.has("userPrevOutput")
    initial_size = list(layer.tensor("userPrevOutput").shape) if given else None
    module = layer.make(GRUStep, cell_of(layer), layer.integer("outputSize"), initial_size)
    if given:
        layer.put(module, "initial_output", field="userPrevOutput")
    module.state = remembered(layer, "outputs")
    return module


class Recurrent(Remembering):
    """A simple recurrent layer: transfer(merge([input(x), feedback(output)])), at first transfer(start(input(x)))."""

    def __init__(
        self,
        start_module: nn.Module,
        input_module: nn.Module,
        feedback_module: nn.Module,
        transfer_module: nn.Module,
        merge_module: nn.Module,
    ) -> None:
        super().__init__()
        self.start_module = start_module
        self.input_module = input_module
        self.feedback_module = feedback_module
        self.transfer_module = transfer_module
        self.merge_module = merge_module

    def forward(self, x: Any) -> Any:
        y, before = self.input_module(x), self.state
        y = self.start_module(y) if before is None else self.merge_module([y, self.feedback_module(before)])
        self.state = self.transfer_module(y)
        return self.state


@converts("nn.Recurrent", traits=Traits(reuses="nothing", picture="recurrent"))
def recurrent(layer: Layer) -> Recurrent:
    """nn.Recurrent(start, input, feedback, [transfer = nn.Sigmoid()], [rho], [merge = nn.CAddTable()])

    A call is one time step; `forget(module)` starts a new sequence. In a sequencer that happens by itself.
    """
    initial = layer.value("initialModule")
    first = initial.get("modules") if isinstance(initial, LuaObject) else None
    names = ("startModule", "inputModule", "feedbackModule", "transferModule", "mergeModule")
    values = [layer.value(name) for name in names]
    if not isinstance(first, LuaTable) or not (
        layer.are_clones(first.get(1), values[1]) and layer.are_clones(first.get(3), values[3])
    ):
        layer.refuse("its initialModule has other parameters than its inputModule and transferModule")
    ignore_bookkeeping(layer)
    layer.ignore("recurrentModule", "modules")
    module = Recurrent(*(layer.convert(value, str(i)) for i, value in enumerate(values, 1)))
    module.state = remembered(layer, "outputs")
    return module


class Recurrence(Remembering):
    """`module` turns [x, output] into the next output; the first output is zero.

    Args:
        module: the step.
        output_size: size of the output without the batch, or a list of such sizes.
        input_dims: an input (the first tensor in it) of one dimension more is a batch.
    """

    def __init__(self, module: nn.Module, output_size: list[Any], input_dims: int) -> None:
        super().__init__()
        self.module = module
        self.output_size = output_size
        self.input_dims = input_dims

    def forward(self, x: Any) -> Any:
        previous = self.zeros(x, self.output_size) if self.state is None else self.state
        self.state = self.module([x, previous])
        return self.state

    def zeros(self, x: Any, size: list[Any]) -> Any:
        while isinstance(x, (list, tuple)):
            x = x[0]
        if isinstance(size[0], list):
            return [self.zeros(x, item) for item in size]
        dtype = next((p.dtype for p in self.module.parameters()), x.dtype)
        return x.new_zeros(*x.shape[: x.dim() - self.input_dims], *size, dtype=dtype)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, input_dims={self.input_dims}"


module_form("state names", Recurrent, Recurrence)(("rnn", ("h",)))


@converts("nn.Recurrence", traits=Traits(flow="feedback"))
def recurrence(layer: Layer) -> Recurrence:
    """nn.Recurrence(recurrentModule, outputSize, nInputDim, [rho])

    A call is one time step; `forget(module)` starts a new sequence. In a sequencer that happens by itself.
    """
    layer.ignore("typeTensor", "module")
    if layer.has("userPrevOutput") or layer.has("startState"):
        layer.refuse("it was given a state to start each sequence from (userPrevOutput or startState)")
    size = nested_sizes(layer.value("outputSize"))
    if not size:
        layer.refuse("its outputSize is not a size, or a table of sizes")
    module = Recurrence(cell_of(layer), size, layer.integer("nInputDim"))
    module.state = remembered(layer, "outputs")
    return module


def nested_sizes(value: Value) -> list[Any]:
    """A table of numbers, a LongStorage, or a table of those, as lists of whole numbers."""
    if isinstance(value, Storage):
        return [int(extent) for extent in value.data.tolist()]
    if not isinstance(value, LuaTable):
        return []
    return [int(item) if isinstance(item, float) else nested_sizes(item) for item in value.list()]


@converts("nn.Recursor", traits=Traits(output="children", picture="recurrent"))
def recursor(layer: Layer) -> nn.Module:
    """nn.Recursor(module, [rho])

    It becomes the module that it holds: a state in it is remembered there.
    """
    layer.ignore("module", "step")
    return cell_of(layer)


def of_package_rnn(layer: Layer) -> None:
    """Refuses a class that has the name of one of package rnn, but not its fields."""
    if not (layer.has("recurrentModule") or layer.has("sharedClones")):
        layer.refuse("it is not the class of the package rnn, but another one of the same name")
    if layer.has("startState"):
        layer.refuse("it was given a state to start each sequence from (startState)")


def cell_of(layer: Layer) -> nn.Module:
    """The converted step module of a recurrent layer, of which the file may hold clones for each time step."""
    ignore_bookkeeping(layer)
    if layer.has("recurrentModule"):
        layer.ignore("modules")
        return layer.convert(layer.value("recurrentModule"), "1")
    return only_child(layer)  # in torch/rnn


def ignore_bookkeeping(layer: Layer) -> None:
    """Ignores what a recurrent layer keeps for back-propagation through time."""
    layer.ignore("rho", "outputs", "gradInputs", "gradOutputs", "_gradOutputs", "cells", "cell", "gradCells")
    layer.ignore("sharedClones", "nSharedClone", "rmInSharedClones", "recurrentModule", "zeroTensor", "initialModule")
    layer.ignore("gradPrevOutput", "updateGradInputStep", "accGradParametersStep", "userNextGradOutput")
    layer.ignore("userNextGradCell", "userGradPrevOutput", "userGradPrevCell")
    layer.ignore("seqlen", "zeroMask", "zeroMaskStep", "maskzero", "_prevOutput")  # torch/rnn's


def remembered(layer: Layer, *names: str) -> Any:
    """The state of a sequence that was not finished when the file was written: the last entries of tables; or None."""
    last = layer.integer("step", 1) - 1
    found = [table.get(last) for name in names if isinstance(table := layer.value(name, None), LuaTable)]
    if len(found) < len(names) or any(value is None for value in found):
        if last > 0:
            layer.note("it was saved within a sequence, but without its state: it starts a new one")
        return None
    layer.note(UNFINISHED)
    state = [tensors_of(layer, value) for value in found]
    return state if len(names) > 1 else state[0]


def tensors_of(layer: Layer, value: Value) -> Any:
    """The torch tensors of a tensor, or of a nested table of them."""
    if isinstance(value, Tensor):
        return layer.numbers_of(value)
    if not isinstance(value, LuaTable):
        layer.refuse("its state is neither a tensor nor a table")
    return [tensors_of(layer, item) for item in value.list()]

"""Sequencers that remember nothing between two sequences, as they are written in generated source: plain loops."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.recurrent_state import Remembering
from ...model.registry import module_form
from ...source.expressions import Value, entry, python
from ...source.forms import Loop, Structure
from ..tables.containers import ConcatTable
from ..tables.graph import Graph
from ..tables.orders import ReverseTable, ZipTable
from ..tables.table_layers import AddEntries, JoinTable
from .convolutional import ConvLSTMStep
from .fast_lstm import FastLSTM
from .sequencers import BiSequencerLM, LayerSequencer, Sequencer, layers_of
from .stateful_sequences import ConvLSTM, SimpleRNN, StatefulCellLSTM, StatefulGRU, StatefulLSTM, StatefulRNN
from .steps import GRUStep, LSTMStep, Recurrent


class GRUSequence(nn.Module):
    """Runs a GRU cell over a sequence from zeros: over a list, or over the first dimension of a tensor."""

    def __init__(self, cell: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.cell = cell
        self.hidden_size = hidden_size

    def forward(self, x: Any) -> Any:
        h = x[0].new_zeros(*x[0].shape[:-1], self.hidden_size)
        outputs = []
        for step in range(len(x)):
            h = self.cell([x[step], h])
            outputs.append(h)
        return torch.stack(outputs) if isinstance(x, torch.Tensor) else outputs


class LSTMSequence(nn.Module):
    """Runs an LSTM cell over a sequence from zeros: over a list, or over the first dimension of a tensor."""

    def __init__(self, cell: nn.Module, output_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = cell
        self.output_size = output_size
        self.hidden_size = hidden_size

    def forward(self, x: Any) -> Any:
        h = x[0].new_zeros(*x[0].shape[:-1], self.output_size)
        c = x[0].new_zeros(*x[0].shape[:-1], self.hidden_size)
        outputs = []
        for step in range(len(x)):
            h, c = self.cell([x[step], h, c])
            outputs.append(h)
        return torch.stack(outputs) if isinstance(x, torch.Tensor) else outputs


class EachStep(nn.Module):
    """Runs a module on each entry of a list, or of the first dimension of a tensor."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        outputs = [self.module(x[step]) for step in range(len(x))]
        return torch.stack(outputs) if isinstance(x, torch.Tensor) else outputs


module_form("structure", GRUSequence)(Structure(lists=True, cell="GRUCell"))
module_form("structure", LSTMSequence)(Structure(lists=True, cell="LSTMCell"))
module_form("loop", GRUSequence)(Loop("cell", {"h": "hidden_size"}))
module_form("loop", LSTMSequence)(Loop("cell", {"h": "output_size", "c": "hidden_size"}))
module_form("loop", EachStep)(Loop("module"))


module_form("structure", StatefulGRU)(Structure(cell="GRUCell"))
module_form("structure", StatefulCellLSTM)(Structure(cell="LSTMCell"))
module_form("structure", ConvLSTM)(Structure(cell="ConvLSTMCell"))


module_form("of a list", ConvLSTM, StatefulGRU, StatefulCellLSTM, SimpleRNN, StatefulRNN)(True)


@module_form("without memory", StatefulGRU)
def _gru_from_zeros(module: StatefulGRU) -> GRUSequence:
    return GRUSequence(module.cell, module.hidden_size)


@module_form("without memory", StatefulCellLSTM)
def _lstm_from_zeros(module: StatefulCellLSTM) -> LSTMSequence:
    return LSTMSequence(module.cell, module.output_size, module.hidden_size)


def _simple(part: Recurrent, remember: str) -> nn.Module:
    """A simple recurrent layer over the whole sequence."""
    modules = part.input_module, part.start_module, part.feedback_module, part.transfer_module
    made = SimpleRNN(*modules) if remember == "neither" else StatefulRNN(*modules, remember)
    return made.train(part.training)


def _gated(part: GRUStep | LSTMStep, remember: str) -> nn.Module:
    """A GRU or LSTM over the whole sequence."""
    if isinstance(part, GRUStep):
        args = part.module, part.hidden_size
        return GRUSequence(*args) if remember == "neither" else StatefulGRU(*args, remember).train(part.training)
    sizes = part.module, part.output_size, part.hidden_size
    return LSTMSequence(*sizes) if remember == "neither" else StatefulCellLSTM(*sizes, remember).train(part.training)


@module_form("over sequence", Sequencer, LayerSequencer)
def _layers(module: Sequencer) -> list[nn.Module] | None:
    """The layers of a step that keeps a state, each of which runs through the whole sequence before the next.

    LSTMs that follow one another are layers of one, which gives the same bits.
    """
    found: list[nn.Module] = []
    rest: list[nn.Module] = []
    parts = layers_of(module.module)
    if any(_other_state(part, module.remember) for part in parts):
        return None
    while parts:
        part = parts[0]
        if isinstance(part, (FastLSTM, GRUStep, LSTMStep, Recurrent, ConvLSTMStep)):
            found += _each(rest)
            rest = []
        if isinstance(part, FastLSTM):
            layers, dropout = _stack(parts)
            del parts[: 2 * len(layers) - 1 if dropout else len(layers)]
            found.append(_lstm(layers, dropout, module.remember))
            continue
        if isinstance(part, Recurrent):
            found.append(_simple(part, module.remember))
        elif isinstance(part, ConvLSTMStep):
            found.append(ConvLSTM(part.module, part.planes).train(part.training))
        elif isinstance(part, (GRUStep, LSTMStep)):
            found.append(_gated(part, module.remember))
        else:
            rest.append(part)
        del parts[0]
    return [*found, *_each(rest)] if found else None


def _each(parts: list[nn.Module]) -> list[nn.Module]:
    """What runs layers on each entry; nothing where there are none."""
    return [EachStep(nn.Sequential(*parts) if len(parts) > 1 else parts[0])] if parts else []


def _other_state(part: nn.Module, remember: str) -> bool:
    """Does a layer keep a state in a way that no layer over the whole sequence has?"""
    if isinstance(part, FastLSTM):
        return False
    steps = type(part) in (GRUStep, LSTMStep, Recurrent, ConvLSTMStep)
    inside = list(part.modules())[1 if steps else 0 :]
    if any(isinstance(one, (Remembering, Sequencer)) for one in inside):
        return True
    if isinstance(part, Recurrent):
        return type(part.merge_module) is not AddEntries or part.merge_module.inplace
    if isinstance(part, ConvLSTMStep):
        return part.first is not None or remember != "neither"
    return steps and bool(part.initial_size)


def _stack(parts: list[nn.Module]) -> tuple[list[Any], float]:
    """The LSTMs at the beginning that can be layers of one, and the dropout between each two of them."""
    rate = parts[1].p if len(parts) > 1 and type(parts[1]) is nn.Dropout else 0.0
    layers = [parts[0]]
    size = parts[0].hidden_size
    for place in range(2 if rate else 1, len(parts), 2 if rate else 1):
        between, layer = parts[place - 1], parts[place]
        if rate and not (type(between) is nn.Dropout and between.p == rate):
            break
        if not isinstance(layer, FastLSTM) or layer.hidden_size != size:
            break
        layers.append(layer)
    return layers, rate if len(layers) > 1 else 0.0


def _lstm(layers: list[FastLSTM], dropout: float, remember: str) -> nn.LSTM:
    """One LSTM with the very parameters of others that lie on top of each other."""
    sizes = layers[0].input_size, layers[0].hidden_size, len(layers)
    with torch.device("meta"):
        stateful = remember != "neither"
        made = (
            StatefulLSTM(*sizes, dropout=dropout, remember=remember) if stateful else nn.LSTM(*sizes, dropout=dropout)
        )
    for number, layer in enumerate(layers):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(made, f"{name}_l{number}", getattr(layer.lstm, f"{name}_l0"))
    return made.train(layers[0].training)


@module_form("over sequence", nn.Sequential)
def _both_directions(module: nn.Sequential) -> list[nn.Module] | None:
    """The LSTM of two directions that a chain is which runs one forward, another one backward, and joins the two.

    In double precision PyTorch's own may round otherwise.
    """
    match list(module):
        case [ConcatTable() as both, ZipTable(), Sequencer(module=JoinTable(dim=0, num_input_dims=1))]:
            pass
        case _:
            return None
    match list(both):
        case [Sequencer() as ahead, nn.Sequential() as back]:
            pass
        case _:
            return None
    match list(back):
        case [ReverseTable(), Sequencer() as behind, ReverseTable()]:
            pass
        case _:
            return None
    layers = [sequencer.module for sequencer in (ahead, behind)]
    one, other = layers
    if not (isinstance(one, FastLSTM) and isinstance(other, FastLSTM)) or one is other:
        return None
    if one.lstm.weight_hh_l0.dtype != torch.float32:
        return None
    if one.hidden_size != other.hidden_size or {ahead.remember, behind.remember} != {"neither"}:
        return None
    with torch.device("meta"):
        made = nn.LSTM(one.input_size, one.hidden_size, bidirectional=True)
    for suffix, layer in (("", one), ("_reverse", other)):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(made, f"{name}_l0{suffix}", getattr(layer.lstm, f"{name}_l0"))
    return [made.train(one.training)]


class WithoutOne(nn.Module):
    """Returns all entries of a list but the first, or the last one."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        return x[1:] if self.first else x[:-1]


@module_form("python of a list", WithoutOne)
def _without_one(module: WithoutOne, value: Value) -> Value:
    if isinstance(value, list):
        return module(value)
    return python("x[1:]" if module.first else "x[:-1]", x=value)


class WithZeros(nn.Module):
    """Puts zeros, of the size of the first entry, before the entries of a list, or behind them."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        zeros = torch.zeros_like(x[0])
        return [zeros, *x] if self.first else [*x, zeros]


@module_form("python of a list", WithZeros)
def _with_zeros(module: WithZeros, value: Value) -> Value:
    first = entry(value, 0)
    if isinstance(value, list):
        zeros = python("torch.zeros_like(x)", x=first)
        return [zeros, *value] if module.first else [*value, zeros]
    text = "[torch.zeros_like(first), *x]" if module.first else "[*x, torch.zeros_like(first)]"
    return python(text, x=value, first=first)


@module_form("plain", BiSequencerLM)
def _plain_both_ways(module: BiSequencerLM) -> nn.Module | None:
    """The two networks one after the other, where their entries are plainly tensors."""
    if not all(isinstance(part, Sequencer) for part in (module.forward_module, _inner(module.backward_module))):
        return None
    parts: list[nn.Module] = [
        WithoutOne(first=False),
        module.forward_module,
        WithZeros(first=True),
        WithoutOne(first=True),
        module.backward_module,
        WithZeros(first=False),
        module.merge_module,
    ]
    nodes = [[0, [[0]]], [1, [[1]]], [2, [[2]]], [3, [[0]]], [4, [[4]]], [5, [[5]]], [6, [[3], [6]]]]
    return Graph(parts, nodes, [[7]])


def _inner(module: nn.Module) -> nn.Module:
    """What runs between two layers that reverse a list; the module itself where there are none."""
    match list(module) if isinstance(module, nn.Sequential) else []:
        case [ReverseTable(), nn.Module() as inner, ReverseTable()]:
            return inner
    return module


@module_form("plain", Sequencer)
def _plain(module: Sequencer) -> nn.Module | None:
    """The same without what keeps a state from one sequence to the next, where the file keeps none."""
    step = module.module
    inside = list(step.modules())[1:]
    stateless = not any(isinstance(part, (Remembering, Sequencer)) for part in step.modules())
    if stateless:
        return EachStep(step)
    if module.remember != "neither" or any(isinstance(part, (Remembering, Sequencer)) for part in inside):
        return None
    if type(step) is GRUStep:
        return None if step.initial_size else GRUSequence(step.module, step.hidden_size)
    if type(step) is LSTMStep:
        return None if step.initial_size else LSTMSequence(step.module, step.output_size, step.hidden_size)
    return None if isinstance(step, Remembering) else EachStep(step)


class ListLoop(nn.Module):
    """Runs a module on each entry of a list, as TorchScript compiles it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self.module(step) for step in x]


class ListsLoop(nn.Module):
    """Runs a module on each of several lists, as TorchScript compiles it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: list[list[torch.Tensor]]) -> list[torch.Tensor]:
        return [self.module(step) for step in x]


class GRULoop(nn.Module):
    """A `GRUSequence` of a list, as TorchScript compiles it."""

    def __init__(self, cell: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.cell = cell
        self.hidden_size = hidden_size

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        h = x[0].new_zeros(list(x[0].shape[:-1]) + [self.hidden_size])  # noqa: RUF005
        outputs: list[torch.Tensor] = []
        for step in x:
            h = self.cell([step, h])
            outputs.append(h)
        return outputs


class LSTMLoop(nn.Module):
    """An `LSTMSequence` of a list, as TorchScript compiles it."""

    def __init__(self, cell: nn.Module, output_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = cell
        self.output_size = output_size
        self.hidden_size = hidden_size

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        h = x[0].new_zeros(list(x[0].shape[:-1]) + [self.output_size])  # noqa: RUF005
        c = x[0].new_zeros(list(x[0].shape[:-1]) + [self.hidden_size])  # noqa: RUF005
        outputs: list[torch.Tensor] = []
        for step in x:
            h, c = self.cell([step, h, c])
            outputs.append(h)
        return outputs


class TensorLoop(nn.Module):
    """Runs a loop over a list on the first dimension of a tensor."""

    def __init__(self, loop: nn.Module) -> None:
        super().__init__()
        self.loop = loop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack(self.loop(x.unbind(0)))


@module_form("typed", Sequencer)
def _typed(module: Sequencer, taken: str) -> nn.Module | None:
    """A loop that says what it takes, where nothing lasts from one sequence to the next."""
    plain = _plain(module)
    loop: nn.Module
    if isinstance(plain, GRUSequence):
        loop = GRULoop(plain.cell, plain.hidden_size)
    elif isinstance(plain, LSTMSequence):
        loop = LSTMLoop(plain.cell, plain.output_size, plain.hidden_size)
    elif isinstance(plain, EachStep):
        loop = ListsLoop(plain.module) if taken.startswith("list[list[") else ListLoop(plain.module)
    else:
        return None
    return loop if taken.startswith("list[") else TensorLoop(loop)

"""Package rnn: modules that run a step module over the entries of a sequence."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import nn

from ...base.tensor_trees import apply
from ...model.layer import Layer
from ...model.recurrent_state import forget
from ...model.registry import converts, form_of, module_form
from ...model.traits import Traits
from ...onnx.operators.cells import OnnxStep
from ...onnx.operators.stand_ins import StandIn
from ..tables.containers import only_child, run_child
from .fast_lstm import FastLSTM
from .steps import detach_state


def has_memory(module: nn.Module) -> bool:
    """Does the state last from one call of `module` to the next, by its attribute `remember` and its mode?"""
    return module.remember in ("both", "train" if module.training else "eval")


class Sequencer(nn.Module):
    """Runs a module on each entry of a sequence: of a list, or of a tensor along its first dimension.

    Args:
        module: the step; parts of it may remember a state.
        remember: in which mode the state lasts from one sequence to the next: "neither", "train", "eval", "both".
    """

    def __init__(self, module: nn.Module, remember: str = "neither") -> None:
        super().__init__()
        self.module = module
        self.remember = remember

    def forward(self, x: Any) -> Any:
        if has_memory(self):
            detach_state(self.module)
        else:
            forget(self.module)
        outputs = [self.module(x[step]) for step in range(len(x))]
        if not has_memory(self):
            forget(self.module)
        return torch.stack(outputs) if isinstance(x, torch.Tensor) else outputs

    def train(self, mode: bool = True) -> Sequencer:
        if mode != self.training:
            forget(self)
        super().train(mode)
        return self

    def extra_repr(self) -> str:
        return f"remember={self.remember!r}"


class CopyingSequencer(Sequencer):
    """In evaluation keeps copies of what the steps give, as Torch7's does: later steps may write there in place."""

    def forward(self, x: Any) -> Any:
        if self.training:
            return super().forward(x)
        (detach_state if has_memory(self) else forget)(self.module)
        outputs = [apply(self.module(x[step]), torch.clone) for step in range(len(x))]
        if not has_memory(self):
            forget(self.module)
        return torch.stack(outputs) if isinstance(x, torch.Tensor) else outputs


class LayerSequencer(Sequencer):
    """A sequencer of layers each of which runs through the whole sequence before the next begins, as nn.LSTM does."""

    def forward(self, x: Any) -> Any:
        (detach_state if has_memory(self) else forget)(self.module)
        outputs = list(x)
        for part in chain_of(self.module):
            if isinstance(part, FastLSTM):
                whole = torch.stack(outputs)
                size = [*whole.shape[:-1], part.hidden_size]
                outputs = list(part(whole.reshape(len(whole), -1, part.input_size)).reshape(size))
            else:
                outputs = [part(entry) for entry in outputs]
        if not has_memory(self):
            forget(self.module)
        return torch.stack(outputs) if isinstance(x, torch.Tensor) else outputs


def chain_of(module: nn.Module) -> list[nn.Module]:
    """The layers that run one after another, each on the output of the one before."""
    if type(module) is not nn.Sequential:
        return [module]
    return [part for child in module for part in chain_of(child)]


def layers_of(step: nn.Module) -> list[nn.Module]:
    """The layers of a step, if each can run through the whole sequence before the next begins.

    None of them, where layers share a state, or write into what another one keeps.
    """
    parts = chain_of(step)
    inside = [module for part in parts for module in part.modules()]
    shared = len(set(map(id, inside))) < len(inside)
    return [] if shared or any(getattr(module, "inplace", False) for module in inside) else parts


module_form("copying", Sequencer, LayerSequencer)(CopyingSequencer)


@module_form("sequence length", Sequencer, CopyingSequencer, LayerSequencer)
def sequencer_length(module: Sequencer, x: Any) -> int:
    """How many steps a sequencer makes on `x`."""
    return len(x)


# what does to each row of a matrix the same, whatever the others are
module_form("by rows", nn.Identity, nn.Dropout, nn.Linear, nn.Sigmoid, nn.Tanh, nn.ReLU)(True)


@module_form("onnx", Sequencer, LayerSequencer)
class OnnxSequencer(StandIn, Sequencer):
    """As `Sequencer`, from the state put there; cells in the step that are operators run once for all steps."""

    def forward(self, x: Any) -> Any:
        first = x if isinstance(x, torch.Tensor) else x[0]
        if not isinstance(first, torch.Tensor):
            return super().forward(x)
        entry_dims = first.dim() - isinstance(x, torch.Tensor)
        if entry_dims not in (1, 2):
            return super().forward(x)
        y = x
        for part in chain_of(self.module):
            if isinstance(part, OnnxStep):
                whole = y if isinstance(y, torch.Tensor) else torch.stack(y)
                y = part(whole) if entry_dims == 2 else part(whole.unsqueeze(1)).squeeze(1)
            elif isinstance(y, torch.Tensor) and entry_dims == 2 and form_of("by rows", part):
                y = part(y.flatten(0, 1)).unflatten(0, y.shape[:2])
            else:
                y = [part(y[step]) for step in range(len(y))]
        if isinstance(x, torch.Tensor):
            return y if isinstance(y, torch.Tensor) else torch.stack(y)
        return [y[step] for step in range(len(y))] if isinstance(y, torch.Tensor) else y


@converts("nn.Sequencer", traits=Traits(safe_on_own_output=True, flow="steps", recurrent=True, picture="recurrent"))
def sequencer(layer: Layer) -> Sequencer:
    """nn.Sequencer(module)

    With remember('both') and the like the state lasts from one call to the next, until `forget(module)`.
    """
    layer.ignore("tableoutput", "tablegradInput", "tablegradinput", "dpnn_mediumEmpty", "dpnn_serialEmpty")
    step = run_child(layer, "module")
    cls = LayerSequencer if any(isinstance(part, FastLSTM) for part in layers_of(step)) else Sequencer
    module = cls(step, layer.text("_remember", "neither"))
    module.training = layer.trains()  # so that evaluate() does not forget what the file holds
    if not has_memory(module):
        forget(module)
    return module


class Repeater(nn.Module):
    """Runs a module `times` times on the same input; returns the list of its outputs."""

    def __init__(self, module: nn.Module, times: int) -> None:
        super().__init__()
        self.module = module
        self.times = times

    def forward(self, x: Any) -> list[Any]:
        forget(self.module)
        outputs = [self.module(x) for _ in range(self.times)]
        forget(self.module)
        return outputs

    def extra_repr(self) -> str:
        return f"times={self.times}"


class CopyingRepeater(Repeater):
    """Keeps copies of what the steps give, as Torch7's does: later steps may write there in place."""

    def forward(self, x: Any) -> list[Any]:
        forget(self.module)
        outputs = [apply(self.module(x), torch.clone) for _ in range(self.times)]
        forget(self.module)
        return outputs


module_form("copying", Repeater)(CopyingRepeater)
module_form("runs", Repeater, CopyingRepeater)(attrgetter("times"))


@converts("nn.Repeater", traits=Traits(flow="steps", recurrent=True, picture="recurrent"))
def repeater(layer: Layer) -> Repeater:
    """nn.Repeater(module, rho)"""
    layer.ignore("_remember")
    return Repeater(
        run_child(layer, "module", "rnn"), layer.integer("rho" if layer.has("rho") else "seqlen")
    )  # torch/rnn's name


@converts("nn.BiSequencer", traits=Traits(flow="steps", recurrent=True, picture="recurrent"))
@converts("nn.SeqBLSTM", "nn.SeqBGRU", traits=Traits(safe_on_own_output=True, picture="recurrent"))
def bi_sequencer(layer: Layer) -> nn.Module:
    """nn.BiSequencer(forward, [backward], [merge])

    It becomes the network that it builds of two sequencers. So do torch/rnn's nn.SeqBLSTM(inputSize, hiddenSize,
    [outputSize], [merge]) and nn.SeqBGRU(inputSize, outputSize, [merge]).
    """
    layer.ignore(
        "module", "_remember", "forwardModule", "backwardModule", "mergeModule", "fwdSeq", "bwdSeq", "mergeSeq"
    )
    return only_child(layer)


@converts("nn.SeqBRNN", traits=Traits(reads="sequences", recurrent=True, picture="recurrent"))
def seq_brnn(layer: Layer) -> nn.Module:
    """nn.SeqBRNN(inputDim, hiddenDim, [batchFirst], [merge = nn.CAddTable()])

    It becomes the network that it builds of two nn.SeqLSTMs.
    """
    layer.ignore("forwardModule", "backwardModule", "merge", "dim")
    return run_child(layer, "module")


class BiSequencerLM(nn.Module):
    """Merges, for each entry of a list, what a forward network says of those before, a backward one of those behind."""

    def __init__(self, forward_module: nn.Module, backward_module: nn.Module, merge_module: nn.Module) -> None:
        super().__init__()
        self.forward_module = forward_module
        self.backward_module = backward_module
        self.merge_module = merge_module

    def forward(self, x: list[Any]) -> Any:
        before = self.forward_module(x[:-1])
        behind = self.backward_module(x[1:])
        return self.merge_module([[self.zeros(before[0]), *before], [*behind, self.zeros(behind[0])]])

    def zeros(self, x: Any) -> Any:
        return torch.zeros_like(x) if isinstance(x, torch.Tensor) else [self.zeros(item) for item in x]


@converts("nn.BiSequencerLM", traits=Traits(reuses="unknown", flow="steps", recurrent=True))
def bi_sequencer_lm(layer: Layer) -> BiSequencerLM:
    """nn.BiSequencerLM(forward, [backward], [merge])"""
    layer.ignore("_remember", "forwardModule", "backwardModule", "mergeModule", "fwdSeq", "bwdSeq", "mergeSeq")
    layer.ignore("_fwd", "_bwd", "_merge", "_fwdOutput", "_bwdOutput", "_firstStep", "_lastStep", "_mergeInput")
    layer.ignore("_mergeGradInput", "_fwdGradInput", "_bwdGradInput")
    return BiSequencerLM(*layer.modules())


class RecurrentAttention(nn.Module):
    """Runs a recurrent module `steps` times on [x, action]; each action comes from the output before, at first zeros.

    Args:
        rnn: the recurrent module.
        action: turns an output into an action.
        steps: how many steps.
        hidden_size: size of an output, without the batch.
        forward_actions: return [output, action] for each step rather than the output.
    """

    def __init__(
        self, rnn: nn.Module, action: nn.Module, steps: int, hidden_size: list[int], forward_actions: bool = False
    ) -> None:
        super().__init__()
        self.rnn = rnn
        self.action = action
        self.steps = steps
        self.hidden_size = hidden_size
        self.forward_actions = forward_actions

    def forward(self, x: torch.Tensor) -> list[Any]:
        forget(self)
        output: Any = x.new_zeros(x.shape[0], *self.hidden_size)
        outputs: list[Any] = []
        for _ in range(self.steps):
            action = self.action(output)
            output = self.rnn([x, action])
            if self.forward_actions:
                output = [output, action]
            outputs.append(output)
        forget(self)
        return outputs

    def extra_repr(self) -> str:
        return f"steps={self.steps}, hidden_size={self.hidden_size}, forward_actions={self.forward_actions}"


module_form("runs", RecurrentAttention)(attrgetter("steps"))


@converts("nn.RecurrentAttention")
def recurrent_attention(layer: Layer) -> RecurrentAttention:
    """nn.RecurrentAttention(rnn, action, nStep, hiddenSize)"""
    layer.ignore("rnn", "action", "actions", "gradHidden", "_initInput", "_gradAction", "_remember")
    rnn, action = layer.modules()
    steps, size = layer.integer("nStep"), list(layer.integers("hiddenSize"))
    return RecurrentAttention(rnn, action, steps, size, layer.flag("forwardActions", default=False))

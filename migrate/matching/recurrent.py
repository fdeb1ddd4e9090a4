"""An nn.LSTM, nn.GRU or nn.RNN of the target, from one layer of the .t7 file, or one for each layer and direction."""

from __future__ import annotations

import torch
from torch import nn

from .fits import Fit, Origin
from .numbers import alike, same, sizes
from .runs import Run

_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def recurrent_fits(module: nn.RNNBase, given: torch.Tensor, runs: list[Run]) -> list[Fit] | str:
    """The ways to fill a recurrent layer; or why there is none.

    Args:
        module: the layer of the target.
        given: what it gets.
        runs: the runs of layers with weights in the source.
    """
    kinds = [run for run in runs if isinstance(run.stock, nn.RNNBase) and run.stock.mode == module.mode]
    if not kinds:
        return f"the .t7 file has no layer that is as a whole a {module.mode} of torch.nn, started from zeros"
    found, reason = [], "its input is that of no such layer of the .t7 file"
    for run in kinds:
        stock = run.stock
        assert isinstance(stock, nn.RNNBase)
        if run.given is None or not alike(given, run.given):
            continue
        if (stock.num_layers, stock.bidirectional) == (module.num_layers, module.bidirectional):
            made = _filled(module, {slot: (run, slot) for slot in _slots(module)}, run.output)
            if isinstance(made, Fit):
                found.append(made)
            else:
                reason = f"{run.words}: {made}"
    if not found and (module.num_layers > 1 or module.bidirectional):
        made = _stacked(module, given, kinds)
        if isinstance(made, Fit):
            return [made]
        reason = made
    return found or reason


def _slots(module: nn.RNNBase) -> list[str]:
    ends = ["", "_reverse"] if module.bidirectional else [""]
    return [f"_l{layer}{end}" for layer in range(module.num_layers) for end in ends]


def _stacked(module: nn.RNNBase, given: torch.Tensor, runs: list[Run]) -> Fit | str:
    """Each layer and direction from a layer of its own, whose input it has."""
    steps = _by_steps(given, module)
    chosen: dict[str, tuple[Run, str]] = {}
    for layer in range(module.num_layers):
        outputs = []
        for end in ["", "_reverse"] if module.bidirectional else [""]:
            run = _with_input(runs, steps.flip(0) if end else steps, {id(each) for each, _ in chosen.values()})
            if run is None or run.output is None:
                direction = "backward" if end else "forward"
                return f"no single layer of the .t7 file gets what its layer {layer + 1} gets, {direction}"
            chosen[f"_l{layer}{end}"] = (run, "_l0")
            output = _by_steps(run.output, run.stock)
            outputs.append(output.flip(0) if end else output)
        steps = torch.cat(outputs, -1)
    return _filled(module, chosen, steps)


def _with_input(runs: list[Run], steps: torch.Tensor, used: set[int]) -> Run | None:
    """A layer of one direction that gets this sequence, (T, N, D)."""
    for run in runs:
        single = getattr(run.stock, "num_layers", 0) == 1 and not getattr(run.stock, "bidirectional", True)
        if single and id(run) not in used and run.given is not None and same(_by_steps(run.given, run.stock), steps):
            return run
    return None


def _by_steps(sequence: torch.Tensor, module: nn.Module) -> torch.Tensor:
    """A sequence as (T, N, D)."""
    return sequence.transpose(0, 1) if getattr(module, "batch_first", False) and sequence.dim() == 3 else sequence


def _filled(module: nn.RNNBase, chosen: dict[str, tuple[Run, str]], output: torch.Tensor | None) -> Fit | str:
    """The tensors of a recurrent layer; or which of them do not fit."""
    tensors, origins = {}, {}
    for slot, (run, other) in chosen.items():
        for part in _PARTS:
            name, field = f"{part}{slot}", f"{part}{other}"
            wanted, data = getattr(module, name, None), getattr(run.stock, field, None)
            if wanted is None:
                if data is not None and bool((data != 0).any()):
                    return f"it has a {part}, the target's has none"
                continue
            if data is None and not part.startswith("bias"):
                return f"it has no {part}, the target's has one"
            if data is None:
                tensors[name], origins[name] = torch.zeros_like(wanted), Origin(run.name, "", "0: the layer has none")
            elif data.shape != wanted.shape:
                return f"{part} is {sizes(data)}, the target's is {sizes(wanted)}"
            else:
                tensors[name], origins[name] = data.detach(), Origin(run.name, field)
    return Fit(tensors, origins, runs=tuple(run for run, _ in chosen.values()), wanted=output)

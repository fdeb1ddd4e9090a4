"""What the layers of a network get and give while it runs once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ..base.tensor_trees import leaves, moved
from ..model.conversion import ConvertedModel
from ..model.recurrent_state import Remembering
from ..parity.network_copies import copy_network
from ..shapes.dry_run import run
from ..source.forms import stock_layer


@dataclass(eq=False)
class Run:
    """One run of a layer.

    Attributes:
        name: its Torch7 path, or its name in `named_modules()`.
        module: the layer.
        stock: the layer of torch.nn that has its tensors: itself, or a recurrent or embedding one.
        weighted: has it tensors of its own?
        given: the tensor that it got first; None where that was none, or is not needed.
        output: the first tensor that it gave.
        all_steps: is it all runs of a layer on the steps of a sequence, as one, or one step of such a run?
        ending: of the names of its tensors in the layer itself.
    """

    name: str
    module: nn.Module
    stock: nn.Module
    weighted: bool
    given: torch.Tensor | None = None
    output: torch.Tensor | None = None
    all_steps: bool = False
    ending: str = ""

    @property
    def words(self) -> str:
        """How messages call it."""
        return f"layer {self.name or 'the model itself'} ({type(self.stock).__name__})"


@dataclass
class Source:
    """What happened in the converted model.

    Attributes:
        runs: of its layers, in the order in which they began.
        output: what it gave.
        notes: what to know of it.
    """

    runs: list[Run]
    output: Any
    notes: list[str]

    @property
    def weighted(self) -> list[Run]:
        """The runs of layers with weights."""
        return [each for each in self.runs if each.weighted]

    def between(self, first: Run | None, last: Run | None) -> list[Run]:
        """The runs of layers without weights before `last`, but not those before `first`."""
        begin = self.runs.index(first) + 1 if first in self.runs else 0
        end = self.runs.index(last) if last in self.runs else len(self.runs)
        return [each for each in self.runs[begin:end] if not each.weighted]


def own_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a layer itself that a state dict keeps and that its output depends on, by name."""
    kept = {name: module._buffers[name] for name in module._buffers if name not in module._non_persistent_buffers_set}
    found = {**module._parameters, **kept}
    return {name: each for name, each in found.items() if each is not None and name != "num_batches_tracked"}


def run_source(conv: ConvertedModel, value: Any) -> Source:
    """Runs a copy of a converted model in float64 and writes down what its layers get and give."""
    network = copy_network(conv, torch.float64)
    paths = {id(layer.module): layer.path for layer in reversed(network.layers)}
    watch = Watch()
    notes = []
    with ExitStack() as hooks, torch.no_grad():
        stocks = {part: stock for part in network.module.modules() if (stock := _stock(part)) is not None}
        inside = {id(part) for whole in stocks for part in whole.modules() if part is not whole}
        path = ""
        for name, part in network.module.named_modules():
            path = paths.get(id(part)) or _path_above(name, network.module, paths)
            if id(part) not in inside:
                for hook in watch.hooks(path, part, stocks.get(part)):
                    hooks.callback(hook.remove)
            if part not in stocks and _remembers(part):
                notes.append(
                    f"layer {path} remembers its state from one call to the next in Torch7; it was compared in a "
                    "first call, and a layer of torch.nn starts each call from zeros"
                )
        output = moved(run(network.module, moved(value, torch.float64)))
    return Source([*watch.runs, *_steps_as_one(watch.runs), *_single_steps(watch.runs)], output, notes)


def _remembers(module: nn.Module) -> bool:
    """Does the state of a layer, or of those in it, last from one call to the next?"""
    if getattr(module, "remember", False) in (False, "neither"):
        return False
    return any(isinstance(part, Remembering) for part in module.modules())


def _stock(module: nn.Module) -> nn.Module | None:
    found = stock_layer("recurrent", module) or stock_layer("embedding", module)
    return found if isinstance(found, nn.Module) else None


def _path_above(name: str, network: nn.Module, paths: Mapping[int, str]) -> str:
    """The Torch7 path of the layer in which a module is a part."""
    while name:
        name = name.rpartition(".")[0]
        if (path := paths.get(id(network.get_submodule(name)))) is not None:
            return path
    return ""


def _steps_as_one(runs: list[Run]) -> Iterator[Run]:
    """The runs of a layer on each step of a sequence as one of all steps."""
    by_module: dict[nn.Module, list[Run]] = {}
    for each in runs:
        if each.weighted and each.given is not None and each.output is not None:
            by_module.setdefault(each.module, []).append(each)
    for module, steps in by_module.items():
        given = [each.given for each in steps if each.given is not None]
        output = [each.output for each in steps if each.output is not None]
        alike = {each.shape for each in given}, {each.shape for each in output}
        if len(steps) > 1 and all(len(shapes) == 1 for shapes in alike):
            yield Run(steps[0].name, module, steps[0].stock, True, torch.stack(given), torch.stack(output), True)


def _single_steps(runs: list[Run]) -> Iterator[Run]:
    """The steps of recurrent layers of one layer and direction, as the cells of torch.nn run them."""
    for each in runs:
        layer = each.stock
        if not isinstance(layer, nn.RNNBase) or each.given is None or each.output is None or each.given.dim() != 3:
            continue
        if layer.num_layers > 1 or layer.bidirectional or layer.proj_size:
            continue
        kind = {"LSTM": nn.LSTMCell, "GRU": nn.GRUCell}.get(layer.mode, nn.RNNCell)
        cell = kind(layer.input_size, layer.hidden_size, layer.bias, dtype=torch.float64)
        if isinstance(cell, nn.RNNCell):
            cell.nonlinearity = layer.mode.rpartition("_")[2].lower()
        cell.load_state_dict({name.removesuffix("_l0"): tensor for name, tensor in layer.state_dict().items()})
        dim = 1 if layer.batch_first else 0
        for given, output in zip(each.given.unbind(dim), each.output.unbind(dim), strict=True):
            yield Run(each.name, each.module, cell, True, given, output, True, "_l0")


class Watch:
    """Writes down the runs of the layers of a network that have weights, or no layers in them.

    Attributes:
        runs: in the order in which they began. Of layers without weights only those behind the last one that has
            some have tensors.
    """

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._light: list[Run] = []

    def hooks(self, name: str, module: nn.Module, stock: nn.Module | None = None) -> list[Any]:
        """Watches a module, if it is such a layer; the handles of the hooks."""
        weighted = stock is not None or bool(own_tensors(module))
        if not weighted and any(True for _ in module.children()):
            return []
        begun: list[Run] = []
        before = partial(self._before, name, stock or module, weighted, begun)
        return [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(partial(self._after, begun)),
        ]

    def _before(
        self, name: str, stock: nn.Module, weighted: bool, begun: list[Run], module: nn.Module, args: Any, kwargs: Any
    ) -> None:
        if weighted:
            for light in self._light:
                light.given = light.output = None
            self._light.clear()
        found = Run(name, module, stock, weighted, first_given(args, kwargs))
        begun.append(found)
        self.runs.append(found)
        if not weighted:
            self._light.append(found)

    def _after(self, begun: list[Run], module: nn.Module, args: Any, output: Any) -> None:
        begun.pop().output = first_tensor(output)


def first_given(args: Any, kwargs: Any) -> torch.Tensor | None:
    """A copy of the tensor that a layer is called with first, as it is before the layer runs."""
    values = [*args, *kwargs.values()]
    return values[0].detach().clone() if values and isinstance(values[0], torch.Tensor) else None


def first_tensor(output: Any) -> torch.Tensor | None:
    """A copy of the first tensor that a layer gives."""
    return next((tensor.detach().clone() for _, tensor in leaves(output)), None)

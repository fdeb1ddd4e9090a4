"""Layers that choose among numbers, such as an unpooling: judged with the reference's own choice.

Two numbers that are equal, or become so when they are rounded, may be chosen differently on both sides, and what
follows from the choice differs by much. `module_form("choice", Class)` registers a `Choice`.
`module_form("approximation", Class)` is another right way: `form(module, x)` gives what an old Torch7 computed, by a
polynomial.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..base.tensor_trees import leaves, moved
from ..model.layer_record import LayerRecord
from ..model.registry import form_of
from .judge.compare import Difference, Tolerance
from .trace import LayerRun

#: Said of a layer that was judged so.
CHOSEN = "judged with the reference's own choice among numbers that are equal within the tolerance"


#: Said of a layer whose numbers an old Torch7 computed with `module_form("approximation", Class)`.
APPROXIMATED = "old Torch's approximation of exp, with which the reference's numbers were computed"


@dataclass(frozen=True)
class Choice:
    """How a module chooses.

    Attributes:
        output: gives what the module makes of its input, if it chooses as the reference did. Its arguments are the
            module, its input, the input of the module that chooses, what the reference gave, and how far a number
            may be from the best one to be chosen. Where the reference chose otherwise, it keeps its own choice.
        chooser: the attribute that holds the module which chooses; "" is the module itself.
    """

    output: Callable[[Any, Any, Any, torch.Tensor, float], torch.Tensor]
    chooser: str = ""


class Choices:
    """What is needed of a run to judge the layers in it that choose.

    Args:
        layers: of the network that runs.
    """

    def __init__(self, layers: Sequence[LayerRecord]) -> None:
        self._layers = layers
        self._forms: dict[int, Choice] = {}
        self._read: set[int] = set()
        self._given: dict[int, Any] = {}
        for record in layers:
            form = form_of("choice", record.module)
            if form is not None:
                self._forms[id(record.module)] = form
                self._read.add(id(self._chooser(record.module, form)))

    @staticmethod
    def _chooser(module: nn.Module, form: Choice) -> nn.Module:
        return getattr(module, form.chooser) if form.chooser else module

    def note(self, step: LayerRun) -> None:
        """Is told of every layer that has run, with its input unchanged."""
        if id(self._layers[step.index].module) in self._read:
            self._given[id(self._layers[step.index].module)] = moved(step.input, None, _device_of(step.input))

    def other_output(
        self, step: LayerRun, expected: Any, found: Difference, tolerance: Tolerance
    ) -> tuple[torch.Tensor, str] | None:
        """What a layer that is off gives in another way that is as right, and which; None if there is no such way."""
        module = self._layers[step.index].module
        if found.passed or not isinstance(expected, torch.Tensor):
            return None
        approximated = form_of("approximation", module)
        if approximated is not None and isinstance(step.input, torch.Tensor):
            return approximated(module, step.input), APPROXIMATED
        chosen = self.output(step, expected, tolerance)
        return None if chosen is None else (chosen, CHOSEN)

    def output(self, step: LayerRun, expected: torch.Tensor, tolerance: Tolerance) -> torch.Tensor | None:
        """What a layer gives with the reference's own choice; None if it does not choose."""
        module = self._layers[step.index].module
        form = self._forms.get(id(module))
        if form is None:
            return None
        given = self._given.get(id(self._chooser(module, form)))
        if given is None or not isinstance(step.output, torch.Tensor) or expected.shape != step.output.shape:
            return None
        numbers = [t for _, t in leaves(given) if t.is_floating_point() and t.numel()]
        slack = tolerance.absolute(max((float(t.abs().max()) for t in numbers), default=0.0))
        theirs = expected.to(device=step.output.device, dtype=step.output.dtype)
        return form.output(module, step.input, given, theirs, slack)


def _device_of(value: Any) -> str:
    return next((str(tensor.device) for _, tensor in leaves(value)), "cpu")

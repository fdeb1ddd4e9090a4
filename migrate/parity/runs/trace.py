"""Watches every converted layer while the model runs, and lets several runs go side by side, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from greenlet import getcurrent, greenlet
from torch import nn

from ...base.tensor_trees import moved
from ...model.build import LayerRecord
from ...shapes.dry_run import run

#: Told a layer, which run of it this is (1-based), its input and its output; may return another output to go on with.
Visit = Callable[[LayerRecord, int, Any, Any], Any]


@contextmanager
def watched(
    layers: Sequence[LayerRecord],
    root: nn.Module,
    visit: Visit,
    *,
    copy_inputs: bool = False,
    active: list[LayerRecord] | None = None,
) -> Iterator[None]:
    """Calls `visit` after each layer of `root` that runs, in the order of execution, inside the block.

    Args:
        layers: the converted layers, whose modules are those of `root`.
        root: the network.
        visit: what to call.
        copy_inputs: give it the input as it was before the layer ran, which in-place layers change.
        active: holds at any time the layers that have begun and not ended, the innermost last.
    """
    present = {id(module) for module in root.modules()}
    running = [] if active is None else active
    hooks = [_Hook(record, visit, copy_inputs, running) for record in layers if id(record.module) in present]
    handles = [hook.record.module.register_forward_pre_hook(hook.before) for hook in hooks]
    # where one module stands for a layer and the one in it, the inner layer ends first
    handles += [hook.record.module.register_forward_hook(hook) for hook in reversed(hooks)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Hook:
    """A forward hook of one layer, which counts its runs."""

    def __init__(self, record: LayerRecord, visit: Visit, copy_inputs: bool, active: list[LayerRecord]) -> None:
        self.record = record
        self.visit = visit
        self.copy_inputs = copy_inputs
        self.active = active
        self.calls = 0
        self.inputs: list[Any] = []

    def before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.active.append(self.record)
        if self.copy_inputs:
            self.inputs.append(moved(_only(args)))

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        self.calls += 1
        self.active.pop()
        return self.visit(self.record, self.calls, self.inputs.pop() if self.inputs else _only(args), output)


def _only(args: tuple[Any, ...]) -> Any:
    return args[0] if len(args) == 1 else list(args)


@dataclass(frozen=True)
class Step:
    """One run of one layer.

    Attributes:
        index: number of the layer.
        call: which run of it, 1-based.
        input: what it was given; changed meanwhile if the layer works in place, unless the walk copies inputs.
        output: what it computed.
    """

    index: int
    call: int
    input: Any
    output: Any

    @property
    def key(self) -> tuple[int, int]:
        """Layer and run."""
        return self.index, self.call


class Walk:
    """A run of a network that stops after each layer, so that it can be compared with other runs as they go.

    Only one of them computes at any time, and no more than one layer's output of each is held. They take turns on one
    thread, each with a stack of its own: threads would each have their own workers, which get in each other's way.

    Args:
        layers: the converted layers, whose modules are those of `root`.
        root: the network.
        value: its input.
        copy_inputs: keep the input of a layer as it was before the layer ran.
    """

    def __init__(
        self, layers: Sequence[LayerRecord], root: nn.Module, value: Any, *, copy_inputs: bool = False
    ) -> None:
        self._layers = layers
        self._root = root
        self._value = value
        self._copy_inputs = copy_inputs
        self._index = {id(record): i for i, record in enumerate(layers)}
        self._run_of_it = greenlet(self._run)
        self._active: list[LayerRecord] = []
        self.output: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._run_of_it:  # it has begun and not ended
            self._run_of_it.parent = getcurrent()
            with torch.no_grad():  # a model that ends in such a context of its own puts back what it found
                self._run_of_it.throw()

    @property
    def failed(self) -> int | None:
        """The innermost layer that was running when the network raised; None outside of any."""
        return self._index[id(self._active[-1])] if self._active else None

    def next(self, output: Any = None) -> Step | None:
        """Goes on to the next layer; None at the end, when `self.output` is what the network answered.

        Args:
            output: takes the place of what the layer before computed; None: leave that.

        Raises:
            Exception: whatever the network raises.
        """
        self._run_of_it.parent = getcurrent()
        with torch.no_grad():  # here, since whether gradients are recorded belongs to the thread
            found: Step | None = self._run_of_it.switch(output)
        return found

    def _run(self, begin: None) -> None:
        value, self._value = self._value, None
        with watched(self._layers, self._root, self._stop, copy_inputs=self._copy_inputs, active=self._active):
            self.output = run(self._root, value)

    def _stop(self, record: LayerRecord, call: int, given: Any, output: Any) -> Any:
        parent = self._run_of_it.parent
        assert parent is not None
        return parent.switch(Step(self._index[id(record)], call, given, output))

"""What networks answered, for those who ask the same again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from ...base.tensor_trees import digest, moved
from .last_layers import LastLayers, LastLayersWatch


class Answers:
    """Answers that networks gave in this process, by the network and the numbers of its input.

    A network of the same weights in the same type gives the same bits again. So nobody may change the model while its
    answers are kept. What drew random numbers, or wrote into its own tensors, is asked each time.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, bytes], Any] = {}
        self._last: dict[tuple[str, bytes], LastLayers] = {}

    def of(self, network: str, value: Any, compute: Callable[[], Any], own: Iterable[torch.Tensor] = ()) -> Any:
        """What a network answers: a copy, on the CPU.

        Args:
            network: tells it from the others of the same model.
            value: its input, on the CPU: tensors, nested lists or dicts of them.
            compute: asks it.
            own: its parameters and buffers.
        """
        key = network, digest(value)
        if key not in self._found:
            tensors = list(own)
            before, state = [tensor._version for tensor in tensors], torch.get_rng_state()
            answer = compute()
            if before != [tensor._version for tensor in tensors] or not torch.equal(state, torch.get_rng_state()):
                return answer
            self._found[key] = moved(answer)
            return answer
        return moved(self._found[key])

    def watched(self, network: str, value: Any, module: nn.Module, compute: Callable[[], Any]) -> Any:
        """Asks a network, and keeps what its last layers got."""
        watch = LastLayersWatch()
        with watch.on(module):
            answer = compute()
        if watch.found is not None:
            self._last[network, digest(value)] = watch.found
        return answer

    def last_layers(self, network: str, value: Any) -> LastLayers | None:
        """What the last layers of a network got; None where that is not known."""
        return self._last.get((network, digest(value)))


def ask(known: Answers | None, module: nn.Module, value: Any, compute: Callable[[], Any]) -> Any:
    """What a module answers, or has answered.

    Args:
        known: what is kept; None: nothing is.
        module: the converted module or a cast of it, in evaluation mode, on the CPU.
        value: its input.
        compute: runs it.
    """
    if known is None:
        return compute()
    name = _name(module)
    watched = partial(known.watched, name, value, module, compute)
    return known.of(name, value, watched, [*module.parameters(), *module.buffers()])


def last_layers_of(known: Answers | None, module: nn.Module, value: Any) -> LastLayers | None:
    """The last layers of a module as they were when it answered; None where that is not known."""
    return None if known is None else known.last_layers(_name(module), value)


def _name(module: nn.Module) -> str:
    tensors = [*module.parameters(), *module.buffers()]
    return f"pytorch {sorted({str(tensor.dtype) for tensor in tensors if tensor.is_floating_point()})}"

"""Layers that draw random numbers when they evaluate, as the sampler of a variational autoencoder does.

No two runs of them agree, so what depends on their numbers can't be compared, and a graph with them can't be checked.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..base.tensor_trees import apply, leaves
from ..model.conversion import ConvertedModel
from ..model.layer_record import LayerRecord
from .dry_run import run

#: Packages whose modules draw only where the traits of their layers say so.
_OURS = ("torch", "torchmigrate")

#: Layers that are named; of more their number.
_MOST_NAMED = 3


def may_draw(layers: Sequence[LayerRecord]) -> bool:
    """May any of them draw? Modules of a user's own are not trusted to say it."""
    return any(record.traits.random or _is_foreign(record) for record in layers)


def _is_foreign(record: LayerRecord) -> bool:
    return any(type(part).__module__.partition(".")[0] not in _OURS for part in record.module.modules())


class RandomNumbers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, follows random numbers from where they are drawn to all that is computed from them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._marked: dict[int, list[weakref.ref[torch.Tensor]]] = {}
        self._chosen = False
        self._watching = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self._watching:
            return func(*args, **(kwargs or {}))
        before = _generators() if torch.Tag.nondeterministic_seeded in func.tags else None
        depends = self.depends([args, kwargs])  # before the call, which may write into what it was given
        output = func(*args, **(kwargs or {}))
        if depends or (before is not None and _generators() != before):
            self.mark(output)
            self._chosen = self._chosen or next(_tensors(output), None) is None  # a number that Python goes on with
        return output

    def depends(self, value: Any) -> bool:
        """Do any of these numbers depend on random ones?"""
        if not self._marked:
            return False
        found = (self._marked.get(_place(tensor), ()) for tensor in _tensors(value))
        return any(ref() is not None for refs in found for ref in refs)

    def mark(self, value: Any) -> None:
        """Notes that these numbers depend on random ones, and so does whatever lies in the same memory."""
        for tensor in _tensors(value):
            refs = [ref for ref in self._marked.get(_place(tensor), ()) if ref() is not None]
            self._marked[_place(tensor)] = [*refs, weakref.ref(tensor)]

    @contextmanager
    def after(self, record: LayerRecord, output: Any) -> Iterator[None]:
        """Is told what a layer gave, and looks away inside the block, where that is judged.

        It is random where the layer says so, or has made a choice by random numbers.
        """
        if self._chosen or (record.traits.random and not self.depends(output)):
            self._chosen = False
            self.mark(output)
        self._watching = False
        try:
            yield
        finally:
            self._watching = True


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors of arguments or results of an operator."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _generators() -> list[bytes]:
    """The states of PyTorch's generators."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states += torch.cuda.get_rng_state_all()
    return [state.numpy().tobytes() for state in states]


@dataclass(frozen=True)
class Drawn:
    """What one run of a model shows of random numbers.

    Attributes:
        layers: the layers that draw.
        outputs: the places of the outputs that depend on what they draw.
    """

    layers: Sequence[LayerRecord] = ()
    outputs: frozenset[tuple[int, ...]] = frozenset()

    def __str__(self) -> str:
        """The layers, in words; "" if there are none."""
        if not self.layers:
            return ""
        names = ", ".join(f"{record.typename} at {record.path or 'the top'}" for record in self.layers[:_MOST_NAMED])
        more = len(self.layers) - _MOST_NAMED
        return (
            f"{names}{f' and {more} more' if more > 0 else ''} {'draws' if len(self.layers) == 1 else 'draw'} random "
            "numbers at each run, in evaluation too, so no two runs agree"
        )


def drawn_numbers(conv: ConvertedModel, value: Any) -> Drawn:
    """Runs a model, if one of its layers may draw, and sees which do and what depends on it.

    Args:
        conv: the converted model; it is not changed.
        value: its input.

    Returns:
        Layers that say that they draw are in it, though the model does not run on the input.
    """
    if not may_draw(conv.layers):
        return Drawn()
    drawing: dict[int, LayerRecord] = {}
    outputs: frozenset[tuple[int, ...]] = frozenset()

    def see(record: LayerRecord, module: nn.Module, args: Any, output: Any) -> None:
        given = numbers.depends(args)
        with numbers.after(record, output):
            inside = any(id(part) in drawing for part in module.modules())
            if numbers.depends(output) and not given and not inside:
                drawing[id(module)] = record

    with ExitStack() as stack, suppress(Exception):  # whoever compares says what fails
        for record in reversed(conv.layers):
            stack.enter_context(record.module.register_forward_hook(partial(see, record)))
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.random.fork_rng())
        numbers = stack.enter_context(RandomNumbers())
        output = run(conv.module, apply(value, torch.clone))
        outputs = frozenset(place for place, tensor in leaves(output) if numbers.depends(tensor))
    said = {id(record.module): record for record in conv.layers if record.traits.random}
    return Drawn(list({**drawing, **said}.values()), outputs)

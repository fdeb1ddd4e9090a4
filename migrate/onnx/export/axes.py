"""Which axes of an input are the batch, time, height and width, and with which sizes the model can run along them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ...base.errors import UsageError
from ...base.messages import cause
from ...base.tensor_trees import apply, leaves, moved, numbered, shapes
from ...model.conversion import ConvertedModel
from ...model.registry import form_of
from ...shapes.dry_run import run, run_without_numbers
from ...shapes.random_input import indexed_leaves
from ..layer_watch import Dynamic, LayerNames, Watch

#: By how much an axis is grown to find a second size; many networks take multiples of a power of two only.
_STEPS = (1, 2, 4, 8, 16, 32, 64)

#: The form of a module that tells how long the sequence is that it gets.
SEQUENCE_LENGTH = "sequence length"

#: The axes of an input by its number of dimensions, where nothing else is known of it.
_BY_RANK: dict[int, tuple[str | None, ...]] = {
    1: ("batch",),
    2: ("batch", None),
    3: ("batch", "time", None),
    4: ("batch", None, "height", "width"),
    5: ("batch", None, "time", "height", "width"),
}


def require_running(module: nn.Module, example: Any, layers: LayerNames) -> None:
    """Runs the model once.

    Raises:
        UsageError: it does not run on the example; the message names the layer that refuses it.
    """
    observed = observe(module, example)
    if observed.error is not None:
        raise UsageError(
            f"the model does not run on an input of size {shapes(example)}: {_refusal(observed, layers)}. "
            "Give the sizes that it was made for with --input-shape (input_shape=…)."
        ) from observed.error


def name_axes(conv: ConvertedModel, module: nn.Module, example: Any) -> Dynamic:
    """The axes of every tensor of an input that have a name.

    Args:
        conv: the converted model.
        module: it, ready to run on `example`.
        example: an input.
    """
    time_first = _is_time_first(module, example)
    indexed = {id(tensor) for tensor, _ in indexed_leaves(conv, example)}
    reads = (record.traits.reads for record in conv.layers)
    kind = next((kind for kind in reads if kind in ("images", "volumes")), "")
    found: Dynamic = {}
    for number, (_, tensor) in enumerate(leaves(example)):
        names = _BY_RANK.get(tensor.dim(), ())
        if time_first and tensor.dim() < 4:
            names = ("time", "batch", None)[: tensor.dim()] if tensor.dim() != 2 or id(tensor) in indexed else ("time",)
        elif tensor.dim() == 2 and id(tensor) in indexed:
            names = ("batch", "time")
        elif (tensor.dim(), kind) == (3, "images"):
            names = (None, "height", "width")  # an image without a batch
        elif (tensor.dim(), kind) == (4, "volumes"):
            names = (None, "time", "height", "width")
        found |= {(number, dim): name for dim, name in enumerate(names) if name is not None}
    return found


def _is_time_first(module: nn.Module, example: Any) -> bool:
    """Does a recurrent layer read the first axis of the input as time?"""
    before = _length(module, example)
    if not before or any(not tensor.dim() for _, tensor in leaves(example)):
        return False
    return _length(module, apply(example, _one_longer)) == before + 1


def _one_longer(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([tensor, tensor[:1]])


def _length(module: nn.Module, value: Any) -> int:
    """The length of the sequence that the first recurrent layer gets; 0 if there is none."""
    found: list[int] = []

    def note(part: nn.Module, args: tuple[Any, ...]) -> None:
        found.append(form_of(SEQUENCE_LENGTH, part)(part, args[0]))

    recurrent = [part for part in module.modules() if form_of(SEQUENCE_LENGTH, part)]
    with ExitStack() as hooks, suppress(Exception), torch.no_grad():
        for part in recurrent:
            hooks.enter_context(part.register_forward_pre_hook(note))
        if recurrent:
            run(module, moved(value))
    return found[0] if found else 0


def resized(example: Any, named: Dynamic, sizes: Mapping[str, int]) -> Any:
    """The same input with other sizes along named axes: cut off, or repeated from its beginning."""

    def resize(number: int, tensor: Any) -> Any:
        if not isinstance(tensor, torch.Tensor):
            return tensor
        for (i, dim), name in named.items():
            if i == number and name in sizes:
                tensor = tensor.index_select(dim, torch.arange(sizes[name]) % tensor.shape[dim])
        return tensor

    return numbered(example, resize)


def sizes_of(example: Any, named: Dynamic, axis: str) -> set[int]:
    """The sizes that the tensors of an input have along an axis."""
    tensors = [tensor for _, tensor in leaves(example)]
    return {tensors[number].shape[dim] for (number, dim), name in named.items() if name == axis}


@dataclass(frozen=True)
class Freedom:
    """What running the model showed of one axis.

    Attributes:
        sizes: other sizes than the example's with which the model runs.
        forbidden: why the axis can't be of free size, naming the layer; "" if it can.
    """

    sizes: tuple[int, ...] = ()
    forbidden: str = ""


def explore(
    module: nn.Module, example: Any, named: Dynamic, axis: str, layers: LayerNames, *, sizes_only: bool = False
) -> Freedom:
    """Finds sizes along an axis with which the model runs without mixing samples.

    Args:
        module: the reference, in PyTorch.
        example: an input on which it runs.
        named: the names of its axes.
        axis: one of them.
        layers: the layers of the model.
        sizes_only: `module` is on the meta device, as `on_meta` copies it; what it forbids it may take with numbers.

    Raises:
        UsageError: no axis of the input has that name.
    """
    present = sizes_of(example, named, axis)
    if not present:
        raise UsageError(f"the input ({shapes(example)}) has no axis that is called {axis}")
    if len(present) > 1:
        return Freedom(forbidden=f"the inputs have different sizes along {axis}: {sorted(present)}")
    size = present.pop()
    batched = all(tensor.dim() > 3 for _, tensor in leaves(example)) and any(
        (dim, name) == (0, "batch") for (_, dim), name in named.items()
    )
    rows_stay = axis != "batch" and batched
    expected = observe(module, example, sizes_only)
    # a larger size shows what a fixed View does; the next one only whether rounding hides it
    complaint = ""
    fits = []
    for other in (2 * size, *(size + step for step in _STEPS if step < size)):
        observed = observe(module, resized(example, named, {axis: other}), sizes_only)
        complaint = _complaint(expected, observed, layers, rows_stay=rows_stay)
        if complaint and other == 2 * size:
            return Freedom(forbidden=complaint)
        if not complaint and other not in fits:
            fits.append(other)
        if len(fits) == 2:
            break
    return Freedom(tuple(sorted(fits)))


@dataclass
class Observed:
    """One run: what each module gave, in the order in which they ended, as (rank, first size) of each tensor."""

    made: list[tuple[str, list[tuple[int, int]]]]
    running: str = ""
    error: Exception | None = None


def observe(module: nn.Module, value: Any, sizes_only: bool = False) -> Observed:
    """Runs a model and notes what its modules give."""
    made: list[tuple[str, list[tuple[int, int]]]] = []

    def after(name: str, part: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        made.append((name, [(t.dim(), t.shape[0] if t.dim() else 0) for _, t in leaves(output)]))

    watch = Watch(module)
    with ExitStack() as hooks, torch.no_grad(), watch.on({}, {}):
        for name, part in module.named_modules():
            hooks.enter_context(part.register_forward_hook(partial(after, name)))
        try:
            run_without_numbers(module, value) if sizes_only else run(module, moved(value))
        except Exception as error:
            return Observed(made, watch.running[-1] if watch.running else "", error)
    return Observed(made)


def _refusal(observed: Observed, layers: LayerNames) -> str:
    assert observed.error is not None
    return f"{layers.layer(observed.running)} refuses it ({cause(observed.error)})"


def _complaint(expected: Observed, observed: Observed, layers: LayerNames, *, rows_stay: bool) -> str:
    """Why the model can't take an input of another size; "" if it can."""
    if observed.error is not None:
        return _refusal(observed, layers)
    _, wanted = expected.made[-1]
    _, got = observed.made[-1]
    if [rank for rank, _ in got] != [rank for rank, _ in wanted]:
        return f"{_first_change(expected, observed, layers, False)} gives other tensors then"
    if rows_stay and got != wanted:
        return f"{_first_change(expected, observed, layers, True)} mixes the samples of the batch"
    return ""


def _first_change(expected: Observed, observed: Observed, layers: LayerNames, rows: bool) -> str:
    """The first layer that gives tensors of other ranks, or with other first sizes."""
    for (name, before), (_, after) in zip(expected.made, observed.made, strict=False):
        if (before != after) if rows else ([rank for rank, _ in before] != [rank for rank, _ in after]):
            return layers.layer(name)
    return "the model"

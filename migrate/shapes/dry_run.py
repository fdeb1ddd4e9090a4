"""Runs a model to see what it takes and gives, without arithmetic where that is possible."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from operator import methodcaller
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ..base.tensor_trees import apply, leaves
from ..model.conversion import ConvertedModel
from ..model.layer_record import LayerRecord
from ..model.recurrent_state import forget


def run(module: nn.Module, value: Any) -> Any:
    """Runs a module in the mode that it is in, forgetting any state that it remembers between calls."""
    forget(module)
    return module(value)


def run_without_numbers(sizes_only: nn.Module, value: Any) -> Any:
    """What a model gives, as tensors without numbers.

    Args:
        sizes_only: the model as `on_meta` copies it.
        value: an input; only its sizes matter.

    Raises:
        NotImplementedError: some operators need numbers.
        Exception: whatever the model raises.
    """
    with torch.no_grad(), SizesOnly():
        return run(sizes_only, apply(value, methodcaller("to", "meta")))


def answer_of(module: nn.Module, sizes_only: nn.Module, value: Any, full: Callable[[], Any]) -> Any:
    """What a model gives; None if it fails.

    Args:
        module: the model.
        sizes_only: the same on the meta device.
        value: an input; only its sizes matter.
        full: makes the input with numbers, where operators need them.
    """
    with suppress(Exception), torch.no_grad():
        try:
            return run_without_numbers(sizes_only, value)
        except NotImplementedError:
            return run(module, full())


def dry_run(
    conv: ConvertedModel,
    value: Any,
    visit: Callable[[LayerRecord, Any], None],
    begin: Callable[[LayerRecord], None] | None = None,
) -> Exception | None:
    """Tells the output of each layer, in the order in which they run.

    Args:
        conv: the converted model; it is not changed.
        value: an input; only its sizes matter.
        visit: told each layer and its output, whose tensors may be without numbers.
        begin: told each layer before it runs.

    Returns:
        What went wrong after the last layer that was told; None if all ran.
    """
    memo: dict[int, Any] = {}
    error = _watched(conv, on_meta(conv.module, memo), memo, apply(value, methodcaller("to", "meta")), visit, begin)
    if isinstance(error, NotImplementedError):
        return _watched(conv, conv.module, {}, apply(value, torch.clone), visit, begin)
    return error


def _watched(
    conv: ConvertedModel,
    module: nn.Module,
    memo: dict[int, Any],
    value: Any,
    visit: Callable[[LayerRecord, Any], None],
    begin: Callable[[LayerRecord], None] | None,
) -> Exception | None:
    def tell(record: LayerRecord, part: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        visit(record, output)

    def announce(record: LayerRecord, part: nn.Module, args: tuple[Any, ...]) -> None:
        assert begin is not None
        begin(record)

    with ExitStack() as hooks, torch.no_grad(), SizesOnly():
        for record in reversed(conv.layers):  # where one module stands for a layer and the one in it, that ends first
            part = memo.get(id(record.module), record.module)
            hooks.enter_context(part.register_forward_hook(partial(tell, record)))
            if begin is not None:
                hooks.enter_context(part.register_forward_pre_hook(partial(announce, record), prepend=True))
        try:
            run(module, value)
        except Exception as error:
            return error
    return None


def mixed(value: Any, output: Any, *, steps: bool = False) -> str:
    """Says that the samples of a batch of images were mixed, as a View of fixed size does when they are too large.

    Args:
        value: the input.
        output: what the model gives.
        steps: is the input a sequence, time first?

    Returns:
        "" if each output has as many rows as the batch.
    """
    inputs = [tensor for _, tensor in leaves(value)]
    batches = {tensor.shape[int(steps)] for tensor in inputs if tensor.dim() > 3}
    if len(batches) != 1 or any(tensor.dim() < 4 for tensor in inputs):
        return ""
    batch = batches.pop()
    given = [tensor for _, tensor in leaves(output) if tensor.dim()]
    if steps:  # an answer for all steps has time first as well
        times = {tensor.shape[0] for tensor in inputs}
        rows = {tensor.shape[int(tensor.dim() > 1 and tensor.shape[0] in times)] for tensor in given}
    else:  # sequences that were read from images may have time first
        rows = {tensor.shape[0] for tensor in given if tensor.dim() != 3 or tensor.shape[1] != batch}
    rows -= {batch}
    if batch == 1 or not rows:
        return ""
    return f"a batch of {batch} gives {min(rows)} rows, so samples are mixed: is the input of another size?"


def on_meta(module: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A copy of a module whose tensors have sizes but no numbers.

    Args:
        module: it is not changed.
        memo: as of `copy.deepcopy`; afterwards it leads from each part of the module to its copy.
    """
    memo = {} if memo is None else memo
    for tensor in [*module.parameters(), *module.buffers()]:
        made: torch.Tensor = tensor.detach().to("meta")
        memo[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
    copied = copy.deepcopy(module, memo)
    for part in copied.modules():
        if isinstance(part, nn.RNNBase):
            part.forward = partial(_sizes_of_sequence, part)  # PyTorch would go through every step, slowly
        elif isinstance(part, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            part.register_forward_pre_hook(_check_channels)  # without numbers PyTorch takes any
    return copied


def _check_channels(module: nn.Module, args: tuple[Any, ...]) -> None:
    weight = module.get_parameter("weight")
    x = args[0] if isinstance(args[0], torch.Tensor) else args[0][0]  # {input, target}
    axis = x.dim() - weight.dim() + 1
    if axis < 0 or x.shape[axis] != weight.shape[0]:
        raise RuntimeError(f"it takes {weight.shape[0]} channels, not an input of {tuple(x.shape)}")


def _sizes_of_sequence(rnn: nn.RNNBase, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
    """What an LSTM, GRU or RNN gives, without numbers."""
    if x.shape[-1] != rnn.input_size:
        raise RuntimeError(f"it takes {rnn.input_size} numbers a step, not {x.shape[-1]}")
    directions = 2 if rnn.bidirectional else 1
    output = x.new_empty(*x.shape[:-1], directions * (rnn.proj_size or rnn.hidden_size))
    batch = () if x.dim() == 2 else (x.shape[0 if rnn.batch_first else 1],)
    sizes = [rnn.proj_size or rnn.hidden_size, rnn.hidden_size][: 2 if rnn.mode == "LSTM" else 1]
    last = [x.new_empty(rnn.num_layers * directions, *batch, size) for size in sizes]
    given = [] if state is None else [state] if isinstance(state, torch.Tensor) else list(state)
    if any(mine.shape != theirs.shape for mine, theirs in zip(last, given, strict=False)):
        raise RuntimeError(f"its state has the sizes {[tuple(item.shape) for item in given]}")
    return output, tuple(last) if len(last) == 2 else last[0]


class SizesOnly(TorchFunctionMode):
    """In its context operators that PyTorch has written in Python, for this device, answer at once.

    Theirs also import the compiler when they are first run, which takes longer than all that is asked here.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = _KNOWN.get(func)
        if known is not None and args and isinstance(args[0], torch.Tensor) and args[0].is_meta:
            return known(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _like(x: torch.Tensor) -> torch.Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device) if x.is_contiguous() else torch.empty_like(x)


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    if not x.dim() or x.shape[-1] != weight.shape[1]:
        raise RuntimeError(f"it takes {weight.shape[1]} numbers, not an input of {tuple(x.shape)}")
    return torch.empty(*x.shape[:-1], weight.shape[0], dtype=x.dtype, device=x.device)


def _batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    for numbers in (running_mean, running_var, weight, bias):
        if numbers is not None and (x.dim() < 2 or numbers.numel() != x.shape[1]):
            raise RuntimeError(f"it takes {numbers.numel()} channels, not an input of {tuple(x.shape)}")
    if training and x.numel() == x.shape[1]:
        raise RuntimeError(f"it needs more than one number for each channel in training, not {tuple(x.shape)}")
    return _like(x)


def _elementwise(func: Any, x: torch.Tensor, other: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Of operands of one type that lie in order, or one number, as most are."""
    alike = isinstance(other, torch.Tensor) and other.is_meta and other.dtype == x.dtype and other.dim() > 0
    if args or kwargs or not x.is_contiguous() or not x.is_floating_point():
        return func(x, other, *args, **kwargs)  # type: ignore[no-any-return]
    if type(other) not in (int, float) and not (alike and other.is_contiguous()):
        return func(x, other)  # type: ignore[no-any-return]
    shape = torch.broadcast_shapes(x.shape, other.shape) if alike else x.shape  # type: ignore[no-untyped-call]
    return torch.empty(shape, dtype=x.dtype, device=x.device)


def _relu(x: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    return x if inplace else _like(x)


def _cumulative(func: Any, x: torch.Tensor, dim: Any = None, **kwargs: Any) -> torch.Tensor:
    if kwargs or type(dim) is not int or not -x.dim() <= dim < x.dim() or not x.is_floating_point():
        return func(x, dim, **kwargs)  # type: ignore[no-any-return]
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


def _threshold(x: torch.Tensor, threshold: float, value: float, inplace: bool = False) -> torch.Tensor:
    return _relu(x, inplace)


def _hardtanh(x: torch.Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> torch.Tensor:
    return _relu(x, inplace)


def _elu(x: torch.Tensor, alpha: float = 1.0, inplace: bool = False) -> torch.Tensor:
    return _relu(x, inplace)


def _prelu(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if weight.numel() not in (1, x.shape[1] if x.dim() > 1 else 1):
        raise RuntimeError(f"it takes {weight.numel()} channels, not an input of {tuple(x.shape)}")
    return _like(x)


def _log_softmax(x: torch.Tensor, dim: int | None = None, *args: Any, **kwargs: Any) -> torch.Tensor:
    if args or kwargs or dim is None or not -x.dim() <= dim < x.dim() or not x.is_floating_point():
        return torch.log_softmax(x, dim, *args, **kwargs)  # type: ignore[arg-type]
    return _like(x)


def _interpolate(
    x: torch.Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", *args: Any, **kwargs: Any
) -> torch.Tensor:
    old = x.shape[2:]
    new = None
    if x.dim() - 2 in _INTERPOLATED.get(mode, ()) and (size is None) != (scale_factor is None):
        given = size if scale_factor is None else scale_factor
        given = tuple(given) if isinstance(given, (list, tuple)) else (given,) * len(old)
        if len(given) == len(old) and all(isinstance(n, (int, float)) and 0 < n < _LARGEST for n in given):
            new = given if scale_factor is None else tuple(int(n * float(f)) for n, f in zip(old, given, strict=True))
    if new is None or not x.is_contiguous() or not all(isinstance(n, int) and n > 0 for n in (*old, *new)):
        return functional.interpolate(x, size, scale_factor, mode, *args, **kwargs)  # which refuses them
    return torch.empty(*x.shape[:2], *new, dtype=x.dtype, device=x.device)


def _grid_sample(x: torch.Tensor, grid: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    windows = x.dim() - 2
    fits = windows in (2, 3) and grid.dim() == x.dim() and grid.shape[-1] == windows and grid.shape[0] == x.shape[0]
    cubic = "bicubic" in (*args, *kwargs.values())
    if not fits or not x.is_contiguous() or (cubic and windows == 3) or not all(x.shape[2:]) or grid.dtype != x.dtype:
        return functional.grid_sample(x, grid, *args, **kwargs)  # which refuses them
    return torch.empty(*x.shape[:2], *grid.shape[1:-1], dtype=x.dtype, device=x.device)


#: Mode of an interpolation -> of how many dimensions it is.
_INTERPOLATED = {"nearest": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,), "bicubic": (2,)}

#: A larger factor is left to PyTorch to refuse.
_LARGEST = 1 << 31

_KNOWN: Mapping[Any, Callable[..., torch.Tensor]] = {
    functional.linear: _linear,
    functional.batch_norm: _batch_norm,
    functional.relu: _relu,
    torch.relu: _like,
    torch.Tensor.relu: _like,
    torch.cumsum: partial(_cumulative, torch.cumsum),
    torch.Tensor.cumsum: partial(_cumulative, torch.Tensor.cumsum),
    functional.threshold: _threshold,
    functional.hardtanh: _hardtanh,
    functional.elu: _elu,
    functional.prelu: _prelu,
    functional.interpolate: _interpolate,
    functional.grid_sample: _grid_sample,
    torch.log_softmax: _log_softmax,
    **{
        func: partial(_elementwise, func)
        for owner, names in ((torch, ""), (torch.Tensor, ""), (torch.Tensor, "__"))
        for name in ("add", "sub", "mul", "div" if names == "" else "truediv")
        for func in (getattr(owner, f"{names}{name}{names}"),)
    },
}

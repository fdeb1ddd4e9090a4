"""Gives what some operators give on the meta device without the detour that PyTorch takes there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


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


def _relu(x: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    return x if inplace else _like(x)


def _threshold(x: torch.Tensor, threshold: float, value: float, inplace: bool = False) -> torch.Tensor:
    return _relu(x, inplace)


def _prelu(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if weight.numel() not in (1, x.shape[1] if x.dim() > 1 else 1):
        raise RuntimeError(f"it takes {weight.numel()} channels, not an input of {tuple(x.shape)}")
    return _like(x)


_KNOWN: Mapping[Any, Callable[..., torch.Tensor]] = {
    functional.linear: _linear,
    functional.batch_norm: _batch_norm,
    functional.relu: _relu,
    functional.threshold: _threshold,
    functional.prelu: _prelu,
}

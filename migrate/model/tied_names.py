"""Tensors that stand in several places of a state dict."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def first_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """State dict name -> the first name under which the same numbers in memory are found."""
    first: dict[tuple[object, ...], str] = {}
    return {name: first.setdefault(_view(tensor), name) if tensor.numel() else name for name, tensor in state.items()}


def _view(tensor: torch.Tensor) -> tuple[object, ...]:
    # a parameter and a buffer that share their numbers are two tensors, of which one is trained
    trained = isinstance(tensor, torch.nn.Parameter)
    place = tensor.untyped_storage().data_ptr(), tensor.storage_offset()
    return (*place, tuple(tensor.shape), tensor.stride(), tensor.dtype, trained)

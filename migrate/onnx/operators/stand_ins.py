"""Modules that take the place of others while a model is exported, so that each becomes the ONNX operator of its name.

Each stands in converters/, beside the class that it stands in for, and is registered there with
`@module_form("onnx", that class)`. It computes nothing by itself: only an export can run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ...model.registry import form_of


class StandIn(nn.Module):
    """The first base of a class that stands in for its second."""

    @classmethod
    def put(cls, module: Any) -> None:
        """Lets `module` become one, if the operator does what it does; its name and its weights stay."""
        module.__class__ = cls


def operator(name: str, inputs: Sequence[Any], attributes: dict[str, Any], like: torch.Tensor, shape: Any) -> Any:
    """One ONNX operator with one output, of the type of `like`."""
    return torch.onnx.ops.symbolic(name, inputs, attributes, dtype=like.dtype, shape=shape)


def put_stand_ins(module: nn.Module) -> None:
    """Lets every part of `module` become its stand-in, where it has one that fits."""
    for part in list(module.modules()):
        stand_in: type[StandIn] | None = form_of("onnx", part)
        if stand_in is not None:
            stand_in.put(part)

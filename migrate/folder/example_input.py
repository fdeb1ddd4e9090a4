"""The one input that shows what a model takes, for its source, its export and the comparison."""

from __future__ import annotations

from typing import Any

import torch

from ..base.errors import UsageError
from ..base.tensor_trees import apply, leaves, moved
from ..model.conversion import ConvertedModel
from ..onnx.export.axes import name_axes
from ..shapes.dry_run import run
from ..shapes.infer import input_of, require_taken
from ..shapes.random_input import floating_type


def example_of(conv: ConvertedModel, example: Any = None, input_shape: Any = None) -> Any:
    """The input that a user gave, or one of the sizes that a user gave; None where neither was, or none is needed.

    Args:
        conv: the converted model.
        example: a tensor or nested list; floating numbers become those of the type of the weights.
        input_shape: as text, a tuple, or a nested list of tuples.

    Raises:
        UsageError: both were given, or the model does not take it.
    """
    if conv.refusals or conv.is_criterion:
        return None  # it has no source that an input could show
    if example is not None and input_shape is not None:
        raise UsageError("Give either an example or an input_shape, not both.")
    if input_shape is not None:
        return input_of(conv, input_shape).value
    if example is None:
        return None
    example = moved(example, floating_type(conv.module))
    require_taken(conv, example)
    return example


def two_samples(conversion: ConvertedModel, example: Any) -> Any:
    """The example, twice where it is a batch of one: Torch7 drops such a batch in places, which no user wants."""
    tensors = [tensor for _, tensor in leaves(example)]
    if not tensors or any(tensor.dim() < 1 or tensor.shape[0] != 1 for tensor in tensors):
        return example
    named = name_axes(conversion, conversion.module, example)
    if any(named.get((number, 0)) != "batch" for number in range(len(tensors))):
        return example  # its first axis is time, or the planes of an image without a batch
    twice = apply(example, _twice)
    try:
        with torch.no_grad():
            answers = [[t for _, t in leaves(run(conversion.module, moved(value)))] for value in (example, twice)]
    except Exception:
        return example
    fits = len(answers[0]) == len(answers[1]) and all(map(_is_twice, *answers))
    return twice if fits else example


def _twice(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([tensor, tensor])


def _is_twice(one: torch.Tensor, two: torch.Tensor) -> bool:
    """Is each of two rows what one sample gives, with or without a dimension for the batch?"""
    if two.dim() not in (one.dim(), one.dim() + 1) or two.shape[:1] != (2,) or two[0].numel() != one.numel():
        return False
    return all(torch.allclose(row.reshape(one.shape), one, rtol=1e-4, atol=1e-5, equal_nan=True) for row in two)

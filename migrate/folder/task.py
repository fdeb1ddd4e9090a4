"""What a model is for, in the words of the Hub, where what it takes and gives shows that."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..model.conversion import ConvertedModel
from ..shapes.input_readers import IMAGES, INDICES, Entry, entries_of

CLASSES, MASKS, PICTURES, TEXT = "image-classification", "image-segmentation", "image-to-image", "text-generation"

#: How far probabilities are from 1 in sum, in float32.
_ROUNDING = 1e-3

#: Behind its last activation a network may still scale a picture, and smooth it.
_LAST = 4


def task_of(conv: ConvertedModel, given: Any, answer: Any) -> str:
    """The pipeline tag of the Hub; "" where nothing shows it.

    Args:
        conv: the converted model.
        given: an input.
        answer: what the model, or Torch7, gives for it.
    """
    entries = entries_of(conv)
    first = entries if isinstance(entries, Entry) else entries.get(1)
    reads = first.kind if isinstance(first, Entry) else ""
    last = answer[-1] if isinstance(answer, (list, tuple)) and answer else answer
    if not isinstance(last, torch.Tensor) or not last.is_floating_point() or last.dim() < 2:
        return ""
    labels = conv.preprocessing.labels
    if reads == INDICES:
        return TEXT if labels is not None and len(labels) == last.shape[-1] and is_distribution(last, -1) else ""
    if reads != IMAGES or not isinstance(given, torch.Tensor) or given.dim() != 4 or last is not answer:
        return ""
    chosen = is_distribution(last, 1) or (labels is not None and len(labels) == last.shape[1])
    if last.dim() == 2:
        return CLASSES if chosen and last.shape[1] > 1 else ""
    if last.dim() != 4:
        return ""
    if chosen and last.shape[1] > 1:
        return MASKS
    bounded = any(isinstance(part, nn.Tanh) for part in list(conv.module.modules())[-_LAST:])
    return PICTURES if bounded and given.shape[1] == last.shape[1] == 3 and last.shape[2] >= given.shape[2] else ""


def is_distribution(answer: torch.Tensor, dim: int) -> bool:
    """Are the numbers along a dimension probabilities, or their logarithms?"""
    values = answer.double()
    if not bool(values.isfinite().all()):
        return False
    for numbers in (values, values.exp()):
        if bool((numbers >= 0).all()) and bool(((numbers.sum(dim) - 1).abs() < _ROUNDING).all()):
            return True
    return False

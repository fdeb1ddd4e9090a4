"""Tells activations that are older than the weights from a layer that is wrong."""

from __future__ import annotations

import numpy as np
import torch

from ...model.conversion import ConvertedModel
from ...t7 import Tensor
from ..judge.compare import Difference
from ..judge.tolerances import ROUNDING
from ..network_copies import leaf_indices
from .recorded_layers import Judgement, Key

#: An optimizer's step changes what a layer answers by less than this share of it, ...
_SMALL = 0.5

#: ... or leaves its direction: the cosine of the angle between the two answers.
_ALIGNED = 0.9

#: The share of the layers with weights that a step must have changed.
_SPREAD = 0.75

#: A layer that is right is off by less than so many roundings, or by less than this share.
_ROUNDINGS, _LEAST = 16, 1e-9

#: What a single layer may be off, where there is no other to compare with.
_SMALL_ALONE = 0.1


def staleness(conv: ConvertedModel, judgement: Judgement, dtype: torch.dtype) -> str:
    """Why the activations are older than the weights, in words; "" if they are not, or if layers are wrong.

    An optimizer changes all weights a little between the last run and the saving: then layers without weights agree,
    and those with weights are all somewhat off. A wrong conversion hits single layers, or one class of them, or by
    much, or those without weights. Where the recorded output is that of the same weights times a number, it is proven.

    Args:
        conv: the converted model.
        judgement: what its layers compute of the activations.
        dtype: the type in which the activations were computed.
    """
    failed = judgement.failed
    inner = leaf_indices(conv.layers)
    weighted = [key for key in judgement.judged if key[0] in inner and has_weights(conv, key)]
    off = [key for key in failed if key in weighted]
    if not failed or len(off) < len(failed):
        return ""
    if not all(key in judgement.rescaled for key in off) and not _spread(conv, judgement, weighted, dtype):
        return ""
    sizes = [relative_error(judgement.judged[key]) for key in off]
    others = len(judgement.judged) - len(weighted)
    why = "as after an optimizer's step" if trained(conv) else "as where weights were changed by hand"
    return (
        f"the activations in the file are stale: older than its weights, {why}. The {others} judged layers without "
        f"weights agree; {len(off)} of {len(weighted)} with weights are off, by up to {100 * max(sizes):.2g} %"
    )


def _spread(conv: ConvertedModel, judgement: Judgement, weighted: list[Key], dtype: torch.dtype) -> bool:
    """Are nearly all layers with weights off by as little as a step of an optimizer would make it?"""
    # a small step may stay within the tolerance, and is still more than rounding
    rounding = max(_ROUNDINGS * ROUNDING.get(dtype, 0.0), _LEAST)
    off = [key for key in weighted if relative_error(judgement.judged[key]) > rounding]
    if not trained(conv) or not off:
        return False
    if len(weighted) == 1:
        return relative_error(judgement.judged[off[0]]) <= _SMALL_ALONE
    close = all(
        relative_error(judgement.judged[key]) <= _SMALL or (judgement.judged[key].cosine or 0.0) >= _ALIGNED
        for key in off
    )
    return close and len(off) >= max(2, _SPREAD * len(weighted))


def has_weights(conv: ConvertedModel, key: Key) -> bool:
    """Has the layer of a key parameters?"""
    return any(True for _ in conv.layers[key[0]].module.parameters())


def trained(conv: ConvertedModel) -> bool:
    """Does the file hold gradients, or a model in training mode?"""
    for record in conv.layers:
        gradient = record.object.get("gradWeight")
        if record.train:
            return True
        if isinstance(gradient, Tensor) and gradient.numel():
            numbers = gradient.numpy()
            with np.errstate(invalid="ignore"):
                # memory that was never written holds wild numbers
                if numbers.dtype.kind == "f" and numbers.any() and float(np.abs(numbers).max()) < 1e6:
                    return True
    return False


def relative_error(difference: Difference) -> float:
    """The size of the error relative to that of the tensor; infinite where they can't be compared."""
    if difference.snr_db is None:
        return 0.0 if difference.passed else float("inf")
    return float(10 ** (-difference.snr_db / 20))

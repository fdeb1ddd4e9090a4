"""The weakest reference: the converted model itself in float64. It shows rounding, not mapping."""

from __future__ import annotations

import torch

from ..conversion import Conversion
from ..shapes import Guess
from .networks import copy_network
from .references import Reference

PROVES = "rounding only: the converted model in float64 is compared with itself, so a wrong mapping would not show"


def compute_self(
    conv: Conversion, guess: Guess, notes: tuple[str, ...] = (), limits: tuple[str, ...] = ()
) -> Reference:
    """The converted model in float64 on the CPU; its layers are computed beside those of the model that is judged.

    Args:
        conv: the converted model.
        guess: the input.
        notes: what else is known.
        limits: what it can't show.
    """
    network = copy_network(conv, torch.float64)
    return Reference(
        "self",
        PROVES,
        guess.value,
        network.run(guess.value),
        torch.float64,
        notes=(guess.reason, *notes),
        limits=limits,
        follows=network,
    )

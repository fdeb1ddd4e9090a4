"""The weakest reference: the converted model itself in float64. It shows rounding, not mapping."""

from __future__ import annotations

from dataclasses import replace

import torch

from ...base.errors import UsageError
from ...base.tensor_trees import shapes
from ...model.conversion import Conversion
from ...shapes.infer import Guess
from ..runs.networks import copy_network
from .reference import Reference

PROVES = "rounding only: the converted model in float64 is compared with itself, so a wrong mapping would not show"


def compute_self(
    conv: Conversion, guess: Guess, notes: tuple[str, ...] = (), limits: tuple[str, ...] = ()
) -> Reference:
    """The converted model in float64 on the CPU; it is run beside the one that is judged.

    Args:
        conv: the converted model.
        guess: the input.
        notes: what else is known.
        limits: what it can't show.
    """
    return Reference(
        "self",
        PROVES,
        guess.value,
        None,
        torch.float64,
        notes=(guess.reason, *notes),
        limits=limits,
        follows=copy_network(conv, torch.float64),
    )


def with_output(reference: Reference) -> Reference:
    """The same reference with its output, which is computed where nobody has needed it before.

    Raises:
        UsageError: the model does not run on the input.
    """
    if reference.output is not None or reference.follows is None:
        return reference
    try:
        return replace(reference, output=reference.follows.run(reference.input))
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        raise refused(reference, error) from error


def refused(reference: Reference, error: Exception) -> UsageError:
    """What to say where the model does not run on the input that it was given."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return UsageError(f"The model does not run on an input of size {shapes(reference.input)}: {text}")

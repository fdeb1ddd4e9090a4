"""The weakest reference: the converted model itself in float64. It shows rounding, not mapping."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from tempfile import TemporaryFile

import torch

from ...base.errors import UsageError
from ...base.memory import is_out_of_memory
from ...base.tensor_trees import moved, shapes
from ...model.conversion import ConvertedModel
from ...shapes.infer import Guess
from ..network_copies import copy_network
from ..reference_numbers import Reference
from ..spooled_outputs import Spool
from ..trace import trace

PROVES = "rounding only: the converted model in float64 is compared with itself, so a wrong mapping would not show"


def compute_self(
    conv: ConvertedModel, guess: Guess, notes: tuple[str, ...] = (), limits: tuple[str, ...] = ()
) -> Reference:
    """The converted model in float64 on the CPU; `with_layers` and `with_output` run it.

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
    with _refusal(reference):
        return replace(reference, output=reference.follows.run(reference.input))


@contextmanager
def with_layers(reference: Reference, *, single: bool = False) -> Iterator[Reference]:
    """The same reference with its output and those of its layers, which lie in a temporary file inside the block.

    Args:
        reference: it.
        single: keep the outputs of layers as float32; for those who compare no other type with them.

    Raises:
        UsageError: the model does not run on the input.
        OSError: the disk is full.
    """
    network = reference.follows
    if network is None:
        yield reference
        return
    with TemporaryFile(prefix="torchmigrate-") as file:
        spool = Spool(file, single=single)
        with _refusal(reference):
            output = moved(trace(network, network.taken(reference.input), spool.add))
        yield replace(reference, output=output, layers=spool)


@contextmanager
def _refusal(reference: Reference) -> Iterator[None]:
    """Says which input it was that a model does not run on."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        if is_out_of_memory(error):
            raise
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise UsageError(f"The model does not run on an input of size {shapes(reference.input)}: {text}") from error

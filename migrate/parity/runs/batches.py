"""Runs the same samples in batches of other sizes: what a sample gives must not depend on the batch it is in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ...base.errors import ExportError
from ...base.json_values import JsonValues
from ...base.memory import is_out_of_memory
from ...base.tensor_trees import apply, leaves
from ...model.conversion import ConvertedModel
from ..judge.compare import Difference, Noise, compare
from ..judge.grown_rounding import explained
from ..judge.status import FAILED, NOT_RUN, PASSED
from ..judge.tolerances import Rules
from ..network_copies import copy_network
from ..reference_numbers import Reference
from .layers import worst
from .pytorch import Backend

#: One sample, which many layers treat apart; two; and an odd number, which no kernel's block divides.
BATCHES = (1, 2, 3)


@dataclass(frozen=True)
class BatchResult(JsonValues):
    """How a backend does in a batch of another size.

    Attributes:
        batch: how many samples.
        status: "passed", "failed" or "not run".
        reason: why it failed or was not run.
        difference: of the output that is farthest off; None if it was not run.
    """

    batch: int
    status: str
    reason: str = ""
    difference: Difference | None = None


def repeated(value: Any, batch: int) -> Any:
    """The rows of every tensor, again and again, until there are `batch` of them."""

    def take(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[torch.arange(batch) % tensor.shape[0]]

    return apply(value, take)


def _repeated_noise(noise: Noise, batch: int) -> Iterator[Any]:
    return (repeated(step, batch) for step in noise())


def compare_batches(
    backend: Backend,
    conv: ConvertedModel,
    reference: Reference,
    rules: Rules,
    sizes: Sequence[int] = BATCHES,
    noise: Noise | None = None,
    growth: Noise | None = None,
) -> list[BatchResult]:
    """Feeds a backend the reference's samples in batches of other sizes, and compares with the reference's answers.

    Args:
        backend: what runs the model.
        conv: the converted model.
        reference: the samples and the answers.
        rules: the tolerances.
        sizes: of the batches.
        noise: of the outputs, as `compare` takes it.
        growth: the same without a limit.
    """
    given, answers = (
        {tensor.shape[0] if tensor.dim() else 0 for _, tensor in leaves(value)}
        for value in (reference.input, reference.output)
    )
    own = max(given, default=0)
    if not own or given != {own} or answers != {own}:
        reason = "input and output do not begin with the same dimension, so samples can't be told apart"
        return [BatchResult(size, NOT_RUN, reason) for size in sizes if size != own]
    return [_compare(backend, conv, reference, rules, size, noise, growth) for size in sizes if size != own]


def _compare(
    backend: Backend,
    conv: ConvertedModel,
    reference: Reference,
    rules: Rules,
    size: int,
    noise: Noise | None,
    growth: Noise | None,
) -> BatchResult:
    if reason := backend.fixed_batch(size):
        return BatchResult(size, NOT_RUN, reason)
    given, expected = repeated(reference.input, size), repeated(reference.output, size)
    difference: Difference | None = None
    try:
        behind = None if noise is None else partial(_repeated_noise, noise, size)
        got = backend.outputs(conv, given)
        difference = worst(got, expected, rules.output(), noise=behind)
        if growth is not None and not difference.passed:
            grown = partial(_repeated_noise, growth, size)
            found = explained(got, expected, compare(got, expected, rules.output()), rules.output(), grown)
            difference = next((each for each in found if not each.passed), found[0])
        problem = difference.problem
    except (RuntimeError, ValueError, TypeError, LookupError, ExportError) as error:
        if is_out_of_memory(error):
            raise
        problem = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}"
    if difference is not None and difference.passed:
        return BatchResult(size, PASSED, "", difference)
    if reason := _mixes(conv, reference, size):
        return BatchResult(size, NOT_RUN, reason)
    return BatchResult(size, FAILED, problem, difference)


def _mixes(conv: ConvertedModel, reference: Reference, size: int) -> str:
    """Why the model itself, in float64, does not answer for each sample by itself; "" if it does."""
    network = copy_network(conv, torch.float64)
    rules = Rules(torch.float32)
    try:
        base = network.run(reference.input)
        difference = worst(network.run(repeated(reference.input, size)), repeated(base, size), rules.output())
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        if is_out_of_memory(error):
            raise
        return "the model does not take that size"
    if difference.passed:
        return ""
    if "shape" in difference.problem:
        return f"the model's output has another form then, as in Torch7: {difference.problem}"
    return "what the model answers for a sample depends on the others in the batch"

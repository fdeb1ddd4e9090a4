"""Refuses inputs for which a layer would compute more than the limits allow, before anything is computed."""

from __future__ import annotations

from typing import Any

from ..base.errors import LimitExceeded
from ..base.messages import cut
from ..base.tensor_trees import shapes
from ..model.conversion import ConvertedModel
from ..model.layer_record import LayerRecord
from .dry_run import dry_run
from .search_budget import Budget, Spent, TooLarge, TooManyProducts, TooManyTensors

#: What to do about a value that is too large.
_HINT = "Pass a smaller input with --input-shape, or allow more with --max-elements if you trust the file."

#: What to do about too many runs, or too many tensors.
_HINT_RUNS = "If you trust the file, --max-runs allows more."
_HINT_TABLES = "Pass another input with --input-shape, or allow more with --max-runs if you trust the file."

#: Tables of a thousand tensors are not written out.
_LONGEST = 200

#: A layer is a few operators of PyTorch.
_OPERATORS_PER_LAYER = 5


def check_sizes(conv: ConvertedModel, value: Any) -> tuple[Exception | None, str]:
    """Runs the model without numbers.

    Args:
        conv: the converted model; it is not changed.
        value: an input; only its sizes matter.

    Returns:
        What the model raises, and the layer behind which it does; None and "" if it runs to its end.

    Raises:
        LimitExceeded: a value would be too large or tables hold too many tensors, or too many operators or
            multiplications would run; it names the layer.
    """
    running: list[LayerRecord] = []
    reached: list[LayerRecord] = []

    def end(record: LayerRecord, output: Any) -> None:
        while running and running.pop() is not record:
            pass
        reached.append(record)

    budget = Budget(_OPERATORS_PER_LAYER * conv.limits.runs, conv.limits)
    try:
        with budget:
            failed = dry_run(conv, value, end, running.append)
    except Spent:
        raise LimitExceeded(
            f"The model runs more than {_OPERATORS_PER_LAYER * conv.limits.runs:,} operators on an input of "
            f"{shapes(value)}; the run was ended in {_where(running)}",
            hint=_HINT_RUNS,
        ) from None
    if isinstance(failed, TooManyTensors):
        raise LimitExceeded(
            f"{_where(running)} would give {failed.text}, on an input of {cut(shapes(value), _LONGEST)}; Limits.runs "
            f"allows {conv.limits.runs:,}",
            hint=_HINT_TABLES,
        )
    if isinstance(failed, TooManyProducts):
        raise LimitExceeded(
            f"{_where(running)} would compute {failed.text}, on an input of {cut(shapes(value), _LONGEST)}; "
            f"Limits.expanded_elements allows {budget.most_products:,}",
            hint=_HINT,
        )
    if isinstance(failed, TooLarge):
        hint = "" if failed.has_many_dimensions else _HINT
        raise LimitExceeded(_too_large(conv, running, failed, value), hint=hint)
    return failed, _where(reached) if reached else ""


def _too_large(conv: ConvertedModel, running: list[LayerRecord], error: TooLarge, value: Any) -> str:
    """Says which layer would compute a value that is too large."""
    if error.has_many_dimensions:
        return f"{_where(running)} would compute {error.text}, from an input of {shapes(value)}"
    return (
        f"{_where(running)} would compute {error.text} from an input of {shapes(value)}; Limits.expanded_elements "
        f"allows {conv.limits.expanded_elements:,}"
    )


def _where(records: list[LayerRecord]) -> str:
    return f"{records[-1].typename} at {records[-1].path or 'the top'}" if records else "The model"

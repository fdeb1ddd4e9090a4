"""The worst run of each layer, for reports of networks that run their layers very often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..judge.compare import Difference
from ..runs.layers import LayerResult

#: A report of more runs than this has one row per layer, with the worst of its runs.
MOST_RUNS = 3000


def rows_of_runs(layers: Sequence[LayerResult]) -> list[dict[str, Any]]:
    """What parity.json holds of the runs of layers: each, or the worst of each layer's if there are very many."""
    if len(layers) <= MOST_RUNS:
        return [layer.to_json() for layer in layers]
    by_path: dict[str, list[LayerResult]] = {}
    for layer in layers:
        by_path.setdefault(layer.path, []).append(layer)
    return [_worst_run(runs) if len(runs) > 1 else runs[0].to_json() for runs in by_path.values()]


def _worst_run(runs: Sequence[LayerResult]) -> dict[str, Any]:
    """The run whose own error is the worst, beside the worst error in the running network."""
    worst = min(runs, key=_badness)
    accumulated = min((run.accumulated for run in runs if run.accumulated is not None), key=_goodness, default=None)
    remark = worst.remark or next((run.remark for run in runs if run.remark), "")
    return worst.to_json() | {
        "accumulated": None if accumulated is None else accumulated.to_json(),
        "remark": f"the worst of {len(runs):,} runs" + (f"; {remark}" if remark else ""),
        "runs": len(runs),
        "unjudged": sum(run.own is None for run in runs),
    }


def _badness(run: LayerResult) -> tuple[bool, bool, float]:
    """Less for what is worse."""
    if run.own is None:
        return True, True, 0.0
    return run.own.passed, False, _goodness(run.own)[1]


def _goodness(difference: Difference) -> tuple[bool, float]:
    """Less for what is worse."""
    needed, allowed = difference.needed_atol, difference.atol
    return difference.passed, -(needed / allowed if allowed else float("inf") if needed else 0.0)

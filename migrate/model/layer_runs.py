"""How many layers one run of a model runs, counted without running it."""

from __future__ import annotations

from torch import nn

from ..base.errors import LimitExceeded
from ..t7.limits import DEFAULT_LIMITS, Limits
from .registry import form_of


def count_runs(module: nn.Module) -> int:
    """How many modules run when a module runs, each as often as its containers hold it.

    A container that holds one module twice runs it twice, so a few of them in each other make any number. One that runs
    what it holds as often as a number of its own says has that as `module_form("runs", Class)`: `form(module)` is it.
    """
    runs: dict[int, int] = {}
    waiting = [module]
    while waiting:
        part = waiting[-1]
        children = [child for child in part._modules.values() if child is not None]
        if unknown := [child for child in children if id(child) not in runs]:
            waiting += unknown
            continue
        waiting.pop()
        times = form_of("runs", part)
        runs[id(part)] = 1 + (1 if times is None else max(times(part), 1)) * sum(runs[id(child)] for child in children)
    return runs[id(module)]


def check_runs(module: nn.Module, limits: Limits = DEFAULT_LIMITS) -> None:
    """Refuses a model that runs more layers than is worth trying.

    Raises:
        LimitExceeded: it does.
    """
    runs = count_runs(module)
    if runs > limits.runs:
        raise LimitExceeded(
            f"One run of the model is {runs:,} runs of layers, since it runs the same layers again and again; "
            f"Limits.runs allows {limits.runs:,}",
            hint="If you trust the file, --max-runs allows more.",
        )

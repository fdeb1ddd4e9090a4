"""The verdict: what a comparison shows, and what it does not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ...base.tensor_trees import shapes
from ..judge.status import FAILED, NOT_RUN, PASSED, TORCH7, name_of
from ..runs.layers import LayerResult
from .comparison import Comparison


@dataclass(frozen=True)
class Verdict:
    """What a report says first.

    Attributes:
        level: "passed", "failed", "rounding" (all agrees, but Torch7's numbers were not there) or "nothing" (nothing
            was compared).
        title: the same in a few words.
        meaning: what follows from it.
        limits: what does not follow from it, one sentence each.
    """

    level: str
    title: str
    meaning: str
    limits: tuple[str, ...]


def judge(report: Comparison) -> Verdict:
    """The verdict on all backends that decide together."""
    statuses = {backend.name: backend.status for backend in report.backends if backend.decides}
    against = name_of(report.reference.kind)
    if FAILED in statuses.values():
        failed = " and ".join(name for name, status in statuses.items() if status == FAILED)
        meaning = f"{failed} did not reproduce {against}. Do not use this conversion as it is."
        return Verdict("failed", "FAILED", meaning, _limits(report))
    if PASSED not in statuses.values():
        return Verdict("nothing", "NOTHING WAS COMPARED", "No backend ran, so nothing is known.", _limits(report))
    if report.reference.kind not in TORCH7:
        meaning = (
            "This is not a proof of parity. No numbers of Torch7 were there to compare with, so the converted model "
            f"was compared with {against}. They agree within the tolerance, but a layer that was converted wrongly "
            "would look just the same."
        )
        return Verdict("rounding", "NOT COMPARED WITH TORCH7", meaning, _limits(report))
    if report.reference.stale:
        meaning = (
            f"This is no proof of parity: {report.reference.stale}. Nothing says that a layer is wrong, and nothing "
            "that the layers with weights are right."
        )
        return Verdict("rounding", "ACTIVATIONS OLDER THAN THE WEIGHTS", meaning, _limits(report))
    proves = report.reference.proves
    meaning = f"{proves[:1].upper()}{proves[1:].rstrip('.')}, within the tolerance."
    return Verdict("passed", "PASSED", meaning, _limits(report))


def _limits(report: Comparison) -> tuple[str, ...]:
    found = []
    ran = [backend for backend in report.backends if backend.status != NOT_RUN]
    absent = [backend for backend in report.backends if backend.status == NOT_RUN]
    if absent:
        names = "; ".join(f"{backend.name} ({backend.reason})" for backend in absent)
        found.append(f"Not run, so not covered: {names}.")
    if silent := [backend for backend in ran if not backend.decides]:
        names = "; ".join(f"{backend.name} ({backend.status})" for backend in silent)
        found.append(f"For information, without a say in the verdict: {names}.")
    if ran:
        found.append(f"One input was compared, of size {shapes(report.reference.input)}. Others were not.")
    found += _of_gradients(report)
    layers = max((backend.layers for backend in ran), key=len, default=[])
    if ran and not layers:
        found.append("The layers were not compared one by one: the outputs alone decide.")
    if unjudged := sum(layer.own is None for layer in layers):
        found.append(f"{unjudged} of {_runs(layers)} could not be judged by what they do themselves.")
    if summarized := sum(layer.own is not None and is_summary(layer.own.shape, layer.shape) for layer in layers):
        found.append(
            f"{summarized} of {_runs(layers)} {'was' if summarized == 1 else 'were'} compared by summary, that is by "
            "the first numbers, the mean and the deviation: the reference does not keep outputs of that size whole."
        )
    return (*found, *getattr(report.reference, "limits", ()))


def _of_gradients(report: Comparison) -> list[str]:
    """What is not known of the gradients, if they were asked for."""
    if not report.options.get("gradients"):
        return []
    results = [result for backend in report.backends for result in backend.gradients]
    if results:
        unjudged = sum(result.difference is None for result in results)
        return [f"{unjudged} of {len(results)} gradients could not be judged."] if unjudged else []
    reason = "the reference has none: a Torch7 gives them (--torch7, or a reference made with --grad)"
    if report.reference.gradients is not None:
        reason = "they are compared where PyTorch runs on the CPU, which did not come to that"
    return [f"Gradients were asked for and not compared: {reason}."]


def _runs(layers: Sequence[LayerResult]) -> str:
    return f"{len(layers)} run{'' if len(layers) == 1 else 's'} of layers"


def is_summary(compared: Sequence[int], shapes: Sequence[Sequence[int]]) -> bool:
    """Were fewer numbers compared than the largest of a layer's outputs has?

    Args:
        compared: sizes of what was compared.
        shapes: sizes of the layer's outputs.
    """
    return bool(shapes) and prod(compared) < max(map(prod, shapes)) and list(compared) not in map(list, shapes)

"""The verdict: what a comparison shows, and what it does not show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from ...base.tensor_slices import fold
from ...base.tensor_trees import leaves, position, shapes
from ..judge.compare import Difference
from ..judge.status import FAILED, NOT_RUN, PASSED, TORCH7, name_of
from ..reference_numbers import Reference
from ..runs.layers import LayerResult
from ..runs.rounded_means import ROUNDED_MEANS
from ..runs.unseen_weights import NO_PART
from .comparison import Comparison


@dataclass(frozen=True)
class Verdict:
    """What a report says first.

    Attributes:
        level: "passed" (Torch7's numbers, and all layers with weights), "partly" (Torch7's numbers, and some of them),
            "failed", "rounding" (all agrees, but Torch7's numbers were not there) or "nothing" (nothing was compared).
        title: the same in a few words.
        meaning: what follows from it.
        limits: what does not follow from it, one sentence each.
        judged: how many layers with weights were compared with Torch7's numbers, by themselves or end to end.
        weighted: how many layers with weights there are.
    """

    level: str
    title: str
    meaning: str
    limits: tuple[str, ...]
    judged: int = 0
    weighted: int = 0


def judge(report: Comparison) -> Verdict:
    """The verdict on all backends that decide together."""
    statuses = {backend.name: backend.status for backend in report.backends if backend.decides}
    against = name_of(report.reference.kind)
    if FAILED in statuses.values():
        failed = " and ".join(name for name, status in statuses.items() if status == FAILED)
        meaning = f"{failed} did not reproduce {against}. Do not use this conversion as it is."
        if report.reference.kind == "lua":
            meaning = (
                f"{failed} did not reproduce {against}. The conversion is wrong, or the checkouts are of another time "
                "than the file, or a kernel of PyTorch computes something else: find out which before you use it."
            )
        return Verdict("failed", "FAILED", meaning, _limits(report))
    if PASSED not in statuses.values():
        return Verdict("nothing", "NOTHING WAS COMPARED", "No backend ran, so nothing is known.", _limits(report))
    if report.reference.kind not in TORCH7:
        weighted = sum(layer.own_parameters > 0 for layer in report.model)
        unseen = "a layer that was converted wrongly would look just the same"
        if report.reference.kind == "lua":
            unseen = (
                "that is about how the layers are put together: a kernel of PyTorch that computes something else than "
                "Torch7's would look just the same"
            )
        meaning = (
            "This is not a proof of parity. No numbers of Torch7 were there to compare with, so the converted model "
            f"was compared with {against}. They agree within the tolerance, but {unseen}."
        )
        return Verdict("rounding", "NOT COMPARED", meaning, _limits(report), 0, weighted)
    return _of_torch7(report)


def _of_torch7(report: Comparison) -> Verdict:
    """The verdict where all that was compared with Torch7's numbers agrees."""
    proves = report.reference.proves
    grown = any(output.growth for backend in report.backends for output in backend.outputs)
    within = "as far as rounding, which grows through this network, lets one see" if grown else "within the tolerance"
    meaning = f"{proves[:1].upper()}{proves[1:].rstrip('.')}, {within}."
    weighted = [layer for layer in report.model if layer.own_parameters]
    runs = [run for backend in report.backends if backend.decides for run in backend.layers]
    known = {run.path for run in runs if run.judged and NO_PART not in run.remark}
    ends = _ends_prove(report)
    missing = [] if ends else [layer for layer in weighted if known.isdisjoint(layer.paths)]
    judged = len(weighted) - len(missing)
    if ends or (not missing if weighted else "" in known):
        return Verdict("passed", "PASSED", meaning, _limits(report), judged, len(weighted))
    count = f"{judged} of {len(weighted)} {'layer' if len(weighted) == 1 else 'layers'} with weights"
    why = Counter(_reason(layer.paths, runs) for layer in missing)
    reasons = "; ".join(f"{number}: {reason}" for reason, number in why.most_common())
    rest = (
        f"The others were not: {reasons}." if missing else "No output of the whole network was compared with Torch7's."
    )
    meaning = f"{meaning} That is no proof of the whole: {count} {'was' if judged == 1 else 'were'} compared. {rest}"
    return Verdict("partly", f"PARTLY COMPARED ({count})", meaning, _limits(report), judged, len(weighted))


def _reason(paths: Sequence[str], runs: Sequence[LayerResult]) -> str:
    """Why a layer was not judged, in its last run, which is what a file of Torch7 holds."""
    said = (run.remark for run in reversed(runs) if run.path in paths and run.remark)
    return next(said, "") or "it was not compared"


def _ends_prove(report: Comparison) -> bool:
    """Were the outputs of the whole network compared with Torch7's, and do they depend on anything?"""
    if report.reference.probe is not None:
        return False  # they are those of the converted model in float64
    count = len(list(leaves(report.reference.output)))  # more than were compared, where some are random
    found = [backend.outputs for backend in report.backends if backend.decides and backend.status == PASSED]
    return any(len(outputs) == count and _all_show(report.reference, outputs) for outputs in found)


def _all_show(reference: Reference, outputs: Sequence[Difference]) -> bool:
    """Would all outputs that have numbers show that a layer is wrong, and has any?"""
    shown = [output.proves and not _ignores_samples(reference, output) for output in outputs if not output.empty]
    return bool(shown) and all(shown)


def _ignores_samples(reference: Reference, output: Difference) -> bool:
    """Is an output the same for all samples, up to its tolerance, although these differ?

    The samples are what lies along the first dimension, of inputs as of outputs.
    """
    answered = {position(place): tensor for place, tensor in leaves(reference.output)}.get(output.place)
    if answered is None or not _has_several(answered):
        return False
    given = [tensor for _, tensor in leaves(reference.input) if _has_several(tensor)]
    if all(torch.equal(tensor, tensor[:1].expand_as(tensor)) for tensor in given):
        return False
    numbers = answered.double()
    first = numbers[:1].expand_as(numbers)
    return bool(torch.isclose(numbers, first, rtol=output.rtol, atol=output.atol, equal_nan=True).all())


def _has_several(tensor: torch.Tensor) -> bool:
    return tensor.dim() > 0 and len(tensor) > 1 and tensor.numel() > 0


def _limits(report: Comparison) -> tuple[str, ...]:
    found = [f"The file's own weights hold NaN or Inf: {report.not_finite}."] if report.not_finite else []
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
    found += _of_outputs(report)
    layers = max((backend.layers for backend in ran), key=len, default=[])
    if ran and not layers:
        found.append("The layers were not compared one by one: the outputs alone decide.")
    if unjudged := sum(not layer.judged for layer in layers):
        found.append(f"{unjudged} of {_runs(layers)} could not be judged by what they do themselves.")
    if rounded := sum(ROUNDED_MEANS in layer.remark for layer in layers):
        found.append(
            f"{rounded} of {_runs(layers)} {'was' if rounded == 1 else 'were'} judged, in some channels, up to what "
            "the rounding of a mean makes of them."
        )
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


def _of_outputs(report: Comparison) -> list[str]:
    """Which outputs prove little or nothing, although they agree."""
    outputs = {output.place: output for backend in report.backends for output in backend.outputs if output.passed}
    found = [
        f"Output{place} has {output.not_finite} NaN or Inf, in the reference and here alike."
        for place, output in outputs.items()
        if output.not_finite
    ]
    grown = max((output for backend in report.backends for output in backend.outputs), key=_growth, default=None)
    if grown is not None and grown.growth:
        found.append(
            f"Output{grown.place} is off by {grown.error}, which rounding alone explains: it grows "
            f"{fold(grown.growth)} through this network. That outputs agree so far proves little; what the layers "
            "do by themselves counts."
        )
    found += [f"Output{place} is empty: nothing was compared." for place, output in outputs.items() if output.empty]
    found += [
        f"Output{place} is the same number everywhere ({output.worst_expected:g}): that it agrees proves little."
        for place, output in outputs.items()
        if output.constant
    ]
    return found + [
        f"Output{place} is the same for all samples, although these differ: that it agrees proves little."
        for place, output in outputs.items()
        if not output.constant and _ignores_samples(report.reference, output)
    ]


def _growth(output: Difference) -> tuple[float, float]:
    """How far rounding explains an output, and the error that it explains."""
    return (1.0 if output.growth else 0.0), output.share


def _runs(layers: Sequence[LayerResult]) -> str:
    return f"{len(layers)} run{'' if len(layers) == 1 else 's'} of layers"


def is_summary(compared: Sequence[int], shapes: Sequence[Sequence[int]]) -> bool:
    """Were fewer numbers compared than the largest of a layer's outputs has?

    Args:
        compared: sizes of what was compared.
        shapes: sizes of the layer's outputs.
    """
    return bool(shapes) and prod(compared) < max(map(prod, shapes)) and list(compared) not in map(list, shapes)

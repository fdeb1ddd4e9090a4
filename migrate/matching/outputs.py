"""Compares what two networks give in the end, once all weights are in place."""

from __future__ import annotations

from typing import Any

import torch

from ..base.errors import NetworksDiffer, TorchMigrateError
from ..base.tensor_trees import leaves, shapes
from ..model.conversion import ConvertedModel
from ..shapes.infer import input_of
from ..shapes.random_input import indexed_leaves
from .explain import different_layers, listed, other_input
from .inputs import target_inputs
from .numbers import alike, difference, same
from .runs import Run, Source, run_source
from .target import Target

#: How the notes begin that say of two networks that one of them does more in the end.
NOT_TO_THE_END = "NOT the same to the end"
#: Seeds of further inputs, and how much larger their numbers are: nn.ReLU6 is nn.ReLU where numbers are small.
_FURTHER = ((1, 1.0), (2, 100.0))


def compare(source: Source, output: Any, target: Target) -> str:
    """Compares the outputs; a remark where one network gives more, or goes on behind the other.

    Raises:
        NetworksDiffer: they differ.
    """
    ours = [tensor for _, tensor in leaves(source.output)]
    theirs = [tensor for _, tensor in leaves(output)]
    if len(ours) == len(theirs) and all(map(same, theirs, ours)):
        if not any(bool(tensor.any()) for tensor in ours):
            return "both give only zeros on this input, which proves little: try another --input-shape"
        return ""
    if len(ours) == 1 and len(theirs) > 1 and same(theirs[0], ours[0]):
        what = f"the target gives {len(theirs)} tensors; the first is what the .t7 file gives"
        return f"{what}, the others were not compared"
    if len(theirs) == 1 and (part := _one_of(ours, theirs[0]) or _steps(ours, theirs[0]) or _slice_of(ours, theirs[0])):
        return part
    if len(ours) == 1 == len(theirs) and (remark := _more_behind(source, ours[0], theirs[0], target)):
        return remark
    if len(theirs) == 1 and (remark := _goes_on(source, theirs[0])):
        return remark
    if len(ours) != 1 or len(theirs) != 1:
        raise NetworksDiffer(
            f"All weights fit, but the .t7 file gives {shapes(source.output)} and the target {len(theirs)} tensors "
            f"({listed([shapes(each) for each in theirs])}) that are not the same."
        )
    here, there = _behind(source.runs), _behind(target.watch.runs)
    told = different_layers(here, there)
    raise NetworksDiffer(
        f"All weights fit, but the networks part behind the last of them ({difference(theirs[0], ours[0])}): "
        f"{'; '.join([*told, ''])}there ran {_layers(here)} in the .t7 file, {_layers(there)} in the target."
    )


def _one_of(ours: list[torch.Tensor], output: torch.Tensor) -> str:
    for i, tensor in enumerate(ours, start=1):
        if len(ours) > 1 and same(output, tensor):
            return f"the .t7 file gives {len(ours)} tensors; the target gives number {i} of them alone"
    return ""


def _steps(ours: list[torch.Tensor], output: torch.Tensor) -> str:
    """What the file gives as a table of steps may be one tensor in the target."""
    if len({tensor.shape for tensor in ours}) > 1 or len(ours) == 1 or not alike(output, torch.stack(ours)):
        return ""
    return f"the .t7 file gives a table of {len(ours)} tensors, the target the same numbers as one, {shapes(output)}"


def _slice_of(ours: list[torch.Tensor], output: torch.Tensor) -> str:
    """Of several heads whose results the file joins to one, the target may have one."""
    whole = ours[0]
    wider = [i for i, (a, b) in enumerate(zip(whole.shape, output.shape, strict=False)) if a > b]
    if len(ours) > 1 or whole.dim() != output.dim() or len(wider) != 1:
        return ""
    dim, size = wider[0], output.shape[wider[0]]
    for first in range(whole.shape[dim] - size + 1):
        if same(output, whole.narrow(dim, first, size)):
            what = f"the .t7 file gives {shapes(whole)}; the target gives {shapes(output)}, which are those from"
            return f"{what} {first + 1} to {first + size} along dimension {dim + 1}"
    return ""


def _more_behind(source: Source, ours: torch.Tensor, theirs: torch.Tensor, target: Target) -> str:
    """What one of the networks does behind the last layer with weights, and the other does not."""
    here, there = _behind(source.runs), _behind(target.watch.runs)
    if theirs.shape != ours.shape and alike(theirs, ours):
        return f"the .t7 file gives {shapes(ours)}, the target the same numbers as {shapes(theirs)}"
    for i, run in enumerate(here):
        if run.given is not None and run.given.numel() == ours.numel() and alike(theirs, run.given):
            return f"{NOT_TO_THE_END}: the .t7 file ends with {_layers(here[i:])}, which the target does not have"
    for i, run in enumerate(there):
        if run.given is not None and run.given.numel() == theirs.numel() and alike(run.given, ours):
            return f"{NOT_TO_THE_END}: the target ends with {_layers(there[i:])}, which the .t7 file does not have"
    last = next((run for run in reversed(target.watch.runs) if run.weighted), None)
    behind = last.output if last is not None and not there else None
    if behind is not None and last is not None and behind.numel() == theirs.numel() and alike(behind, ours):
        return (
            f"{NOT_TO_THE_END}: the target does something more behind its layer {last.name}, which the .t7 "
            "file does not do"
        )
    return ""


def _goes_on(source: Source, output: torch.Tensor) -> str:
    """Where the target ends at a layer of the file, behind which that goes on."""
    for run in source.weighted:
        if run.output is not None and alike(output, run.output):
            what = f"the target gives what {run.words} of the .t7 file gives"
            return f"{NOT_TO_THE_END}: {what}, and does not have what comes behind that layer"
    for run in source.weighted[1:]:
        if run.given is not None and alike(output, run.given):
            what = f"the target gives what {run.words} of the .t7 file gets"
            return f"{NOT_TO_THE_END}: {what}, and has neither that layer nor what comes behind it"
    return ""


def other_settings(source: Source, target: Target) -> list[str]:
    """Settings that differ and do not show on this input: poolings that round otherwise, say."""
    pools = [[run for run in runs if hasattr(run.module, "ceil_mode")] for runs in (source.runs, target.watch.runs)]
    if len(pools[0]) != len(pools[1]):
        return []
    return [
        f"layer {here.name} of the .t7 file and {there.name} of the target: {name} is {settings[0]} and {settings[1]}, "
        "which gives the same at this size of the input, but not at others"
        for here, there in zip(*pools, strict=True)
        for name in ("ceil_mode", "count_include_pad")
        for settings in [(getattr(here.module, name, None), getattr(there.module, name, None))]
        if None not in settings and settings[0] != settings[1]
    ]


def _behind(runs: list[Run]) -> list[Run]:
    """The layers without weights behind the last one that has some."""
    runs = [run for run in runs if run.output is not None or not run.weighted]
    last = max((i for i, run in enumerate(runs) if run.weighted and not run.all_steps), default=-1)
    return [run for run in runs[last + 1 :] if not run.weighted]


def _layers(runs: list[Run]) -> str:
    return listed([f"{run.module!r}".split("\n", 1)[0] for run in runs]) or "no layer"


def compare_further(conv: ConvertedModel, input_shape: Any, target: Target, remark: str) -> None:
    """Compares the filled network on other numbers, which no weight was chosen by.

    Args:
        conv: the converted model.
        input_shape: as `match` takes it.
        target: the filled network.
        remark: what was said of the outputs on the first input.

    Raises:
        NetworksDiffer: the outputs differ.
    """
    for seed, times in _FURTHER:
        value = input_of(conv, input_shape, seed=seed).value
        indices = [tensor for tensor, _ in indexed_leaves(conv, value)]
        if times != 1 and len(indices) == len(list(leaves(value))):
            continue
        value = _larger(value, times, indices)
        try:
            source = run_source(conv, value)
        except (TorchMigrateError, RuntimeError, ValueError, IndexError):
            if times == 1:
                raise
            continue  # numbers so large mean nothing to it
        if not all(bool(tensor.isfinite().all()) for _, tensor in leaves(source.output)):
            continue
        output = target.run_filled(target_inputs(conv, value, target.module))
        size = "another" if times == 1 else f"another, with numbers {times:g} times larger,"
        try:
            other = compare(source, output, target)
        except NetworksDiffer as error:
            raise NetworksDiffer(
                f"One random input gives the same, but {size} does not. {_place(source, target)} {error}"
            ) from error
        if other and not remark:
            raise NetworksDiffer(f"One random input gives the same, but with {size} {other}.")


def _larger(value: Any, times: float, indices: list[torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_larger(item, times, indices) for item in value]
    if not isinstance(value, torch.Tensor) or any(value is tensor for tensor in indices):
        return value
    return value * times


def _place(source: Source, target: Target) -> str:
    """Where two networks part that have the same weights, in words."""
    before: Run | None = None
    between: list[Run] = []
    for run in target.watch.runs:
        if not run.weighted:
            between.append(run)
            continue
        matched = target.matched.get(run.name)
        there = [each for each in source.weighted if matched is not None and each.name == matched.name]
        if run.given is None or not there or run.name in target.folded:
            continue
        given = run.given if run.given.is_floating_point() else run.given + 1
        if not any(
            each.given is not None and (alike(run.given, each.given) or alike(given, each.given)) for each in there
        ):
            return f"They part at {run.name}: {other_input(run.given, there[0], source, before, between)}."
        before, between = there[0], []
    return "They part behind the last layer."

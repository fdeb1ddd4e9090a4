"""match(): the weights of a converted model in a network that the user has."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from ..base.errors import NetworksDiffer, UsageError
from ..base.tensor_trees import leaves, moved, shapes
from ..model.conversion import ConvertedModel
from ..shapes.infer import input_of
from ..shapes.random_input import indexed_leaves
from .explain import different_layers, listed
from .numbers import alike, difference, same
from .result import Match, Pair
from .runs import Run, Source, run_source
from .target import Target


def match(conv: ConvertedModel, module: nn.Module, *, exclude: Sequence[str] = (), input_shape: Any = None) -> Match:
    """Fills a network of your own with the weights of a converted model, and proves that both compute the same.

    Copies of both run in float64, in evaluation mode, on one random input. Each layer with weights gets those of the
    layer of the .t7 file that has the same input, and gives the same output with them; in the end the outputs of the
    networks are compared, on a second input too. `module` itself is filled only if all of that holds, in its own type.

    Args:
        conv: a converted model, as `convert` gives it.
        module: the network to be filled. Its `forward` takes the input of the model: a table of the model as several
            arguments, indices counted from 0 as int64.
        exclude: names of modules to leave out, such as "fc": they must get what a layer of the .t7 file gets; nothing
            behind them is compared. Names of single tensors are also taken.
        input_shape: sizes of the input: "2x3x224x224", "{2x10,2x20}", a tuple, or a nested list of tuples; by default
            one is found.

    Raises:
        NetworksDiffer: the two networks part; it says where and how. `module` is as it was.
        UsageError: a name to leave out is unknown, no input was found, or the model can't be run.
    """
    excluded = _known(exclude, module)
    if conv.is_criterion or conv.refusals:
        raise UsageError(
            "Only a whole network can be matched: this is a loss, or some of its layers were not converted."
        )
    guess = input_of(conv, input_shape)
    source = run_source(conv, guess.value)
    if not source.weighted:
        raise UsageError("The model has no layer with weights, so there is nothing to match.")
    target = Target(_copied(module), source, excluded)
    output = target.run(_inputs(conv, guess.value, target.module))
    _require_all_filled(target)
    notes = [*source.notes, *target.notes, *_other_sizes(source.runs, target.watch.runs)]
    if target.left_out:
        notes.append(
            f"{listed(target.left_out)}: left out; equal up to what gets there, and nothing behind it was compared"
        )
    else:
        remark = _compare(source, output, target)
        notes += [remark] if remark else [*_second_input(conv, input_shape, target)]
    if conv.preprocessing.channel_order not in (None, "rgb"):
        notes.append(
            f"the .t7 file says that its pictures are {conv.preprocessing.channel_order.upper()} "
            f"({conv.preprocessing.found.get('channel_order', '')}): the same weights want the same order here"
        )
    unused = dict.fromkeys(run.name for run in source.weighted if run.module not in target.used)
    if unused and not target.left_out:
        notes.append(
            f"the target has no place for the weights of {listed(list(unused))}, which its output does without"
        )
    state = target.module.state_dict()
    pairs = [
        Pair(name, tuple(state[name].shape), origin.path, origin.field, origin.how)
        for name, origin in target.origins.items()
    ]
    found = Match(module, pairs, tuple(excluded), notes, shapes(guess.value), guess.reason)
    _fill(module, state, target)
    return found


def _known(exclude: Sequence[str], module: nn.Module) -> list[str]:
    """The names to leave out.

    Raises:
        UsageError: the network has no such part.
    """
    names = [exclude] if isinstance(exclude, str) else list(exclude)
    there = {name for name, _ in module.named_modules() if name} | set(module.state_dict())
    for name in names:
        if name not in there:
            near = ", ".join(get_close_matches(name, there, 3) or sorted(there)[:3])
            raise UsageError(f"The target has no part {name!r} that could be left out; others are {near}.")
    return names


def _copied(module: nn.Module) -> nn.Module:
    """A copy of a network on the CPU in float64, in evaluation mode.

    Raises:
        UsageError: it can't be copied.
    """
    try:
        return copy.deepcopy(module).to("cpu").double().eval()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise UsageError(f"The target, a {type(module).__name__}, can't be copied: {error}") from error


def _inputs(conv: ConvertedModel, value: Any, module: nn.Module) -> list[Any]:
    """The arguments of the target: float64, and indices from 0."""
    indices = [tensor for tensor, _ in indexed_leaves(conv, value)]
    given = _from_zero(moved(value, torch.float64), value, indices)
    if not isinstance(given, list):
        return [given]
    try:
        inspect.signature(module.forward).bind(*given)
    except TypeError:
        return [given]
    return given


def _from_zero(value: Any, original: Any, indices: list[torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_from_zero(item, was, indices) for item, was in zip(value, original, strict=True)]
    return value.long() - 1 if any(original is tensor for tensor in indices) else value


def _require_all_filled(target: Target) -> None:
    """Refuses a network of which a part got nothing.

    Raises:
        NetworksDiffer: it names the tensors.
    """
    filled = {id(tensor) for name, tensor in _tensors(target.module).items() if name in target.origins}
    empty = [
        name
        for name, tensor in _tensors(target.module).items()
        if name.rpartition(".")[2] != "num_batches_tracked"
        and id(tensor) not in filled
        and not target.is_left_out(name)
    ]
    if empty:
        owner = empty[0].rpartition(".")[0] or empty[0]
        raise NetworksDiffer(
            f"Nothing of the .t7 file went into {listed(empty)} of the target: it did not run as a layer of its own. "
            f"Build the target without it, or leave it out (--except {owner})."
        )


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a state dict, tied ones as one object."""
    return {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, torch.Tensor)}


def _compare(source: Source, output: Any, target: Target) -> str:
    """Compares the outputs; a remark where one network goes on behind the other.

    Raises:
        NetworksDiffer: they differ.
    """
    ours = [tensor for _, tensor in leaves(source.output)]
    theirs = [tensor for _, tensor in leaves(output)]
    if len(ours) == len(theirs) and all(map(same, theirs, ours)):
        return ""
    if len(ours) == 1 and len(theirs) > 1 and same(theirs[0], ours[0]):
        what = f"the target gives {len(theirs)} tensors; the first is what the .t7 file gives"
        return f"{what}, the others were not compared"
    if len(ours) != 1 or len(theirs) != 1:
        raise NetworksDiffer(
            f"All weights fit, but the .t7 file gives {shapes(source.output)} and the target {len(theirs)} tensors "
            f"({listed([shapes(each) for each in theirs])}) that are not the same."
        )
    here, there = _behind(source.runs), _behind(target.watch.runs)
    if theirs[0].shape != ours[0].shape and alike(theirs[0], ours[0]):
        return f"the .t7 file gives {shapes(ours[0])}, the target the same numbers as {shapes(theirs[0])}"
    for i, run in enumerate(here):
        if run.given is not None and run.given.numel() == ours[0].numel() and alike(theirs[0], run.given):
            return (
                f"NOT the same to the end: the .t7 file ends with {_layers(here[i:])}, which the target does not have"
            )
    for i, run in enumerate(there):
        if run.given is not None and run.given.numel() == theirs[0].numel() and alike(run.given, ours[0]):
            return (
                f"NOT the same to the end: the target ends with {_layers(there[i:])}, which the .t7 file does not have"
            )
    last = next((run for run in reversed(target.watch.runs) if run.weighted), None)
    behind = last.output if last is not None and not there else None
    if behind is not None and last is not None and behind.numel() == theirs[0].numel() and alike(behind, ours[0]):
        return (
            f"NOT the same to the end: the target does something more behind its layer {last.name}, which the .t7 "
            "file does not do"
        )
    told = different_layers(here, there)
    raise NetworksDiffer(
        f"All weights fit, but the networks part behind the last of them ({difference(theirs[0], ours[0])}): "
        f"{'; '.join([*told, ''])}there ran {_layers(here)} in the .t7 file, {_layers(there)} in the target."
    )


def _other_sizes(ours: list[Run], theirs: list[Run]) -> list[str]:
    """Poolings that round otherwise, which shows only at other sizes."""
    pools = [[run for run in runs if hasattr(run.module, "ceil_mode")] for runs in (ours, theirs)]
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


def _second_input(conv: ConvertedModel, input_shape: Any, target: Target) -> list[str]:
    """Compares the filled network on other numbers, which no weight was chosen by.

    Raises:
        NetworksDiffer: the outputs differ.
    """
    value = input_of(conv, input_shape, seed=1).value
    expected = run_source(conv, value).output
    with torch.no_grad():
        output = target.module(*_inputs(conv, value, target.module))
    ours, theirs = leaves(expected), leaves(output)
    for (_, there), (_, here) in zip(theirs, ours, strict=True):
        if not same(there, here):
            raise NetworksDiffer(
                "All weights fit, and one random input gives the same, but another does not "
                f"({difference(there, here)}): the networks do something else that weights do not show."
            )
    return []


def _fill(module: nn.Module, state: dict[str, torch.Tensor], target: Target) -> None:
    """Puts the proven tensors into the user's network, in its own types."""
    filled = {id(tensor) for name, tensor in _tensors(target.module).items() if name in target.origins}
    with torch.no_grad():
        own = module.state_dict()
        for name, tensor in _tensors(target.module).items():
            if id(tensor) in filled and not target.is_left_out(name):
                own[name].copy_(state[name])

"""match(): the weights of a converted model in a network that the user has."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from ..base.errors import NetworksDiffer, UsageError
from ..base.tensor_trees import shapes
from ..model.conversion import ConvertedModel
from ..shapes.infer import input_of
from .explain import listed
from .inputs import target_inputs
from .outputs import NOT_TO_THE_END, compare, compare_further, other_settings
from .plain import require_plain
from .result import Match, Pair
from .runs import Source, run_source
from .target import Target

#: How many ways to assign layers that can't be told apart are tried.
_MOST_TRIES = 60


def match(conv: ConvertedModel, module: nn.Module, *, exclude: Sequence[str] = (), input_shape: Any = None) -> Match:
    """Fills a network of your own with the weights of a converted model, and proves that both compute the same.

    Copies of both run in float64, in evaluation mode, on one random input. Each layer with weights gets those of the
    layer of the .t7 file that has the same input, and gives the same output with them; in the end the outputs of the
    networks are compared, on two more inputs too. `module` itself is filled only if all of that holds, in its own type.

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
        UsageError: a name to leave out is unknown, no input was found, the model can't be run, or the target takes
            other arguments, or computes a weight from others (weight_norm).
    """
    excluded = _known(exclude, module)
    if conv.is_criterion or conv.refusals:
        raise UsageError(
            "Only a whole network can be matched: this is a loss, or some of its layers were not converted."
        )
    require_plain(module, excluded)
    guess = input_of(conv, input_shape)
    source = run_source(conv, guess.value)
    if not source.weighted:
        raise UsageError("The model has no layer with weights, so there is nothing to match.")
    inputs = target_inputs(conv, guess.value, module)
    target, remark = _first_that_fits(module, source, excluded, inputs)
    notes = [*source.notes, *target.notes, *other_settings(source, target)]
    to_the_end = not target.left_out and not remark.startswith(NOT_TO_THE_END)
    if not to_the_end:
        notes += target.doubts
    if target.left_out:
        notes.append(
            f"{listed(target.left_out)}: left out; equal up to what gets there, and nothing behind it was compared"
        )
    else:
        notes += [remark] if remark else []
        compare_further(conv, input_shape, target, remark)
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
    found = Match(module, pairs, tuple(excluded), notes, shapes(guess.value), guess.reason, to_the_end)
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


def _first_that_fits(
    module: nn.Module, source: Source, exclude: Sequence[str], inputs: Sequence[Any]
) -> tuple[Target, str]:
    """Fills a copy; where layers could not be told apart when they ran, the rest of the network tells.

    Returns:
        The copy, and a remark on its output.

    Raises:
        NetworksDiffer: the two part, whichever of those layers are taken; of the way that led farthest.
    """
    choices: list[int] | None = []
    farthest, parted = -1, NetworksDiffer("")
    for _ in range(_MOST_TRIES):
        target = Target(_copied(module), source, exclude, choices=choices or [])
        try:
            output = target.run(inputs)
            _require_all_filled(target)
            return target, "" if target.left_out else compare(source, output, target)
        except NetworksDiffer as error:
            if len(target.origins) > farthest:
                farthest, parted = len(target.origins), error
            if (choices := target.next_choices()) is None:
                break
    if target.is_random(inputs):
        raise NetworksDiffer(
            f"{parted} The target gives something else each time, in evaluation mode too: it draws random numbers, as "
            "F.dropout does without training=self.training."
        ) from parted
    raise parted


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
        ran = {run.name for run in target.watch.runs}
        owners = list(dict.fromkeys(_whole_part(target, name, empty, ran) for name in empty))
        leave = " ".join(f"--except {owner}" for owner in owners)
        raise NetworksDiffer(
            f"Nothing of the .t7 file went into {listed(empty)} of the target: it did not run as a layer of its own in "
            f"evaluation mode. Build the target without it, or leave it out ({leave})."
        )
    if not target.origins and not target.left_out:
        raise NetworksDiffer("The target has no layer with weights, so nothing of the .t7 file went into it.")


def _whole_part(target: Target, name: str, empty: Sequence[str], ran: set[str]) -> str:
    """The largest part of the target around a tensor in which nothing was filled, nor ran."""
    part = name.rpartition(".")[0]
    if not part:
        return name
    while above := part.rpartition(".")[0]:
        inside = {key for key in target.module.state_dict() if key.startswith(f"{above}.")}
        inside = {key for key in inside if not key.endswith("num_batches_tracked")}
        if not inside <= set(empty) or any(run == above or run.startswith(f"{above}.") for run in ran):
            break
        part = above
    return part


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a state dict, tied ones as one object."""
    return {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, torch.Tensor)}


def _fill(module: nn.Module, state: dict[str, torch.Tensor], target: Target) -> None:
    """Puts the proven tensors into the user's network, in its own types."""
    filled = {id(tensor) for name, tensor in _tensors(target.module).items() if name in target.origins}
    with torch.no_grad():
        own = module.state_dict()
        for name, tensor in _tensors(target.module).items():
            if id(tensor) in filled and not target.is_left_out(name):
                own[name].copy_(state[name])

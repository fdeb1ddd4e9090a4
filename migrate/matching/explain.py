"""Where two networks part, and how, in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import torch
from torch import nn

from .numbers import difference, same, sizes
from .runs import Run, Source

#: Settings of layers that have the same weights and compute something else.
_SETTINGS = (
    *("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode", "output_padding", "ceil_mode"),
    *("count_include_pad", "eps", "negative_slope", "num_groups", "normalized_shape", "num_layers", "bidirectional"),
    *("hidden_size", "output_size", "size", "scale_factor", "mode", "align_corners", "alpha", "beta", "k", "dim"),
)


def settings_that_differ(ours: nn.Module, theirs: nn.Module) -> list[str]:
    """The settings of a layer of the .t7 file and of one of the target that differ, in words."""
    found = []
    for name in _SETTINGS:
        if not (hasattr(ours, name) and hasattr(theirs, name)):
            continue
        a, b = _plain(ours, name), _plain(theirs, name)
        if a != b:
            found.append(f"{name} is {getattr(ours, name)} in the .t7 file and {getattr(theirs, name)} in the target")
    return found


def _plain(module: nn.Module, name: str) -> Any:
    """A setting in one form: 2 is what (2, 2) is, and a padding by name is a number."""
    value = getattr(module, name)
    if value == "valid":
        return 0
    if value == "same" and name == "padding":
        spans = [d * (k - 1) for d, k in zip(_many(module.dilation), _many(module.kernel_size), strict=True)]
        value = "same" if any(span % 2 for span in spans) else [span // 2 for span in spans]
    if isinstance(value, (list, tuple)):
        return value[0] if value and len(set(value)) == 1 else tuple(value)
    return value


def _many(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def other_output(module: nn.Module, run: Run, output: torch.Tensor | str | None, wanted: torch.Tensor | None) -> str:
    """Why a layer with the same input and the same weights gives something else."""
    if not isinstance(module, nn.RNNBase) and (settings := settings_that_differ(run.stock, module)):
        return "; ".join(settings)
    if isinstance(output, str):
        return f"with its weights the target fails: {output}"
    if output is None or wanted is None:
        return "one of them gives no tensor"
    return f"with the same weights the target's gives something else: {difference(output, wanted)}"


def other_input(given: torch.Tensor, run: Run | None, source: Source, before: Run | None, between: list[Run]) -> str:
    """Why a layer gets what no layer of the .t7 file gets.

    Args:
        given: what it gets.
        run: the layer that it should be; None: there is none left that it could be.
        source: all that ran in the .t7 file.
        before: the run that was matched last.
        between: what ran in the target since then, without weights.
    """
    if run is None:
        return f"the .t7 file has no layer left whose weights fit; it gets {sizes(given)}"
    told = [f"its counterpart would be {run.words} in the .t7 file, but their inputs differ"]
    if run.given is not None:
        told[0] += f" ({difference(given, run.given)})"
        if how := changed(given, run.given):
            told.append(how)
    ours = source.between(before, run)
    told += different_layers(ours, between)
    if ours or between:
        told.append(
            f"between it and the last layer that agrees, {_shown(ours)} ran in the .t7 file, "
            f"{_shown(between)} in the target"
        )
    return "; ".join(told)


def changed(given: torch.Tensor, wanted: torch.Tensor) -> str:
    """How an input follows from the right one: its channels in another order, or scaled; "" where it does not.

    Args:
        given: what the layer of the target gets.
        wanted: what its counterpart gets.
    """
    if (
        given.shape != wanted.shape
        or not wanted.any()
        or not (given.is_floating_point() and wanted.is_floating_point())
    ):
        return ""
    times = float((given * wanted).sum() / (wanted * wanted).sum())
    if times and same(given, wanted * times):
        return f"the target has {times:.6g} times what the .t7 file has"
    if given.dim() < 3 or not 1 < given.shape[1] <= 4:
        return ""
    for order in permutations(range(given.shape[1])):
        if same(given, wanted[:, list(order)]):
            numbers = ", ".join(str(channel + 1) for channel in order)
            return f"the target has the channels in the order {numbers}, as pictures in BGR for those in RGB"
    a, b = (each.transpose(0, 1).flatten(1) for each in (wanted, given))
    spread = a - a.mean(1, keepdim=True)
    scale = (spread * b).sum(1, keepdim=True) / (spread * spread).sum(1, keepdim=True)
    shift = b.mean(1, keepdim=True) - scale * a.mean(1, keepdim=True)
    if same(b, a * scale + shift):
        factors, terms = (", ".join(f"{number:.4g}" for number in each.flatten().tolist()) for each in (scale, shift))
        return f"the target has each channel times {factors} and plus {terms}: it normalizes its input itself"
    return ""


def different_layers(ours: list[Run], theirs: list[Run]) -> list[str]:
    """Layers without weights that have other settings, in the order in which they ran."""
    told = []
    rest = list(theirs)
    for run in ours:
        other = next((each for each in rest if _family(each.module) == _family(run.module)), None)
        if other is None:
            continue
        rest.remove(other)
        if settings := settings_that_differ(run.module, other.module):
            told.append(f"of layer {run.name} and {other.name}: {', '.join(settings)}")
    return told


def _family(module: nn.Module) -> str:
    """The class of torch.nn that a layer is one of."""
    for base in type(module).__mro__:
        if base.__module__.startswith("torch.nn") and not base.__name__.startswith("_") and base is not nn.Module:
            return base.__name__
    return type(module).__name__


def _shown(runs: list[Run]) -> str:
    shown = [f"{run.module!r}".split("\n", 1)[0] for run in runs]
    return listed(shown) if shown else "no layer"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names with commas, of many the first ones."""
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")


def counterpart(fitting: list[Run], last: Run | None, source: Source) -> Run | None:
    """The layer of the .t7 file that one of the target should be: the next that fits, behind the last one matched."""
    after = source.runs.index(last) + 1 if last is not None else 0
    behind = [run for run in fitting if source.runs.index(run) >= after]
    return next(iter([*behind, *fitting]), None)

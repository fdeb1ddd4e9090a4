"""Runs the network to be filled, and fills each layer when it is its turn: what it gets is proven by then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from ..base.errors import NetworksDiffer
from ..base.tensor_trees import leaves, moved, shapes
from .explain import counterpart, listed, other_input, other_output
from .fits import Fit, Origin, fits
from .inputs import float64_by_default
from .numbers import alike, same
from .recurrent import recurrent_fits
from .runs import Run, Source, Watch, first_given, first_tensor, own_tensors


@dataclass(frozen=True)
class Pending:
    """A bias that a layer of the target has no place for, so that the BatchNorm behind it must take it.

    Attributes:
        run: the layer of the .t7 file.
        name: the layer of the target.
        bias: its numbers.
        axis: of the output, along which they go.
    """

    run: Run
    name: str
    bias: torch.Tensor
    axis: int


def with_bias(tensor: torch.Tensor, bias: torch.Tensor, axis: int, sign: float) -> torch.Tensor | None:
    """A tensor with a bias added or taken off; None where the sizes do not fit."""
    if tensor.dim() < 2 or tensor.shape[axis] != bias.numel():
        return None
    shape = [1] * tensor.dim()
    shape[axis] = -1
    return tensor.double() + sign * bias.double().reshape(shape)


@dataclass
class Target:
    """The network that is filled: a copy of the user's, in float64 and in evaluation mode.

    Attributes:
        module: the copy.
        source: what happened in the converted model.
        exclude: names of modules and tensors that are left out.
        origins: name of a tensor -> where its numbers come from.
        left_out: names of modules that are left out and ran.
        notes: what to know.
        watch: what ran in it.
        used: layers of the source whose weights were taken.
        matched: name of a layer -> the run of the source whose weights it got first.
        folded: names of the normalizations that took a bias, which get something else than their counterparts.
        doubts: layers that could have been others too, by what they get and give.
        choices: which of the ways to take, each time that there are several.
        ways: how many there were, each time.
    """

    module: nn.Module
    source: Source
    exclude: Sequence[str]
    origins: dict[str, Origin] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    watch: Watch = field(default_factory=Watch)
    used: set[nn.Module] = field(default_factory=set)
    matched: dict[str, Run] = field(default_factory=dict)
    folded: set[str] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)
    choices: Sequence[int] = ()
    ways: list[int] = field(default_factory=list)
    _filled: set[int] = field(default_factory=set)
    _pending: list[Pending] = field(default_factory=list)
    _last: Run | None = None
    _at: str = ""

    def run(self, inputs: Sequence[Any]) -> Any:
        """Fills the network while it runs; what it gives.

        Raises:
            NetworksDiffer: the two networks part.
        """
        with ExitStack() as hooks, torch.no_grad():
            for name, module in self.module.named_modules():
                if name in self.exclude:
                    leave = partial(self._leave_out, name)
                    hooks.callback(module.register_forward_pre_hook(leave, with_kwargs=True).remove)
                elif not self.is_left_out(name):
                    for handle in self.watch.hooks(name, module):
                        hooks.callback(handle.remove)
                    if own_tensors(module) and not _has_weights_inside(module):
                        fill = partial(self._fill, name)
                        hooks.callback(module.register_forward_pre_hook(fill, with_kwargs=True).remove)
            try:
                with float64_by_default():
                    output = moved(self.module(*inputs))
            except NetworksDiffer:
                raise
            except Exception as error:  # the user's own code
                if self.left_out:
                    return None  # nothing behind what is left out is compared
                raise self._failed(error, inputs) from error
        for pending in self._pending:
            raise NetworksDiffer(
                f"Missing bias: {pending.run.words} of the .t7 file has a bias, {pending.name} of the target has none, "
                "and no BatchNorm directly behind it takes it."
            )
        return output

    def _failed(self, error: Exception, inputs: Sequence[Any]) -> NetworksDiffer:
        said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        if self._at:
            return NetworksDiffer(f"The target fails on the input of the .t7 file, behind its layer {self._at}: {said}")
        given = shapes(inputs[0] if len(inputs) == 1 else list(inputs))
        return NetworksDiffer(
            f"The target fails on the input of the .t7 file, before its first layer with weights: {said}. It was "
            f"called with {given}; one that takes something else, such as a dict, needs a module around it that takes "
            "tensors."
        )

    def run_filled(self, inputs: Sequence[Any]) -> Any:
        """Runs the filled network on other numbers; `watch` holds what its layers get and give.

        Raises:
            NetworksDiffer: it fails.
        """
        self.watch, self._at = Watch(), ""
        with ExitStack() as hooks, torch.no_grad(), float64_by_default():
            for name, module in self.module.named_modules():
                for handle in self.watch.hooks(name, module):
                    hooks.callback(handle.remove)
            try:
                return moved(self.module(*inputs))
            except Exception as error:  # the user's own code
                raise self._failed(error, inputs) from error

    def is_random(self, inputs: Sequence[Any]) -> bool:
        """Does the network give something else each time?"""
        with torch.no_grad(), float64_by_default():
            try:
                one, two = (leaves(self.module(*moved(list(inputs)))) for _ in range(2))
                return not all(same(a, b) for (_, a), (_, b) in zip(one, two, strict=True))
            except Exception:  # the user's own code
                return False

    def next_choices(self) -> list[int] | None:
        """What to choose in the next try; None: all was tried."""
        taken = [*self.choices, *[0] * len(self.ways)][: len(self.ways)]
        for i in reversed(range(len(taken))):
            if taken[i] + 1 < self.ways[i]:
                return [*taken[:i], taken[i] + 1]
        return None

    def is_left_out(self, name: str) -> bool:
        """Is this module, or tensor, one that is left out, or in one?"""
        return any(name == each or name.startswith(f"{each}.") for each in self.exclude)

    def _leave_out(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        given = first_given(args, kwargs)
        self._at = name
        if name in self.left_out:
            return
        if given is None:
            raise NetworksDiffer(
                f"{name} of the target, which is left out, gets no tensor first: what it gets can't be compared."
            )
        left = [run for run in self.source.weighted if run.module not in self.used]
        if not any(run.given is not None and alike(given, run.given) for run in left):
            run = counterpart(left, self._last, self.source)
            raise NetworksDiffer(
                f"The networks part before {name} of the target, which is left out: "
                f"{other_input(given, run, self.source, self._last, self._between())}."
            )
        self.left_out.append(name)

    def _fill(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        given = first_given(args, kwargs)
        self._at = name
        if given is None:
            raise NetworksDiffer(f"{called(name, module)} of the target gets no tensor first: it can't be matched.")
        found: list[tuple[Fit, Pending | None]] = []
        told: list[str] = []
        fitting: list[Run] = []
        for fit in self._fits(module, given, told):
            fitting.append(fit.runs[0])
            folds = self._folded_bias(module, given, fit.runs[0])
            if folds is not None:
                fit = _with_folded(fit, folds)
            elif not isinstance(module, nn.RNNBase) and not _is_input(given, fit.runs[0]):
                continue
            if any(
                id(own) in self._filled and not same(own, fit.tensors[key]) for key, own in own_tensors(module).items()
            ):
                told.append(f"{fit.runs[0].words} of the .t7 file has its input, but other weights than it got before")
                continue
            wanted = fit.wanted
            if fit.bias is not None and wanted is not None:
                wanted = with_bias(wanted, fit.bias, fit.axis, -1.0)
            output = _output(module, fit, args, kwargs)
            if wanted is not None and isinstance(output, torch.Tensor) and alike(output, wanted):
                found.append((fit, folds))
            else:
                why = other_output(module, fit.runs[0], output, wanted)
                told.insert(0, f"{fit.runs[0].words} of the .t7 file has its input; {why}")
        if not found:
            raise NetworksDiffer(self._parted(name, module, given, fitting, told))
        fit, folds = self._chosen(found)
        _put(module, fit)
        self._note(name, module, given, fit, [each for each, _ in found])
        if folds is not None:
            self._pending.remove(folds)
            self.folded.add(name)
        if fit.bias is not None:
            self._pending.append(Pending(fit.runs[0], name, fit.bias, fit.axis))

    def _chosen(self, found: list[tuple[Fit, Pending | None]]) -> tuple[Fit, Pending | None]:
        """One of the ways to fill a layer: with numbers that no other layer got, if there are some."""
        free = [each for each in found if each[0].runs[0].module not in self.used] or found
        several: list[tuple[Fit, Pending | None]] = []
        for each in free:
            if not any(_equal(each[0], other) for other, _ in several):
                several.append(each)
        if len(several) == 1:
            return several[0]
        self.ways.append(len(several))
        at = len(self.ways) - 1
        return several[self.choices[at] if at < len(self.choices) else 0]

    def _fits(self, module: nn.Module, given: torch.Tensor, told: list[str]) -> Iterator[Fit]:
        """The ways to fill a layer; `told` gets why layers with its input do not fit."""
        if isinstance(module, nn.RNNBase):
            ways = recurrent_fits(module, given, self.source.weighted)
            if isinstance(ways, str):
                told.append(ways)
            else:
                yield from ways
            return
        for run in self.source.weighted:
            ways = fits(module, run)
            if not isinstance(ways, str):
                yield from ways
            elif run.module not in self.used and _is_input(given, run):
                told.append(f"{run.words} of the .t7 file has its input, but {ways}")

    def _folded_bias(self, module: nn.Module, given: torch.Tensor, run: Run) -> Pending | None:
        """The bias that a BatchNorm has to take, if with it the layer gets what the other gets."""
        if "running_mean" not in own_tensors(module) or run.given is None:
            return None
        for pending in self._pending:
            whole = with_bias(given, pending.bias, pending.axis, 1.0)
            if whole is not None and alike(whole, run.given):
                return pending
        return None

    def _note(self, name: str, module: nn.Module, given: torch.Tensor, fit: Fit, ways: list[Fit]) -> None:
        self._last = fit.runs[0]
        self.matched.setdefault(name, fit.runs[0])
        self.used |= {run.module for run in fit.runs}
        self._filled |= {id(own) for own in own_tensors(module).values()}
        for key, origin in fit.origins.items():
            self.origins.setdefault(f"{name}.{key}" if name else key, origin)
        if given.is_floating_point() and not bool(given.any()):
            self.notes.append(
                f"{name} got only zeros, so its weights, of {fit.runs[0].words}, were told by their place alone"
            )
        elif any(not _equal(fit, way) for way in ways):
            others = ", ".join(dict.fromkeys(way.runs[0].name for way in ways))
            self.doubts.append(
                f"{name} could have been any of the layers {others} by what they get and give; it got "
                f"{fit.runs[0].name}"
            )

    def _between(self) -> list[Run]:
        """What ran in the target since the last layer with weights that is filled."""
        runs = self.watch.runs
        begin = max((i for i, run in enumerate(runs) if run.weighted and run.output is not None), default=-1)
        return [run for run in runs[begin + 1 :] if not run.weighted]

    def _parted(self, name: str, module: nn.Module, given: torch.Tensor, fitting: list[Run], told: list[str]) -> str:
        """Where and how the networks part, at a layer that nothing fits."""
        why = told[0] if told else ""
        if not why:
            left = [run for run in fitting if run.module not in self.used]
            run = counterpart(left, self._last, self.source)
            why = other_input(given, run, self.source, self._last, self._between())
        text = f"The networks part at {called(name, module)} of the target: {why}."
        if self.left_out:
            text += f" It may depend on {listed(self.left_out)}, which is left out: leave it out too (--except {name})."
        return text


def called(name: str, module: nn.Module) -> str:
    """How messages call a layer of the target."""
    return f"{name or 'the network itself'} ({type(module).__name__})"


def _has_weights_inside(module: nn.Module) -> bool:
    return any(own_tensors(part) for part in module.modules() if part is not module)


def _is_input(given: torch.Tensor, run: Run) -> bool:
    """Is this what a layer of the source got? Of indices, Torch7 counts from 1."""
    if run.given is None:
        return False
    if not given.is_floating_point() and not isinstance(run.module, nn.Embedding):
        given = given + 1
    return alike(given, run.given)


def _with_folded(fit: Fit, pending: Pending) -> Fit:
    """The tensors of a BatchNorm that takes the bias of the layer before it."""
    mean, origin = fit.tensors["running_mean"], fit.origins["running_mean"]
    origin = replace(origin, how=f"less the bias of {pending.run.name}, for which {pending.name} has no place")
    return replace(
        fit,
        tensors={**fit.tensors, "running_mean": mean - pending.bias.to(mean.dtype)},
        origins={**fit.origins, "running_mean": origin},
    )


def _put(module: nn.Module, fit: Fit) -> None:
    for key, own in own_tensors(module).items():
        own.copy_(fit.tensors[key])


def _output(module: nn.Module, fit: Fit, args: Any, kwargs: Any) -> torch.Tensor | str | None:
    """What a layer gives with these weights, which are taken off again; or why it fails."""
    before = {key: own.clone() for key, own in own_tensors(module).items()}
    _put(module, fit)
    try:
        return first_tensor(module.forward(*moved(list(args)), **moved(dict(kwargs))))
    except (RuntimeError, ValueError, IndexError) as error:
        return str(error).split("\n", 1)[0][:200]
    finally:
        for key, own in own_tensors(module).items():
            own.copy_(before[key])


def _equal(fit: Fit, other: Fit) -> bool:
    return all(torch.equal(fit.tensors[key], other.tensors[key]) for key in fit.tensors)

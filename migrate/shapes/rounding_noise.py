"""How far rounding inside a network moves each number of its output: the scale of the sums behind it.

A number that is the rest of a sum of large ones, or stands where a function is steep, is off by more than its own
rounding. How much follows from the network alone: every input of a layer is changed by one rounding up or down, and the
change of the output is seen.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import reduce
from typing import Any

import torch
from torch import nn

from ..base.random_state import random_state_of_our_own
from ..base.tensor_trees import apply, leaves, moved
from ..model.recurrent_state import forget
from ..model.running.last_layers import LastLayers, LastLayersWatch, fan_in
from .dry_run import run

#: A relative change in float64: far above its rounding, and below that of float32, so that no choice tips over that
#: float32 would not tip over.
_STEP = 2.0**-30

#: Where a difference is to count as agreement, rounding is taken to grow no more than so many times.
_MOST = 32

#: How often the network is changed: a single change may cancel by chance.
_TRIALS = 3

#: Likewise where rounding grows, and a slice may be a single number.
_MANY_TRIALS = 16

#: Larger weights stay as they are: what they are multiplied with is changed.
_MOST_WEIGHTS = 1 << 20

#: So many signs are drawn for a trial; each tensor takes them from another place on. A prime number: no two rows of an
#: image take the same ones.
_SIGNS = 65537

#: The last layers of a network are looked at first if it has as many modules.
_SEVERAL = 4

#: So near must the last layers by themselves come to what they gave in the network.
_ALIKE = 1e-2

#: So many numbers are looked at before all are.
_FEW = 1024


#: Functions that libraries, Torch7 among them, compute as exp(x) - 1 or log(1 + exp(x)): 1 is rounded, and their small
#: numbers are the rest.
_BESIDE_ONE = (nn.ELU, nn.CELU, nn.SELU, nn.Softplus, nn.LogSigmoid)


class RoundingNoise:
    """The change of each number of the output, relative to the size of one rounding; found in steps, as far as needed.

    A layer that adds n numbers rounds about sqrt(n) times as much as one that adds none. The first step knows only the
    last layers, for the price of one ordinary run; each further one runs the whole network in float64.

    Iterating gives what is known after each step, nested as the output is, tensors in float64, no number of which is
    smaller than after the step before; None at the end, where the module does not run so. No step is done twice.

    Args:
        module: it is not changed, but for what it remembers.
        value: its input, which is not changed.
        last: what is known of its last layers with this input.
        trials: how often it is run besides the first time.
        most: no number is taken to move by more than this, in roundings of the largest number (or product) in the
            network; infinity shows how far rounding grows in a network that amplifies it.
    """

    def __init__(
        self, module: nn.Module, value: Any, last: LastLayers | None = None, trials: int = _TRIALS, most: float = _MOST
    ) -> None:
        self._steps = _steps(module, value, last, trials, most)
        self._known: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        number = 0
        while number < len(self._known) or self._advanced():
            yield self._known[number]
            number += 1

    def _advanced(self) -> bool:
        for step in self._steps:
            self._known.append(step)
            return True
        return False


def rounding_noise(module: nn.Module, value: Any) -> Any:
    """What `RoundingNoise` knows in the end."""
    *_, last = RoundingNoise(module, value)
    return last


def rounding_growth(module: nn.Module, value: Any) -> RoundingNoise:
    """The same without a limit, as often as it takes that chance hides no growth from a single number.

    Args:
        module: as `RoundingNoise` takes it.
        value: likewise.
    """
    return RoundingNoise(module, value, trials=_MANY_TRIALS, most=math.inf)


def last_layers(module: nn.Module, value: Any) -> LastLayers | None:
    """Runs a network once to see its last layers.

    Args:
        module: it is not changed.
        value: its input, which is not changed.
    """
    shared: dict[int, Any] = {id(weight): weight for weight in module.parameters()}
    twin, watch = copy.deepcopy(module, shared), LastLayersWatch()
    with torch.no_grad(), random_state_of_our_own(0), watch.on(twin):
        run(twin, moved(value))
    return watch.found


def _steps(module: nn.Module, value: Any, last: LastLayers | None, trials: int, most: float) -> Iterator[Any]:
    least = _least(module, value, last, trials, most)
    if least is not None:
        yield least
    found = least
    try:
        noisy = _Noisy(module, most)
        base = noisy.run(moved(value, torch.float64), None)
        for seed in range(trials):
            changed = noisy.moves(base, noisy.run(moved(value, torch.float64), seed))
            found = changed if found is None else _larger(found, changed)
            yield found
    except Exception:  # changed numbers may lead anywhere
        yield None


def _least(module: nn.Module, value: Any, last: LastLayers | None, trials: int, most: float) -> torch.Tensor | None:
    """What the last layers alone do; None where that is not known, or is all that there is."""
    if len(list(module.modules())) < _SEVERAL:
        return None
    with suppress(Exception):  # it is only the first step
        last = last or last_layers(module, value)
        if last is not None:
            noisy = _Noisy(nn.Sequential(*last.layers), most)
            base = noisy.run(moved(last.given, torch.float64), None)
            if _size(base - last.output.double().cpu()) <= _ALIKE * _size(base):  # else they remember, or draw numbers
                runs = (noisy.run(moved(last.given, torch.float64), seed) for seed in range(trials))
                moves: list[torch.Tensor] = [noisy.moves(base, changed) for changed in runs]
                return reduce(torch.maximum, moves)
    return None


def _larger(known: Any, found: Any) -> Any:
    """The larger of the numbers of two nested values."""
    rest = iter([tensor for _, tensor in leaves(known)])

    def take(tensor: torch.Tensor) -> torch.Tensor:
        return torch.maximum(tensor, next(rest))

    return apply(found, take)


def _flat(value: Any) -> list[Any]:
    return [item for each in value for item in _flat(each)] if isinstance(value, (list, tuple)) else [value]


class _Noisy:
    """A copy of a module that changes what its layers get."""

    def __init__(self, module: nn.Module, most: float) -> None:
        self.most = most
        self.largest = 0.0
        self.generator: torch.Generator | None = None
        self.signs = torch.empty(0)
        self.opposed = False
        self.terms: dict[nn.Module, float] = {}
        memo: dict[int, Any] = {}
        for weight in module.parameters():  # cast as they are copied
            memo[id(weight)] = nn.Parameter(moved(weight, torch.float64), requires_grad=False)
        self.module = copy.deepcopy(module, memo).to(device="cpu", dtype=torch.float64)
        self.weights = [
            (tensor, tensor.detach().clone())
            for tensor in [*self.module.parameters(), *self.module.buffers()]
            if tensor.is_floating_point() and tensor.numel() <= _MOST_WEIGHTS
        ]
        for part in self.module.modules():
            if not list(part.children()) or list(part.parameters(recurse=False)):
                part.register_forward_pre_hook(self.before)
                part.register_forward_hook(self.after)

    def run(self, value: Any, seed: int | None) -> Any:
        """What it answers to an input in float64, which it may change; without a seed nothing is changed."""
        with torch.no_grad(), torch.random.fork_rng(devices=[]):  # it is on the CPU; to ask for GPUs takes time
            torch.default_generator.manual_seed(0)
            self.generator = None
            if seed is not None:
                self.generator = torch.Generator().manual_seed(seed)
                # two entries that nearly cancel move apart in one trial at least, which chance does not promise
                self.opposed = seed == 0
                signs = torch.empty(_SIGNS, dtype=torch.float64).bernoulli_(0.5, generator=self.generator)
                self.signs = signs.mul_(2.0).sub_(1.0)
            for tensor, kept in self.weights:
                terms = kept.numel() / kept.shape[0] if kept.dim() > 1 and kept.shape[0] else 1.0
                tensor.data.copy_(kept if seed is None else self.changed(kept, terms))
            forget(self.module)
            return self.module(value)

    def moves(self, base: Any, changed: Any) -> Any:
        """How far each number was moved, relative to the size of one rounding.

        Raises:
            TypeError: not all that it answers are tensors.
        """
        if not all(isinstance(item, torch.Tensor) for item in _flat(base)):
            raise TypeError("its output holds what is no tensor")
        rest = iter([tensor for _, tensor in leaves(changed)])

        def take(tensor: torch.Tensor) -> torch.Tensor:
            apart = (next(rest).double() - tensor.double()).abs().cpu() / _STEP
            return apart if self.most == math.inf else apart.clamp(max=self.most * self.largest)

        return apply(base, take)

    def changed(self, tensor: torch.Tensor, terms: float) -> torch.Tensor:
        """The same numbers, each up or down by as much as a sum of so many terms is rounded."""
        return self.times(tensor, 1.0, _STEP * math.sqrt(terms))

    def apart(self, tensors: Sequence[torch.Tensor], terms: float) -> list[torch.Tensor]:
        """Likewise, but of entries of the same size every second one moves against the one before."""
        step, start = _STEP * math.sqrt(terms), self.start(tensors[0].numel())
        return [self.times(tensor, 1.0, -step if i % 2 else step, start) for i, tensor in enumerate(tensors)]

    def start(self, numel: int) -> int:
        """From which sign on a tensor of so many numbers takes them."""
        return int(torch.randint(_SIGNS if numel >= _SIGNS else _SIGNS - numel, (), generator=self.generator))

    def times(self, tensor: torch.Tensor, one: float, step: float, start: int | None = None) -> torch.Tensor:
        """Each number times `one`, plus or minus a step."""
        numbers = tensor.reshape(-1)
        rows, rest = divmod(len(numbers), _SIGNS)
        start = self.start(len(numbers)) if start is None else start
        signs = self.signs.roll(-start) if rows else self.signs[start : start + rest]
        factors = (signs * step).add_(one).to(numbers.dtype)
        made, whole = torch.empty_like(numbers), rows * _SIGNS
        if rows:
            torch.mul(numbers[:whole].view(rows, _SIGNS), factors, out=made[:whole].view(rows, _SIGNS))
        torch.mul(numbers[whole:], factors[:rest], out=made[whole:])
        return made.view(tensor.shape)

    def before(self, part: nn.Module, given: tuple[Any, ...]) -> Any:
        terms = max(fan_in(part), self.terms.get(part, 1.0))

        if self.generator is None:
            weight = max([1.0, *(_size(weight) for weight in part.parameters(recurse=False))])
            self.largest = max([self.largest, *(weight * _size(tensor) for _, tensor in leaves(given))])

        found = [tensor for _, tensor in leaves(given)]
        moving = [] if self.generator is None else [t for t in found if t.is_floating_point() and not _whole(t)]
        if self.opposed and len({tensor.shape for tensor in moving}) == 1 < len(moving):
            moved_ones = self.apart(moving, terms)
        else:
            moved_ones = [self.changed(tensor, terms) for tensor in moving]
        new = dict(zip(map(id, moving), moved_ones, strict=True))

        def change(tensor: torch.Tensor) -> torch.Tensor:
            return new[id(tensor)] if id(tensor) in new else tensor.clone()

        return tuple(apply(item, change) for item in given)

    def after(self, part: nn.Module, given: tuple[Any, ...], output: Any) -> Any:
        ours, theirs = ([tensor for _, tensor in leaves(item)] for item in (output, given))
        numbers = sum(tensor.numel() for tensor in theirs), sum(tensor.numel() for tensor in ours)
        if self.generator is None:
            self.largest = max([self.largest, *map(_size, ours), _beside(part)])
            self.terms[part] = max(numbers[0] / max(numbers[1], 1), 1.0)
            return None
        if len(ours) != 1 or len(theirs) != 1 or ours[0].shape != theirs[0].shape or fan_in(part) > 1:
            return None
        if not (isinstance(output, torch.Tensor) and output.is_floating_point() and theirs[0].is_floating_point()):
            return None
        # within a function of each number, such as a log-softmax, numbers of the size of the input are rounded
        inner = theirs[0].abs() + _beside(part)
        return output + self.times(inner, 0.0, _STEP).to(output.dtype)


def _beside(part: nn.Module) -> float:
    """What 1 beside an exponential makes of the output; 0 where there is none."""
    if not isinstance(part, _BESIDE_ONE):
        return 0.0
    return abs(float(getattr(part, "alpha", 1.0))) / abs(float(getattr(part, "beta", 1.0)) or 1.0)


def _size(tensor: torch.Tensor) -> float:
    """Its largest number."""
    if not tensor.is_floating_point() or not tensor.numel():
        return 0.0
    least, most = tensor.detach().aminmax()
    return max(-float(least), float(most))


def _whole(tensor: torch.Tensor) -> bool:
    """Are all numbers whole, as indices are, which must not be changed?"""
    few = tensor.reshape(-1)[:_FEW] if tensor.is_contiguous() else tensor
    return bool((few == few.round()).all()) and bool((tensor == tensor.round()).all())

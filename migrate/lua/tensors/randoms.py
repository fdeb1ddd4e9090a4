"""Random numbers in Torch7's own sequence: what a seed gives there, it gives here."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .engine import Engine, destination, flatten_empty, function, method, sizes, trimmed
from .generators import Numbers, Twister
from .handles import DTYPES, LuaFault, TensorHandle, describe, is_number, whole

#: From how many whole numbers `x:random()` without bounds draws; a word of the generator has 32 bits.
_RANGES = {"Byte": 2**8, "Char": 2**7, "Short": 2**15, "Int": 2**31, "Long": 2**63, "Float": 2**24 + 1, "Double": 2**63}


def _uniform(engine: Engine, count: int, low: float = 0.0, high: float = 1.0) -> Numbers:
    return engine.random.uniform(count) * (high - low) + low


def _normal(engine: Engine, count: int, mean: float = 0.0, deviation: float = 1.0) -> Numbers:
    if not deviation > 0:
        raise LuaFault("standard deviation must be strictly positive")
    return engine.random.normal(count) * deviation + mean


def _exponential(engine: Engine, count: int, rate: float = 0.0) -> Numbers:
    with np.errstate(divide="ignore"):
        return np.asarray(np.float64(-1.0) / rate * np.log(1.0 - engine.random.uniform(count)))


def _log_normal(engine: Engine, count: int, mean: float = 1.0, deviation: float = 2.0) -> Numbers:
    return np.asarray(np.exp(_normal(engine, count, mean, deviation)))


def _cauchy(engine: Engine, count: int, median: float = 0.0, sigma: float = 1.0) -> Numbers:
    return median + sigma * np.tan(math.pi * (engine.random.uniform(count) - 0.5))


def _bernoulli(engine: Engine, count: int, p: Any = 0.5) -> Numbers:
    if not np.all((p >= 0) & (p <= 1)):
        raise LuaFault("must be >= 0 and <= 1")
    return np.asarray(engine.random.uniform(count) <= p, dtype=np.float64)


def _geometric(engine: Engine, count: int, p: float) -> Numbers:
    if not 0 < p < 1:
        raise LuaFault("must be > 0 and < 1")
    return np.trunc(np.log(1.0 - engine.random.uniform(count)) / math.log(p)) + 1


#: By name: the distribution, and the least number of arguments.
_DISTRIBUTIONS: dict[str, tuple[Any, int]] = {
    "uniform": (_uniform, 0),
    "normal": (_normal, 0),
    "exponential": (_exponential, 1),
    "logNormal": (_log_normal, 0),
    "cauchy": (_cauchy, 0),
    "bernoulli": (_bernoulli, 0),
    "geometric": (_geometric, 1),
}


def _put(x: TensorHandle, values: Any) -> TensorHandle:
    """Writes numbers into a tensor, in the order of its indices, cut to its type."""
    x.value.copy_(torch.from_numpy(values).reshape(x.value.shape))
    return x


def _drawn(name: str) -> tuple[Any, Any]:
    draw, least = _DISTRIBUTIONS[name]

    def as_method(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
        given = trimmed(arguments)
        count = x.value.numel()
        if name == "bernoulli" and given and isinstance(given[0], TensorHandle):
            if given[0].value.numel() != count:
                raise LuaFault("inconsistent tensor size")
            return _put(x, draw(engine, count, given[0].value.double().reshape(-1).numpy()))
        if len(given) < least or not all(is_number(value) for value in given):
            raise LuaFault(f"invalid arguments: {' '.join(map(describe, given))} for {name}")
        return _put(x, draw(engine, count, *map(_of_its_type(x, name), given)))

    def as_function(engine: Engine, *arguments: Any) -> Any:
        given = trimmed(arguments)
        if given and isinstance(given[0], TensorHandle):
            return as_method(engine, *given)
        if len(given) < least or not all(is_number(value) for value in given):
            raise LuaFault(f"invalid arguments: {' '.join(map(describe, given))} for {name}")
        return float(draw(engine, 1, *map(float, given))[0])

    return as_method, as_function


def _of_its_type(x: TensorHandle, name: str) -> Any:
    """Torch7 takes the bounds of a FloatTensor as floats, the chances as doubles."""
    return _single if x.value.dtype == torch.float32 and name not in ("bernoulli", "geometric") else float


def _single(value: float) -> float:
    return float(np.float32(value))


for _name in _DISTRIBUTIONS:
    _as_method, _as_function = _drawn(_name)
    method(_name)(_as_method)
    function(_name)(_as_function)


def _whole_numbers(engine: Engine, count: int, bounds: Sequence[int], most: int) -> npt.NDArray[np.uint64]:
    if not bounds:
        low, extent = 0, most
    elif len(bounds) == 1:
        low, extent = 1, bounds[0]
        if extent < 1:
            raise LuaFault("upper bound must be strictly positive")
    else:
        low, extent = bounds[0], bounds[1] + 1 - bounds[0]
        if extent < 1:
            raise LuaFault("upper bound must be larger than lower bound")
    # C adds without a sign: a number below 0 is a huge one until it is cut to a whole type
    return engine.random.words(count) % np.uint64(extent) + np.uint64(low % 2**64)


@method("random")
def random_method(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:random([first,] [last])`."""
    bounds = [whole(value) for value in trimmed(arguments)]
    most = _RANGES[x.kind.removeprefix("Cuda") or "Float"]
    values = _whole_numbers(engine, x.value.numel(), bounds, most)
    return _put(x, values.astype(np.float64 if x.value.is_floating_point() else np.int64))


@function("random")
def random_function(engine: Engine, *arguments: Any) -> Any:
    """`torch.random([first,] [last])`, `torch.random(x, …)`."""
    given = trimmed(arguments)
    if given and isinstance(given[0], TensorHandle):
        return random_method(engine, *given)
    return float(_whole_numbers(engine, 1, [whole(value) for value in given], 2**63).astype(np.int64)[0])


def _sized(draw: Any) -> Any:
    def run(engine: Engine, *arguments: Any) -> TensorHandle:
        target, given = destination(arguments)
        kind = target.kind if target is not None else engine.default_kind
        wanted = sizes(given)
        engine.bounded(wanted)
        count = math.prod(wanted) if wanted else 0
        value = torch.from_numpy(draw(engine, count)).reshape(tuple(wanted) if wanted else (0,)).to(DTYPES[kind])
        return engine.result(target, flatten_empty(value), kind)

    return run


for _name, _draw in (("rand", _uniform), ("randn", _normal)):
    _run = _sized(_draw)
    function(_name)(_run)
    method(_name)(_run)


@function("randperm")
@method("randperm")
def randperm(engine: Engine, *arguments: Any) -> TensorHandle:
    """`torch.randperm([res,] n)`: from 1."""
    target, given = destination(arguments)
    kind = target.kind if target is not None else engine.default_kind
    count = whole(given[0] if given else None)
    if count < 1:
        raise LuaFault("must be strictly positive")
    engine.bounded([count])
    order = list(range(1, count + 1))
    for place, word in enumerate(engine.random.words(count - 1).tolist()):
        other = place + word % (count - place)
        order[place], order[other] = order[other], order[place]
    return engine.result(target, torch.tensor(order).to(DTYPES[kind]), kind)


@function("multinomial")
@method("multinomial")
def multinomial(engine: Engine, *arguments: Any) -> TensorHandle:
    """`torch.multinomial([res,] weights, count, [with replacement])`: a LongTensor from 1."""
    tensors = [value for value in arguments if isinstance(value, TensorHandle)]
    count, *rest = trimmed(arguments)[len(tensors) :] or [None]
    wanted, again = whole(count), bool(rest and rest[0])
    if not tensors or len(tensors[-1].size) not in (1, 2):
        raise LuaFault("invalid arguments: multinomial expected a tensor of one or two dimensions")
    chances = tensors[-1].value.double()
    if wanted < 1 or (not again and wanted > chances.shape[-1]):
        raise LuaFault("cannot sample n_sample > prob_dist:size(1) samples without replacement")
    engine.bounded([*chances.shape[:-1], wanted])
    rows = [_sampled(engine, row, wanted, again) for row in chances.reshape(-1, chances.shape[-1]).numpy()]
    value = torch.tensor(rows).reshape(*chances.shape[:-1], wanted) + 1
    return engine.result(tensors[0] if len(tensors) > 1 else None, value, "Long")


def _sampled(engine: Engine, chances: Numbers, count: int, again: bool) -> list[int]:
    """Places in one row of weights; without replacement, what was drawn is taken out of the sums."""
    sums = np.cumsum(chances)
    if not sums[-1] > 0:
        raise LuaFault("invalid multinomial distribution (sum of probabilities <= 0)")
    sums = sums / sums[-1]
    found: list[int] = []
    for drawn in engine.random.uniform(count).tolist():
        sums[-1] = 1.0
        # not NumPy's search, which takes another way where sums are not numbers any more
        place = bisect_left(sums, drawn)
        found.append(place)
        if not again:
            taken = sums[place] - (sums[place - 1] if place else 0.0)
            sums[place:] -= taken
            with np.errstate(divide="ignore", invalid="ignore"):
                sums /= 1.0 - taken
    return found


@function("__generator")
def use_generator(engine: Engine, number: float) -> None:
    """Draws from a `torch.Generator` from now on; 0 is torch's own."""
    engine.generators.setdefault(0, engine.random)
    if number not in engine.generators:
        engine.generators[number] = Twister(engine.seed + int(number))
    engine.random = engine.generators[number]


@function("manualSeed")
def manual_seed(engine: Engine, seed: Any, *_: Any) -> None:
    """`torch.manualSeed(seed)`: mixed with the number of the run, so that two runs draw differently."""
    engine.random.seed(whole(seed) + 0x9E3779B9 * engine.seed)


@function("seed")
def seed(engine: Engine, *_: Any) -> float:
    """`torch.seed()`: the system's random numbers give the seed in Torch7, the number of the run here."""
    engine.random.seed(engine.seed)
    return float(engine.random.initial)


@function("initialSeed")
def initial_seed(engine: Engine, *_: Any) -> float:
    """`torch.initialSeed()`."""
    return float(engine.random.initial)


@function("getRNGState")
def get_state(engine: Engine, *_: Any) -> TensorHandle:
    """`torch.getRNGState()`: a ByteTensor."""
    return TensorHandle(torch.frombuffer(bytearray(engine.random.state()), dtype=torch.uint8), "Byte")


@function("setRNGState")
def set_state(engine: Engine, *arguments: Any) -> None:
    """`torch.setRNGState(state)`, which `torch.getRNGState` gave."""
    given = arguments[0] if arguments else None
    if not isinstance(given, TensorHandle) or not engine.random.set_state(given.value.numpy().tobytes()):
        raise LuaFault("Invalid RNG state")


@function("__math_random")
def math_random(engine: Engine) -> float:
    """LuaJIT's `math.random()`."""
    return engine.lua_random.uniform()


@function("__math_randomseed")
def math_randomseed(engine: Engine, seed: float) -> None:
    """LuaJIT's `math.randomseed(seed)`, mixed with the number of the run."""
    engine.lua_random.seed(seed + engine.seed)

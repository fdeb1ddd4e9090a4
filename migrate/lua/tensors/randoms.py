"""Random numbers: of Torch7's distributions, not Torch7's own sequence of them."""

from __future__ import annotations

import math
from typing import Any

import torch

from .engine import Engine, destination, flatten_empty, function, method, sizes, trimmed
from .handles import DTYPES, LuaFault, TensorHandle, describe, is_number, whole

#: How many whole numbers `x:random()` without bounds draws from: as many as the type tells apart.
_RANGES = {"Byte": 2**8, "Char": 2**7, "Short": 2**15, "Int": 2**31, "Long": 2**53, "Float": 2**24, "Double": 2**53}


def _uniform(engine: Engine, size: Any, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    return torch.rand(size, dtype=torch.float64, generator=engine.random) * (high - low) + low


def _normal(engine: Engine, size: Any, mean: float = 0.0, deviation: float = 1.0) -> torch.Tensor:
    if deviation < 0:
        raise LuaFault("standard deviation must be strictly positive")
    return torch.randn(size, dtype=torch.float64, generator=engine.random) * deviation + mean


def _exponential(engine: Engine, size: Any, rate: float = 1.0) -> torch.Tensor:
    return -torch.log1p(-_uniform(engine, size)) / rate


def _log_normal(engine: Engine, size: Any, mean: float = 1.0, deviation: float = 2.0) -> torch.Tensor:
    return _normal(engine, size, mean, deviation).exp()


def _cauchy(engine: Engine, size: Any, median: float = 0.0, sigma: float = 1.0) -> torch.Tensor:
    return median + sigma * torch.tan(math.pi * (_uniform(engine, size) - 0.5))


def _bernoulli(engine: Engine, size: Any, p: float = 0.5) -> torch.Tensor:
    if not 0 <= p <= 1:
        raise LuaFault("must be >= 0 and <= 1")
    return (_uniform(engine, size) < p).double()


def _geometric(engine: Engine, size: Any, p: float = 0.5) -> torch.Tensor:
    return torch.floor(torch.log1p(-_uniform(engine, size)) / math.log1p(-p)) + 1


_DISTRIBUTIONS: dict[str, Any] = {
    "uniform": _uniform,
    "normal": _normal,
    "exponential": _exponential,
    "logNormal": _log_normal,
    "cauchy": _cauchy,
    "bernoulli": _bernoulli,
    "geometric": _geometric,
}


def _drawn(name: str) -> tuple[Any, Any]:
    draw = _DISTRIBUTIONS[name]

    def as_method(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
        given = trimmed(arguments)
        if name == "bernoulli" and given and isinstance(given[0], TensorHandle):
            chances = given[0].value.double().reshape(x.value.shape)
            x.value.copy_((_uniform(engine, x.value.shape) < chances).double())
            return x
        if not all(is_number(value) for value in given):
            raise LuaFault(f"invalid arguments: {' '.join(map(describe, given))} for {name}")
        x.value.copy_(draw(engine, x.value.shape, *map(float, given)))
        return x

    def as_function(engine: Engine, *arguments: Any) -> Any:
        given = trimmed(arguments)
        if given and isinstance(given[0], TensorHandle):
            return as_method(engine, *given)
        return float(draw(engine, (), *map(float, given)))

    return as_method, as_function


for _name in _DISTRIBUTIONS:
    _as_method, _as_function = _drawn(_name)
    method(_name)(_as_method)
    function(_name)(_as_function)


def _whole_numbers(engine: Engine, size: Any, bounds: list[int], most: int) -> torch.Tensor:
    low, high = (0, most - 1) if not bounds else (1, bounds[0]) if len(bounds) == 1 else (bounds[0], bounds[1])
    if high < low:
        raise LuaFault("upper bound must be larger than lower bound")
    return torch.randint(low, high + 1, size, generator=engine.random)


@method("random")
def random_method(engine: Engine, x: TensorHandle, *arguments: Any) -> TensorHandle:
    """`x:random([first,] [last])`."""
    bounds = [whole(value) for value in trimmed(arguments)]
    most = _RANGES[x.kind.removeprefix("Cuda") or "Float"]
    x.value.copy_(_whole_numbers(engine, tuple(x.value.shape), bounds, most))
    return x


@function("random")
def random_function(engine: Engine, *arguments: Any) -> float:
    """`torch.random([first,] [last])`."""
    return float(_whole_numbers(engine, (), [whole(value) for value in trimmed(arguments)], 2**32))


def _sized(draw: Any) -> Any:
    def run(engine: Engine, *arguments: Any) -> TensorHandle:
        target, given = destination(arguments)
        kind = target.kind if target is not None else engine.default_kind
        wanted = sizes(given)
        engine.bounded(wanted)
        value = draw(engine, tuple(wanted) if wanted else (0,)).to(DTYPES[kind])
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
    count = whole(given[0])
    engine.bounded([count])
    value = torch.randperm(count, generator=engine.random) + 1
    return engine.result(target, value.to(DTYPES[kind]), kind)


@function("multinomial")
@method("multinomial")
def multinomial(engine: Engine, *arguments: Any) -> TensorHandle:
    """`torch.multinomial(weights, count, [with replacement])`: a LongTensor from 1."""
    given = trimmed(arguments)
    weights, count, *rest = given
    value = torch.multinomial(weights.value.double(), whole(count), bool(rest and rest[0]), generator=engine.random)
    return TensorHandle(value + 1, "Long")


@function("manualSeed")
def manual_seed(engine: Engine, seed: Any, *_: Any) -> None:
    """`torch.manualSeed(seed)`: mixed with the seed of the run, so that two runs draw differently."""
    engine.random.manual_seed((whole(seed) + 0x9E3779B9 * engine.seed) % 2**63)


@function("seed", "initialSeed")
def seed(engine: Engine, *_: Any) -> float:
    """`torch.seed()`."""
    return float(engine.seed)

"""Sizes that only data told, such as that of a vocabulary: given as options, or worked out of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from math import isqrt
from typing import Any

from ..optim.flat_parameters import flatten_tensors
from ..t7 import LuaTable, Tensor, Value
from .runtime import Runtime
from .script_text import names_in

#: How the parameters are called by which authors take their options.
OPTIONS = ("opt", "opts", "options", "params", "config", "args", "cfg", "settings")
#: Sizes at which a network is built to see how its parameters grow; the second where the first are too small.
_TRIED = ((2, 3, 5, 8), (64, 65, 67, 72))


def wanted_numbers(weights: Value) -> dict[str, int] | None:
    """How many numbers the weights are, and how many tensors if they are a list; None if they are neither."""
    if isinstance(weights, Tensor) and len(weights.size) <= 1:
        return {"numbers": int(weights.numel())}
    if isinstance(weights, LuaTable) and weights.is_list and len(weights):
        tensors = weights.list()
        if all(isinstance(tensor, Tensor) for tensor in tensors):
            return {"numbers": sum(int(tensor.numel()) for tensor in tensors), "tensors": len(tensors)}
    return None


def counted_as(wanted: Mapping[str, int], parameters: Sequence[Tensor]) -> int:
    """How many numbers would fill the parameters, counted as the weights are."""
    if wanted.get("tensors") == len(parameters):
        return sum(int(tensor.numel()) for tensor in parameters)
    return int(flatten_tensors(parameters).size)


def solved(numbers: int, built: Callable[[int], int | None]) -> int | None:
    """The one whole number with which a network has so many parameters.

    The number of parameters grows with a size as a polynomial of at most the second degree. That it does, and that the
    numbers next to the one found do not fit, is checked by building.

    Args:
        numbers: how many there are.
        built: how many parameters the network has with a number; None if it can't be built so.

    Returns:
        The number, or None if none fits, or several may.
    """
    for tried in _TRIED:
        counts = [built(size) for size in tried]
        if all(count is not None for count in counts):
            break
    else:
        return None
    points = [(size, count) for size, count in zip(tried, counts, strict=True) if count is not None]
    constant, linear, square = _polynomial(points[:3])
    last, count = points[3]
    if constant + linear * last + square * last * last != count:
        return None
    found = [size for size in _whole_roots(constant - numbers, linear, square) if size > 0]
    if len(found) != 1 or built(found[0]) != numbers:
        return None
    beside = [size for size in (found[0] - 1, found[0] + 1) if size > 0]
    return found[0] if all(built(size) != numbers for size in beside) else None


def _polynomial(points: Sequence[tuple[int, int]]) -> tuple[Fraction, Fraction, Fraction]:
    """The three coefficients of the parabola through three points."""
    (a, at_a), (b, at_b), (c, at_c) = points
    first = Fraction(at_b - at_a, b - a)
    square = (Fraction(at_c - at_b, c - b) - first) / (c - a)
    linear = first - square * (a + b)
    return at_a - linear * a - square * a * a, linear, square


def _whole_roots(constant: Fraction, linear: Fraction, square: Fraction) -> list[int]:
    """The whole numbers at which a polynomial is 0; none where it is 0 everywhere."""
    if not square:
        root = -constant / linear if linear else Fraction(1, 2)
        return [int(root)] if root.denominator == 1 else []
    scale = square.denominator * linear.denominator * constant.denominator
    a, b, c = (int(part * scale) for part in (square, linear, constant))
    inside = b * b - 4 * a * c
    if inside < 0 or isqrt(inside) ** 2 != inside:
        return []
    roots = {Fraction(-b + sign * isqrt(inside), 2 * a) for sign in (1, -1)}
    return sorted(int(root) for root in roots if root.denominator == 1)


def option_of(name: str) -> str:
    """The option that gives a value of a call: `vocab_size` for `loader.vocab_size`."""
    return name.split(".")[-1]


def is_given(job: Mapping[str, Any], name: str) -> bool:
    """Do the options say what a name in a call stands for?

    A field of the options is theirs, wherever they come from; any other name only where the user named it.
    """
    options = job.get("options") or {}
    base, last = name.split(".")[0], option_of(name)
    if base in (job.get("options_as"), *OPTIONS) and name.count(".") <= 1:
        return bool(options) if base == name else last in options
    return last in options and last in (job.get("named") or ()) and name.count(".") <= 1


def with_option(job: Mapping[str, Any], name: str, value: int | str) -> dict[str, Any]:
    """What to add to a job so that a name in its call has a value."""
    return {
        "options": {**(job.get("options") or {}), option_of(name): value},
        "named": [*(job.get("named") or ()), option_of(name)],
    }


def give_options(runtime: Runtime, job: Mapping[str, Any], call: str, file: str | None = None) -> None:
    """Gives names in a call, and the options that it passes on, the values that were given as options.

    Args:
        runtime: the Lua, in which the author's files ran.
        job: as `define` says.
        call: the expression.
        file: the script whose variables the expression reads; None if there is none.
    """
    options, host = job.get("options") or {}, runtime.host
    as_options = (job.get("options_as") or "opt", *OPTIONS)
    for name in names_in(call):
        base, last = name.split(".")[0], option_of(name)
        held = host.get_global(base) if file is None else host.variable(file, base)
        if base in as_options:
            given: Iterable[tuple[str, Any]] = options.items() if file is not None else ()
        elif last not in options or not is_given(job, name):
            continue
        elif base == name:
            if file is not None or held is None:
                host.set_variable(file, name, runtime.value(options[name]))
            continue
        else:
            given = [(last, options[last])]
        kind = host.kind(held)
        if given and (kind[0] if isinstance(kind, tuple) else kind) not in ("table", "object"):
            held = runtime.value({})
            host.set_variable(file, base, held)
        for key, value in given:
            host.put(held, runtime.value(key), runtime.value(value))


def how_to_pass(names: Sequence[str]) -> str:
    """How to say what only data tell."""
    return f"\nNumbers that are not known are passed as options, for example --opt {names[0]}=65" if names else ""

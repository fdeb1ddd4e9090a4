"""Arithmetic element by element: add, cmul, pow, exp, lt, and the operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .engine import FUNCTIONS, Engine, function, listed, method, number, scalar, trimmed
from .handles import DTYPES, LuaFault, NumberHandle, TensorHandle, describe, is_number

Compute = Callable[..., torch.Tensor]


def letters(arguments: list[Any]) -> str:
    """The pattern of arguments: t for a tensor, n for a number."""
    return "".join("t" if isinstance(value, TensorHandle) else "n" if is_number(value) else "?" for value in arguments)


def as_element(value: Any, like: torch.Tensor) -> Any:
    """A number as C converts it to the type of the tensor."""
    return scalar(value) if like.is_floating_point() else int(value)


def operands(arguments: list[Any]) -> tuple[TensorHandle, list[Any]]:
    """The first tensor, and all arguments as PyTorch takes them: one type, the size of the first tensor."""
    first = next(value for value in arguments if isinstance(value, TensorHandle))
    made: list[Any] = []
    for value in arguments:
        if isinstance(value, TensorHandle):
            if value.kind != first.kind:
                raise LuaFault(f"invalid arguments: {' '.join(map(describe, arguments))}: tensors of different types")
            if value.value.numel() != first.value.numel():
                raise LuaFault(
                    f"inconsistent tensor size, expected r_ {listed(first.size)}, t {listed(first.size)} and src "
                    f"{listed(value.size)} to have the same number of elements, but got {first.value.numel()}, "
                    f"{first.value.numel()} and {value.value.numel()} elements respectively"
                )
            made.append(value.value if value.size == first.size else value.value.reshape(first.value.shape))
        else:
            made.append(as_element(value, first.value))
    return first, made


def forms(name: str, patterns: tuple[str, ...], compute: Compute) -> None:
    """Registers an operation in Torch7's forms: in place as a method, new as a function, or into a first tensor.

    Args:
        name: its name in Lua.
        patterns: the arguments, without the result, by `letters`.
        compute: from the pattern and the arguments to the value.
    """

    def run(in_place: bool, engine: Engine, arguments: tuple[Any, ...]) -> TensorHandle:
        given = trimmed(arguments)
        pattern = letters(given)
        target = None
        if pattern in patterns:
            target = given[0] if in_place and pattern[0] == "t" else None
        elif pattern[:1] == "t" and pattern[1:] in patterns:
            target, given, pattern = given[0], given[1:], pattern[1:]
        else:
            raise LuaFault(f"invalid arguments: {' '.join(map(describe, given))} for {name}")
        first, values = operands(given)
        if target is not None and target.kind != first.kind:
            raise LuaFault(f"invalid arguments: {describe(target)} {' '.join(map(describe, given))} for {name}")
        if not first.value.numel():
            return engine.result(target, torch.empty(0, dtype=DTYPES[first.kind]), first.kind)
        return engine.result(target, compute(pattern, *values), first.kind)

    def as_method(engine: Engine, *arguments: Any) -> TensorHandle:
        return run(True, engine, arguments)

    def as_function(engine: Engine, *arguments: Any) -> TensorHandle:
        return run(False, engine, arguments)

    method(name)(as_method)
    function(name)(as_function)


def _divided(_: str, x: torch.Tensor, y: Any) -> torch.Tensor:
    if x.is_floating_point():
        return torch.div(x, y)
    if (y == 0) if not isinstance(y, torch.Tensor) else bool((y.detach() == 0).any()):
        raise LuaFault("division by zero in a tensor of whole numbers")
    return torch.div(x, y, rounding_mode="trunc")


def _added(pattern: str, x: torch.Tensor, *rest: Any) -> torch.Tensor:
    return torch.add(x, rest[0] * rest[1] if pattern == "tnt" else rest[0])


def _subtracted(pattern: str, x: torch.Tensor, *rest: Any) -> torch.Tensor:
    return torch.sub(x, rest[0] * rest[1] if pattern == "tnt" else rest[0])


def _multiplied(_: str, x: torch.Tensor, y: Any) -> torch.Tensor:
    return torch.mul(x, y)


def _power(_: str, x: Any, y: Any) -> torch.Tensor:
    result: torch.Tensor = torch.pow(x, y)
    return result


def _added_products(pattern: str, x: torch.Tensor, *rest: Any) -> torch.Tensor:
    factor, y, z = (1, *rest) if pattern == "ttt" else rest
    return torch.add(x, factor * y * z)


def _added_quotients(pattern: str, x: torch.Tensor, *rest: Any) -> torch.Tensor:
    factor, y, z = (1, *rest) if pattern == "ttt" else rest
    return torch.add(x, factor * _divided("", y, z))


def _clamped(_: str, x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return x.clamp(low, high)


def _largest(_: str, x: torch.Tensor, y: Any) -> torch.Tensor:
    return torch.maximum(x, y) if isinstance(y, torch.Tensor) else x.clamp(min=y)


def _smallest(_: str, x: torch.Tensor, y: Any) -> torch.Tensor:
    return torch.minimum(x, y) if isinstance(y, torch.Tensor) else x.clamp(max=y)


def _interpolated(_: str, x: torch.Tensor, y: torch.Tensor, weight: float) -> torch.Tensor:
    return x + weight * (y - x)


def _remainder(_: str, x: torch.Tensor, y: Any) -> torch.Tensor:
    return torch.remainder(x, y)


def _fmod(_: str, x: torch.Tensor, y: Any) -> torch.Tensor:
    return torch.fmod(x, y)


def _angle(_: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.atan2(x, y)


_FORMS: dict[str, tuple[tuple[str, ...], Compute]] = {
    "add": (("tn", "tt", "tnt"), _added),
    "csub": (("tn", "tt", "tnt"), _subtracted),
    "mul": (("tn",), _multiplied),
    "div": (("tn",), _divided),
    "cmul": (("tt",), _multiplied),
    "cdiv": (("tt",), _divided),
    "pow": (("tn", "nt"), _power),
    "cpow": (("tt",), _power),
    "addcmul": (("ttt", "tntt"), _added_products),
    "addcdiv": (("ttt", "tntt"), _added_quotients),
    "clamp": (("tnn",), _clamped),
    "cmax": (("tt", "tn"), _largest),
    "cmin": (("tt", "tn"), _smallest),
    "lerp": (("ttn",), _interpolated),
    "remainder": (("tn",), _remainder),
    "cremainder": (("tt",), _remainder),
    "fmod": (("tn",), _fmod),
    "mod": (("tn",), _fmod),
    "cfmod": (("tt",), _fmod),
    "cmod": (("tt",), _fmod),
    "atan2": (("tt",), _angle),
}
for _name, (_patterns, _compute) in _FORMS.items():
    forms(_name, _patterns, _compute)


def _frac(x: torch.Tensor) -> torch.Tensor:
    return x - x.trunc()


def _rounded(x: torch.Tensor) -> torch.Tensor:
    """Halves go away from 0, as C rounds them."""
    return torch.where(x < 0, (x - 0.5).ceil(), (x + 0.5).floor())


#: Functions of one tensor that PyTorch has under the same names, as functions and as methods.
UNARY = (
    "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "exp", "floor", "log", "log1p", "lgamma", "neg", "rsqrt",
    "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
_UNARY: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {name: getattr(torch, name) for name in UNARY} | {
    "cinv": torch.reciprocal,
    "frac": _frac,
    "round": _rounded,
}


def _unary(compute: Callable[[torch.Tensor], torch.Tensor]) -> Compute:
    def run(_: str, x: torch.Tensor) -> torch.Tensor:
        return compute(x)

    return run


def _of_numbers(name: str, compute: Callable[..., torch.Tensor], count: int) -> None:
    """Lets `torch.sqrt(2)` give a number, beside tensors."""
    of_tensors = FUNCTIONS[name]

    def run(engine: Engine, *arguments: Any) -> Any:
        given = trimmed(arguments)
        if letters(given) == "n" * count:
            numbers = [scalar(value) for value in given]
            return number(
                compute(*(n if isinstance(n, torch.Tensor) else torch.tensor(n, dtype=torch.float64) for n in numbers))
            )
        return of_tensors(engine, *arguments)

    FUNCTIONS[name] = run


for _name, _function in _UNARY.items():
    forms(_name, ("t",), _unary(_function))
    if _name not in ("sign", "neg", "cinv"):
        _of_numbers(_name, _function, 1)
_of_numbers("pow", torch.pow, 2)


def _comparison(name: str) -> Any:
    compare = getattr(torch, name)

    def run(engine: Engine, *arguments: Any) -> TensorHandle:
        given = trimmed(arguments)
        target = None
        if letters(given) in ("ttt", "ttn"):
            target, *given = given
        if letters(given) not in ("tt", "tn"):
            raise LuaFault(f"invalid arguments: {' '.join(map(describe, given))} for {name}")
        first, (x, y) = operands(given)
        kind = "CudaByte" if first.kind.startswith("Cuda") else "Byte"
        return engine.result(target, compare(x, y).to(torch.uint8), kind)

    return run


for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _run = _comparison(_name)
    method(_name)(_run)
    function(_name)(_run)


def _matrix_product(x: TensorHandle, y: TensorHandle) -> Any:
    """X * y of tensors: a dot product, or a product with a matrix."""
    ranks = (len(x.size), len(y.size))
    if ranks == (1, 1):
        return number(torch.dot(x.value, y.value))
    if ranks in ((2, 1), (2, 2)):
        if x.size[1] != y.size[0]:
            raise LuaFault(f"size mismatch, m1: {listed(x.size)}, m2: {listed(y.size)}")
        return TensorHandle(x.value @ y.value, x.kind)
    raise LuaFault("multiplication between " + f"{ranks[0]}D and {ranks[1]}D tensors not yet supported")


@function("__mul")
def times(engine: Engine, x: Any, y: Any) -> Any:
    """`x * y`."""
    if isinstance(x, TensorHandle) and isinstance(y, TensorHandle):
        if x.kind != y.kind:
            raise LuaFault("tensors of different types can't be multiplied")
        return _matrix_product(x, y)
    tensor, factor = (x, y) if isinstance(x, TensorHandle) else (y, x)
    return FUNCTIONS["mul"](engine, tensor, factor)


@function("__add")
def plus(engine: Engine, x: Any, y: Any) -> Any:
    """`x + y`."""
    return FUNCTIONS["add"](engine, *((x, y) if isinstance(x, TensorHandle) else (y, x)))


@function("__sub")
def minus(engine: Engine, x: Any, y: Any) -> Any:
    """`x - y`."""
    if isinstance(x, TensorHandle):
        return FUNCTIONS["csub"](engine, x, y)
    return FUNCTIONS["add"](engine, FUNCTIONS["neg"](engine, y), x)


@function("__div")
def divided(engine: Engine, x: Any, y: Any) -> Any:
    """`x / y`: by a number."""
    if not isinstance(x, TensorHandle) or not is_number(y):
        raise LuaFault("division of tensors is of a tensor by a number")
    return FUNCTIONS["div"](engine, x, y)


@function("__unm")
def negative(engine: Engine, x: Any, *_: Any) -> Any:
    """`-x`."""
    if isinstance(x, NumberHandle):
        return number(torch.neg(x.value))
    return FUNCTIONS["neg"](engine, x)

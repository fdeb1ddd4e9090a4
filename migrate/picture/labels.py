"""What is written in the box of a module, and what kind of module it is."""

from __future__ import annotations

from ..model.supported_classes import traits_of
from ..t7 import LuaObject, Storage, Tensor, Value


def kind_of(obj: LuaObject) -> str:
    """What colours the box of a module."""
    kind = traits_of(obj.typename).picture
    return "weights" if kind == "other" and isinstance(obj.get("weight"), Tensor) else kind


def describe(obj: LuaObject) -> str:
    """One line about a module: its class and what distinguishes it from others of the class."""
    name = obj.typename.split(".")[-1]
    told = [_planes(obj), _window(obj), *(_value(obj.get(field)) for field in traits_of(obj.typename).label)]
    return " ".join([name, *(text for text in told if text)])


def _planes(obj: LuaObject) -> str:
    for before, after in (
        ("nInputPlane", "nOutputPlane"),
        ("inputFrameSize", "outputFrameSize"),
        ("inputSize", "outputSize"),
    ):
        numbers = obj.get(before), obj.get(after)
        if all(isinstance(number, float) for number in numbers):
            return f"{numbers[0]:.0f}→{numbers[1]:.0f}"
    weight = obj.get("weight")
    if isinstance(weight, Tensor) and len(weight.size) == 2 and obj.get("kW") is None:
        rows, columns = weight.size
        return f"{rows}→{columns}" if traits_of(obj.typename).reads == "indices" else f"{columns}→{rows}"
    return ""


def _window(obj: LuaObject) -> str:
    window = _numbers(obj, "kT", "kH", "kW")
    if not window:
        return ""
    text = "x".join(window)
    stride = _numbers(obj, "dT", "dH", "dW")
    if stride and set(stride) != {"1"}:
        text += f" /{stride[0] if len(set(stride)) == 1 else 'x'.join(stride)}"
    return text


def _numbers(obj: LuaObject, *names: str) -> list[str]:
    return [f"{value:g}" for name in names if isinstance(value := obj.get(name), float)]


def _value(value: Value) -> str:
    if isinstance(value, Storage) and len(value) <= 8:
        return "x".join(f"{n:.0f}" for n in value.data)
    return f"{value:g}" if isinstance(value, float) else ""

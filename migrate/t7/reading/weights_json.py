"""Lists of layers in JSON, as waifu2x exports the weights of networks whose layers stand in a row."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Mapping
from typing import Any

from ...base.errors import T7Error
from ..values import LuaObject, LuaTable, Tensor, Value

#: How such a file begins, and what stands in each of its layers.
_BEGIN = re.compile(rb"\s*\[\s*\{")
_FIELDS = frozenset({"nInputPlane", "nOutputPlane", "kW", "kH", "weight", "bias"})

#: More text than the largest of these files has; it takes many times as much memory.
_MOST_BYTES = 1 << 28

_CONVOLUTION, _FULL_CONVOLUTION = "nn.SpatialConvolution", "nn.SpatialFullConvolution"
#: Names of the classes in the file -> what they are here; files of 2015 name none.
_CLASSES = {
    "nn.SpatialConvolutionMM": _CONVOLUTION,
    "nn.SpatialConvolution": _CONVOLUTION,
    "cudnn.SpatialConvolution": _CONVOLUTION,
    "nn.SpatialFullConvolution": _FULL_CONVOLUTION,
    "cudnn.SpatialFullConvolution": _FULL_CONVOLUTION,
}

#: Networks of waifu2x whose layers stand in a row; of the others the file does not say how they are connected.
_IN_A_ROW = re.compile(r"vgg_\d+|upconv_7l?")

_SLOPE = 0.1
#: What to know of each such file.
WEIGHTS_ONLY = (
    "the file lists the weights of convolutions only: between them stands nn.LeakyReLU(0.1), as in waifu2x; that the "
    "output is clipped to 0 and 1 there is left out"
)


def read_weights_json(data: bytes | mmap.mmap) -> LuaTable | None:
    """The network in a list of layers, as a table with `model` and `model_config`, what it says of itself.

    Args:
        data: the file.

    Returns:
        None if it is no such list.

    Raises:
        T7Error: it is one, but its layers do not fit together, or do not stand in a row.
    """
    if not _BEGIN.match(data) or len(data) > _MOST_BYTES:
        return None
    try:
        layers = json.loads(bytes(data))
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(layer, dict) and layer.keys() >= _FIELDS - {"kW", "kH"} for layer in layers):
        return None
    config = layers[0].get("model_config")
    config = config if isinstance(config, dict) else {}
    name = config.get("arch_name")
    odd = sorted({_class_of(layer) for layer in layers} - _CLASSES.keys())
    if odd or (name is not None and not _IN_A_ROW.fullmatch(str(name))):
        network = f"{name}: " if name else ""
        raise T7Error(
            f"The layers of this list do not stand in a row ({network}{', '.join(odd) or 'it has branches'}), and it "
            "does not say how they are connected",
            hint="Convert the .t7 file that it was exported from.",
        )
    modules: list[Value] = []
    planes: int | None = None
    for i, layer in enumerate(layers, 1):
        modules += [_leaky()] if modules else []
        modules.append(_convolution(layer, i, planes))
        planes = _integer(layer, "nOutputPlane", i)
    model = LuaObject("nn.Sequential", LuaTable([("modules", LuaTable.from_list(modules))]))
    told = [(key, _scalar(value)) for key, value in config.items() if isinstance(value, (str, int, float, bool))]
    return LuaTable([("model", model), *([("model_config", LuaTable(told))] if told else [])])


def _class_of(layer: Mapping[str, Any]) -> str:
    return str(layer.get("class_name", _CONVOLUTION))


def _leaky() -> LuaObject:
    return LuaObject("nn.LeakyReLU", LuaTable([("negval", _SLOPE), ("inplace", False)]))


def _convolution(layer: Mapping[str, Any], number: int, before: int | None) -> LuaObject:
    inputs, outputs, width, height = (
        _integer(layer, name, number) for name in ("nInputPlane", "nOutputPlane", "kW", "kH")
    )
    if before is not None and inputs != before:
        raise T7Error(f"Layer {number} takes {inputs} planes, but the layer before it gives {before}")
    for name in ("dilationW", "dilationH"):
        if layer.get(name) not in (None, 1):
            raise T7Error(f"Layer {number} is dilated, which no network in a row is")
    typename = _CLASSES[_class_of(layer)]
    full = typename == _FULL_CONVOLUTION
    size = (inputs, outputs, height, width) if full else (outputs, inputs, height, width)
    fields: list[tuple[Value, Value]] = [
        ("nInputPlane", float(inputs)),
        ("nOutputPlane", float(outputs)),
        ("kW", float(width)),
        ("kH", float(height)),
        *((name, float(_integer(layer, name, number, 1))) for name in ("dW", "dH")),
        *((name, float(_integer(layer, name, number, 0))) for name in ("padW", "padH")),
        ("weight", _tensor(layer, "weight", number, size)),
        ("bias", _tensor(layer, "bias", number, (outputs,))),
    ]
    return LuaObject(typename, LuaTable(fields))


def _integer(layer: Mapping[str, Any], name: str, number: int, default: int | None = None) -> int:
    value = layer.get(name, default)
    value = default if value is None else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value < 1 << 20 or (value == 0 and not name.startswith("pad")):
        raise T7Error(f"Layer {number} has a {name} of {str(value)[:40]}")
    return value


def _tensor(layer: Mapping[str, Any], name: str, number: int, size: tuple[int, ...]) -> Tensor:
    import numpy as np

    try:
        numbers = np.array(layer[name], dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise T7Error(f"The {name} of layer {number} is no list of numbers: {error}") from error
    if numbers.shape != size:
        raise T7Error(f"The {name} of layer {number} has the size {numbers.shape}; its fields say {size}")
    return Tensor.from_numpy(numbers)


def _scalar(value: str | float | bool) -> Value:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value

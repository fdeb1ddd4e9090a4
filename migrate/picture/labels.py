"""What is written in the box of a module, and what kind of module it is."""

from __future__ import annotations

from ..t7 import LuaObject, Storage, Tensor

_KINDS = (
    ("recurrent", ("LSTM", "GRU", "RNN", "Recurrent", "Recursor", "Sequencer", "BiSequencer", "Repeater")),
    ("normalization", ("BatchNormalization", "InstanceNormalization", "LayerNormalization")),
    ("dropout", ("Dropout", "WhiteNoise")),
    ("pooling", ("Pooling", "Unpooling", "UpSampling", "UpSamplingNearest", "UpSamplingBilinear", "PixelShuffle")),
    ("merge", ("AddTable", "MulTable", "SubTable", "DivTable", "JoinTable", "Concat", "MM", "MV", "DotProduct")),
    ("weights", ("Convolution", "ConvolutionMM", "Linear", "LinearNoBias", "LookupTable", "Bilinear", "Inception")),
    (
        "activation",
        (
            "ReLU",
            "Threshold",
            "Tanh",
            "Sigmoid",
            "ELU",
            "SoftMax",
            "SoftPlus",
            "HardTanh",
            "RReLU",
            "ReLU6",
            "SoftSign",
        ),
    ),
)
#: Ends such as "ReLU" would take these too.
_ACTIVATIONS = ("PReLU", "LeakyReLU", "ClippedReLU", "LogSoftMax", "LogSigmoid", "SpatialSoftMax", "SpatialLogSoftMax")


def kind_of(obj: LuaObject) -> str:
    """What colours the box of a module."""
    name = obj.typename.split(".")[-1]
    if name in _ACTIVATIONS:
        return "activation"
    for kind, endings in _KINDS:
        if name.endswith(endings):
            return kind
    return "weights" if isinstance(obj.get("weight"), Tensor) else "other"


def describe(obj: LuaObject) -> str:
    """One line about a module: its class and what distinguishes it from others of the class."""
    name = obj.typename.split(".")[-1]
    told = [_planes(obj), _window(obj), _sizes(obj)]
    probability = obj.get("p")
    if name.endswith("Dropout") and isinstance(probability, float):
        told.append(f"{probability:g}")
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
        lookup = obj.typename.split(".")[-1].startswith("LookupTable")
        return f"{rows}→{columns}" if lookup else f"{columns}→{rows}"
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


def _sizes(obj: LuaObject) -> str:
    if obj.typename.split(".")[-1] not in ("View", "Reshape"):
        return ""
    size = obj.get("size")
    if not isinstance(size, Storage) or len(size) > 8:
        return ""
    return "x".join(f"{n:.0f}" for n in size.data)

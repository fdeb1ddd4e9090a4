"""Writes the files that the benchmarks read: numbers at random, structure as Torch7 leaves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from torchmigrate.t7 import LuaObject, LuaTable, Storage, Tensor
from torchmigrate.t7.writing.dump import dump

_VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")
_FLOAT = "torch.FloatTensor"


def tensor(*size: int, kind: str = "Float") -> Tensor:
    """Random numbers; empty without a size."""
    array = np.random.default_rng(sum(size)).standard_normal(size or 0, np.float32)
    return Tensor.from_numpy(array.astype(np.float64) if kind == "Double" else array)


def module(typename: str, **fields: Any) -> LuaObject:
    common = {"output": tensor(), "gradInput": tensor(), "train": True, "_type": _FLOAT}
    return LuaObject(f"nn.{typename}", LuaTable({**fields, **common}.items()))


def linear(inputs: int, outputs: int) -> LuaObject:
    return module(
        "Linear",
        weight=tensor(outputs, inputs),
        bias=tensor(outputs),
        gradWeight=tensor(outputs, inputs),
        gradBias=tensor(outputs),
    )


def sequential(modules: list[LuaObject]) -> LuaObject:
    return module("Sequential", modules=LuaTable.from_list(modules))


def many_small_modules() -> LuaObject:
    """20 000 layers of a few numbers each."""
    return sequential([linear(4, 3) if i % 2 else module("Tanh") for i in range(20_000)])


def one_big_tensor() -> Tensor:
    """400 MB in one storage."""
    return tensor(100_000_000)


def vgg16() -> LuaObject:
    """VGG-16 with its gradients: 1.1 GB."""
    layers, channels = [], 3
    for step in _VGG16:
        if isinstance(step, str):
            layers.append(module("SpatialMaxPooling", kW=2, kH=2, dW=2, dH=2, padW=0, padH=0, ceil_mode=False))
            continue
        weight = {name: tensor(step, channels, 3, 3) for name in ("weight", "gradWeight")}
        bias = {name: tensor(step) for name in ("bias", "gradBias")}
        plane = {"nInputPlane": channels, "nOutputPlane": step}
        window = {"kW": 3, "kH": 3, "dW": 1, "dH": 1, "padW": 1, "padH": 1}
        layers.append(module("SpatialConvolution", **weight, **bias, **plane, **window))
        layers.append(module("ReLU", threshold=0, val=0, inplace=True))
        channels = step
    layers.append(module("View", size=Storage("torch.LongStorage", np.array([25088], "<i8")), numElements=25088))
    for inputs, outputs in ((25088, 4096), (4096, 4096), (4096, 1000)):
        layers.append(linear(inputs, outputs))
        if outputs != 1000:
            layers.append(module("ReLU", threshold=0, val=0, inplace=True))
            layers.append(module("Dropout", p=0.5, v2=True, noise=tensor()))
    return sequential([*layers, module("SoftMax")])


def ascii_net() -> LuaObject:
    """A network of 4 million numbers, which its file spells as text."""
    return sequential([linear(1000, 1000), module("Tanh"), linear(1000, 1000)])


def nngraph_lstm() -> LuaTable:
    """200 steps of an LSTM as nngraph builds them: nodes that point at each other, all with the same weights."""
    first = [linear(128, 4 * 128), linear(128, 4 * 128)]
    return LuaTable.from_list(_lstm_step(first) for _ in range(200))


def _lstm_step(shared: list[LuaObject]) -> LuaObject:
    inner = [*shared, module("CAddTable", inplace=False), module("Reshape"), module("SplitTable", dimension=2)]
    inner += [module(name) for name in ("Sigmoid", "Sigmoid", "Sigmoid", "Tanh", "CMulTable", "CMulTable", "CAddTable")]
    inner += [module("Tanh"), module("CMulTable")]
    nodes = []
    for number, item in enumerate(inner, 1):
        data = LuaTable(
            {"module": item, "annotations": LuaTable(), "mapindex": LuaTable(), "forwardNodeId": number}.items()
        )
        nodes.append(LuaObject("nngraph.Node", LuaTable({"id": number, "data": data}.items())))
        nodes[-1].fields["children"] = LuaTable()
        if number > 1:
            before = nodes[-2]
            before.fields["children"] = LuaTable([(1, nodes[-1]), (nodes[-1], 1)])
            data["mapindex"] = LuaTable([(1, before["data"]), (before["data"], 1)])
    graph = LuaObject("graph.Graph", LuaTable({"nodes": LuaTable.from_list(nodes), "edges": LuaTable()}.items()))
    fields = {
        "fg": graph,
        "forwardnodes": LuaTable.from_list(nodes),
        "modules": LuaTable.from_list(inner),
        "nInputs": 3,
    }
    return module("gModule", **fields)


#: name -> (what the file holds, is it ASCII?)
FILES: dict[str, tuple[Callable[[], Any], bool]] = {
    "many small modules": (many_small_modules, False),
    "one big tensor": (one_big_tensor, False),
    "VGG-16 with gradients": (vgg16, False),
    "ASCII net": (ascii_net, True),
    "nngraph LSTM": (nngraph_lstm, False),
}


def write(name: str, folder: Path) -> Path:
    """The file of that name, written unless it is there."""
    path = folder / f"{name.replace(' ', '_')}.t7"
    if not path.exists():
        make, ascii_form = FILES[name]
        dump(make(), path, ascii=ascii_form)
    return path


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> LuaObject:
    size = (outputs, inputs, kernel, kernel)
    weight = Tensor.from_numpy(tensor(*size).numpy() * np.float32((2 / (inputs * kernel * kernel)) ** 0.5))
    window = {"kW": kernel, "kH": kernel, "dW": stride, "dH": stride, "padW": kernel // 2, "padH": kernel // 2}
    return module(
        "SpatialConvolution", weight=weight, bias=tensor(outputs), nInputPlane=inputs, nOutputPlane=outputs, **window
    )


def batch_norm(planes: int) -> LuaObject:
    ones, zeros = (Tensor.from_numpy(np.full(planes, number, np.float32)) for number in (1, 0))
    means = {"weight": ones, "bias": zeros, "running_mean": zeros, "running_var": ones}
    return module("SpatialBatchNormalization", **means, eps=1e-5, momentum=0.1, affine=True, nDim=4)


def relu() -> LuaObject:
    return module("ReLU", threshold=0, val=0, inplace=False)


def _bottleneck(inputs: int, planes: int, stride: int) -> LuaObject:
    steps = [convolution(inputs, planes, 1), batch_norm(planes), relu()]
    steps += [convolution(planes, planes, 3, stride), batch_norm(planes), relu()]
    steps += [convolution(planes, 4 * planes, 1), batch_norm(4 * planes)]
    shortcut = module("Identity")
    if stride > 1 or inputs != 4 * planes:
        shortcut = sequential([convolution(inputs, 4 * planes, 1, stride), batch_norm(4 * planes)])
    branches = module("ConcatTable", modules=LuaTable.from_list([sequential(steps), shortcut]))
    return sequential([branches, module("CAddTable", inplace=False), relu()])


def resnet50() -> LuaObject:
    """ResNet-50 as fb.resnet.torch builds it: 240 modules, 25 million parameters."""
    layers = [convolution(3, 64, 7, 2), batch_norm(64), relu()]
    layers.append(module("SpatialMaxPooling", kW=3, kH=3, dW=2, dH=2, padW=1, padH=1, ceil_mode=False))
    inputs = 64
    for planes, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(_bottleneck(inputs, planes, 1 if block else stride))
            inputs = 4 * planes
    window = {"kW": 7, "kH": 7, "dW": 1, "dH": 1, "padW": 0, "padH": 0}
    average = {"ceil_mode": False, "count_include_pad": True, "divide": True}
    layers.append(module("SpatialAveragePooling", **window, **average))
    shape = Storage("torch.LongStorage", np.array([2048], "<i8"))
    layers.append(module("View", size=shape, numElements=2048, numInputDims=3))
    return sequential([*layers, linear(2048, 1000)])


def lenet() -> LuaObject:
    """A LeNet for images of 28x28."""
    pool = {"kW": 2, "kH": 2, "dW": 2, "dH": 2, "padW": 0, "padH": 0, "ceil_mode": False}
    layers = []
    for inputs, outputs in ((1, 6), (6, 16)):
        convolved = convolution(inputs, outputs, 5)
        convolved.fields["padW"] = convolved.fields["padH"] = 0
        layers += [convolved, module("Tanh"), module("SpatialMaxPooling", **pool)]
    layers.append(module("View", size=Storage("torch.LongStorage", np.array([256], "<i8")), numElements=256))
    for inputs, outputs in ((256, 120), (120, 84), (84, 10)):
        layers += [linear(inputs, outputs), module("Tanh")]
    return sequential([*layers[:-1], module("LogSoftMax")])

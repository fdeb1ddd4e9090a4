"""Layers of networks for tests, as Torch7 saved them: their fields, and random weights."""

from __future__ import annotations

from typing import Any

import lua
import numpy as np

import torchmigrate as tm


def conv(inputs: int, outputs: int, k: int, d: int = 1, p: int = 0, **more: Any) -> tm.LuaObject:
    fields = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": k, "kH": k, "dW": d, "dH": d, "padW": p, "padH": p}
    weight = lua.numbers(outputs, inputs, k, k, dtype="f4")
    return lua.module("nn.SpatialConvolution", **fields, weight=weight, bias=lua.numbers(outputs, dtype="f4"), **more)


def up(inputs: int, outputs: int, k: int, d: int, p: int) -> tm.LuaObject:
    fields = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": k, "kH": k, "dW": d, "dH": d, "padW": p, "padH": p}
    weight = lua.numbers(inputs, outputs, k, k, dtype="f4")
    return lua.module(
        "nn.SpatialFullConvolution", **fields, adjW=0, adjH=0, weight=weight, bias=lua.numbers(outputs, dtype="f4")
    )


def volumetric(inputs: int, outputs: int, k: int, d: int = 1, p: int = 0) -> tm.LuaObject:
    fields = {"nInputPlane": inputs, "nOutputPlane": outputs, "kT": k, "kW": k, "kH": k, "dT": d, "dW": d, "dH": d}
    weight, bias = lua.numbers(outputs, inputs, k, k, k, dtype="f4"), lua.numbers(outputs, dtype="f4")
    return lua.module("nn.VolumetricConvolution", **fields, padT=p, padW=p, padH=p, weight=weight, bias=bias)


def volumetric_pool(t: int, k: int) -> tm.LuaObject:
    fields = {"kT": t, "kW": k, "kH": k, "dT": t, "dW": k, "dH": k, "padT": 0, "padW": 0, "padH": 0}
    return lua.module("nn.VolumetricMaxPooling", **fields, ceil_mode=False)


def seq_lstm(inputs: int, outputs: int) -> tm.LuaObject:
    weight, bias = lua.numbers(inputs + outputs, 4 * outputs, dtype="f4"), lua.numbers(4 * outputs, dtype="f4")
    return lua.module("nn.SeqLSTM", inputsize=inputs, outputsize=outputs, weight=weight, bias=bias, batchfirst=False)


def pool(k: int, d: int, p: int = 0, kind: str = "Max") -> tm.LuaObject:
    fields = {"kW": k, "kH": k, "dW": d, "dH": d, "padW": p, "padH": p, "ceil_mode": False}
    more = {"count_include_pad": True, "divide": True} if kind == "Average" else {}
    return lua.module(f"nn.Spatial{kind}Pooling", **fields, **more)


def longs(*numbers: int) -> tm.Storage:
    return tm.Storage("torch.LongStorage", np.array(numbers, "<i8"))


def view(*size: int, dims: int | None = None) -> tm.LuaObject:
    fields: list[tuple[str, Any]] = [("size", longs(*size)), ("numElements", float(abs(int(np.prod(size)))))]
    return tm.LuaObject("nn.View", tm.LuaTable([*fields, *([("numInputDims", float(dims))] if dims else [])]))


def reshape(*size: int) -> tm.LuaObject:
    fields = [("size", longs(*size)), ("nelement", float(np.prod(size))), ("batchsize", longs(0, *size))]
    return tm.LuaObject("nn.Reshape", tm.LuaTable(fields))


def linear(inputs: int, outputs: int = 3) -> tm.LuaObject:
    return lua.linear(inputs, outputs, dtype="f4")


def lookup(rows: int, width: int) -> tm.LuaObject:
    return lua.module("nn.LookupTable", weight=lua.numbers(rows, width, dtype="f4"))


def temporal(frame: int, outputs: int, k: int) -> tm.LuaObject:
    fields = {"inputFrameSize": frame, "outputFrameSize": outputs, "kW": k, "dW": 1}
    weight = lua.numbers(outputs, k * frame, dtype="f4")
    return lua.module("nn.TemporalConvolution", **fields, weight=weight, bias=lua.numbers(outputs, dtype="f4"))


def chain(*modules: tm.LuaObject) -> tm.LuaObject:
    return lua.sequential(*modules)


def table(name: str, *modules: tm.LuaObject, **fields: Any) -> tm.LuaObject:
    return lua.module(f"nn.{name}", modules=list(modules), **fields)


RELU = lua.module("nn.ReLU", threshold=0, val=0, inplace=False)


class Graph:
    """Builds an nn.gModule as nngraph saves it."""

    def __init__(self) -> None:
        self.nodes: list[tm.LuaObject] = []

    def __call__(self, module: tm.LuaObject | None, *sources: tm.LuaObject, **fields: Any) -> tm.LuaObject:
        data = lua.value({"annotations": {}, **fields})
        if module is not None:
            data["module"] = module
        data["mapindex"] = tm.LuaTable.from_list([source["data"] for source in sources])
        node = lua.module("nngraph.Node", id=len(self.nodes) + 1, children=[])
        node.fields["data"] = data
        self.nodes.append(node)
        return node

    def module(self, start: tm.LuaObject, *outputs: tm.LuaObject) -> tm.LuaObject:
        end = self(None, *outputs)
        made = [node["data"].get("module") for node in self.nodes]
        graph = table("gModule", *[module for module in made if module is not None])
        for name, value in (("innode", start), ("outnode", end), ("forwardnodes", lua.value(self.nodes))):
            graph.fields[name] = value
        return graph


def cell(first: tm.LuaObject, inputs: int, units: int) -> tm.LuaObject:
    """An LSTM cell of char-rnn: {x, c, h} become {c, h}; `first` makes `inputs` numbers of x."""

    def node(kind: str, *sources: tm.LuaObject) -> tm.LuaObject:
        return graph(lua.module(f"nn.{kind}", inplace=False), *sources)

    graph = Graph()
    start = graph(None)
    x, c, h = [graph(lua.module("nn.Identity"), graph(None, start, selectindex=i)) for i in (1, 2, 3)]
    gates = node("CAddTable", graph(linear(inputs, 4 * units), graph(first, x)), graph(linear(units, 4 * units), h))
    split = graph(lua.module("nn.SplitTable", dimension=2), graph(reshape(4, units), gates))
    parts = [graph(None, split, selectindex=i) for i in (1, 2, 3, 4)]
    i, f, o = [graph(lua.module("nn.Sigmoid"), part) for part in parts[:3]]
    c = node("CAddTable", node("CMulTable", f, c), node("CMulTable", i, graph(lua.module("nn.Tanh"), parts[3])))
    return graph.module(start, c, node("CMulTable", o, graph(lua.module("nn.Tanh"), c)))

"""Containers of package nn: modules that hold modules."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from ...model.layer import Layer
from ...model.registry import converts, converts_to, module_form
from ...model.traits import Traits
from ...source.forms import Structure
from ...t7 import LuaObject, LuaTable, Value
from ..pointwise.softmax import LogSoftMax, SoftMax
from ..reshaping.slices import zero_based


@converts("nn.Sequential", traits=Traits(output="children", flow="chain"))
def sequential(layer: Layer) -> nn.Sequential:
    """nn.Sequential()"""
    return nn.Sequential(*layer.modules())


class ConcatTable(nn.ModuleList):
    """Gives its input to every child; returns the list of their outputs."""

    def forward(self, x: Any) -> list[Any]:
        return [module(x) for module in self]


module_form("structure", ConcatTable)(Structure(flow="branches"))


@converts("nn.ConcatTable", traits=Traits(output="children", flow="branches"))
def concat_table(layer: Layer) -> ConcatTable:
    """nn.ConcatTable()"""
    return ConcatTable(layer.modules())


class ParallelTable(nn.ModuleList):
    """Gives the i-th entry of its input list to the i-th child; returns the list of their outputs."""

    def forward(self, x: list[Any]) -> list[Any]:
        return [module(x[i]) for i, module in enumerate(self)]


module_form("structure", ParallelTable)(Structure(flow="entries"))


@converts("nn.ParallelTable", traits=Traits(output="children", flow="entries"))
def parallel_table(layer: Layer) -> ParallelTable:
    """nn.ParallelTable()"""
    return ParallelTable(layer.modules())


module_form("cell part", ConcatTable, ParallelTable)("function")
module_form("followed", ConcatTable, ParallelTable)(True)


class Concat(nn.ModuleList):
    """Gives its input to every child and joins their outputs along `dim` (0-based, the batch counts)."""

    def __init__(self, modules: list[nn.Module], dim: int) -> None:
        super().__init__(modules)
        self.dim = dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([module(x) for module in self], self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


module_form("structure", Concat)(Structure(flow="joined"))
module_form("followed", Concat)(True)


@converts("nn.Concat", traits=Traits(flow="joined", picture="merge"))
def concat(layer: Layer) -> Concat:
    """nn.Concat(dim)"""
    layer.ignore("outputSize")
    return Concat(layer.modules(), zero_based(layer, "dimension"))


converts_to(nn.Identity, "nn.Identity", traits=Traits(output="pass", flow="same", keeps_size=True, keeps_numbers=True))


class Parallel(nn.ModuleList):
    """Gives the i-th slice of its input along `input_dim` to the i-th child; joins the outputs along `output_dim`.

    The dimensions are 0-based, and the batch counts.
    """

    def __init__(self, modules: list[nn.Module], input_dim: int, output_dim: int) -> None:
        super().__init__(modules)
        self.input_dim = input_dim
        self.output_dim = output_dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = [self[i](x.select(self.input_dim, i)) for i in range(x.shape[self.input_dim])]
        return torch.cat(outputs, self.output_dim)

    def extra_repr(self) -> str:
        return f"input_dim={self.input_dim}, output_dim={self.output_dim}"


@converts("nn.Parallel", traits=Traits(flow="slices"))
def parallel(layer: Layer) -> Parallel:
    """nn.Parallel(inputDimension, outputDimension)"""
    layer.ignore("totalOutputSize")
    return Parallel(layer.modules(), zero_based(layer, "inputDimension"), zero_based(layer, "outputDimension"))


def padded_join(outputs: list[torch.Tensor], dim: int) -> torch.Tensor:
    """Joins tensors along a dimension (0-based); zeros surround those that are smaller along another."""
    sizes = [max([y.shape[d] for y in outputs]) for d in range(outputs[0].dim())]
    padded: list[torch.Tensor] = []
    for x in outputs:
        pads: list[int] = []
        for back in range(x.dim()):
            d = x.dim() - 1 - back
            missing = 0 if d == dim else sizes[d] - x.shape[d]
            pads += [missing // 2, missing - missing // 2]
        padded.append(functional.pad(x, pads) if max(pads) > 0 else x)
    return torch.cat(padded, dim)


fx.wrap("padded_join")


class PaddedJoin(nn.Module):
    """Joins the entries of a list along `dim` (0-based, the batch counts); zeros surround the smaller ones."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, outputs: list[torch.Tensor]) -> torch.Tensor:
        return padded_join(outputs, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class DepthConcat(nn.ModuleList):
    """Joins the outputs of its children along `dim` (0-based, the batch counts); zeros surround the smaller ones."""

    def __init__(self, modules: list[nn.Module], dim: int) -> None:
        super().__init__(modules)
        self.dim = dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return padded_join([module(x) for module in self], self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


module_form("followed", DepthConcat)(True)
module_form("structure", DepthConcat)(Structure(flow="padded"))


@converts("nn.DepthConcat", traits=Traits(flow="joined", picture="merge"))
def depth_concat(layer: Layer) -> DepthConcat:
    """nn.DepthConcat(dim)"""
    layer.ignore("outputSize")
    return DepthConcat(layer.modules(), zero_based(layer, "dimension"))


class MapTable(nn.ModuleList):
    """Gives each entry of its input list to a child of its own, or to the first one where there are no more."""

    def forward(self, x: list[Any]) -> list[Any]:
        return [self[i if i < len(self) else 0](item) for i, item in enumerate(x)]


module_form("structure", MapTable)(Structure(flow="mapped", lists=True))
module_form("followed", MapTable)(True)


@converts("nn.MapTable", traits=Traits(reuses="storage", output="children"))
def map_table(layer: Layer) -> MapTable:
    """nn.MapTable(module, [shared = true])

    Torch7 clones the module for the entries of its first input; clones that have the same parameters become one.
    """
    layer.ignore("sharedparams")
    children = layer.value("modules").list()
    held = layer.value("module", None)
    if isinstance(held, LuaObject) and children and children[0] is not held:
        layer.note("its field `module` is another one than the first of its `modules`, in whose place Torch7 puts it")
        children[0] = held
    if all(layer.are_clones(child, children[0]) for child in children[1:]):
        layer.ignore("modules")
        if not layer.flag("shared", default=True):
            layer.note("shared = false, but the file holds one module: all entries share its parameters from now on")
        return MapTable([layer.convert(children[0], "1")])
    layer.ignore("shared")
    return MapTable([layer.convert(child, str(i)) for i, child in enumerate(children, 1)])


class Bottle(nn.Module):
    """Runs a module that takes `input_dims` dimensions on larger inputs: their first ones are merged meanwhile."""

    def __init__(self, module: nn.Module, input_dims: int = 2) -> None:
        super().__init__()
        self.module = module
        self.input_dims = input_dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        merged = x.dim() - self.input_dims
        out: torch.Tensor = self.module(x.flatten(0, merged) if merged > 0 else x)
        sizes = list(x.shape[:merged]) + [-1] + list(out.shape[1:])  # noqa: RUF005 - as TorchScript has it
        return out.reshape(sizes) if merged > 0 else out

    def extra_repr(self) -> str:
        return f"input_dims={self.input_dims}"


@module_form("stock", Bottle)
def _stock(module: Bottle, x: torch.Tensor) -> nn.Module | None:
    """A layer of torch.nn that works on the last dimension, however many there are before."""
    if isinstance(module.module, (SoftMax, LogSoftMax)):
        return (nn.Softmax if isinstance(module.module, SoftMax) else nn.LogSoftmax)(x.dim() - 1)
    return module.module if type(module.module) is nn.Linear else None


@converts("nn.Bottle", traits=Traits(output="children", flow="wrapper", merges_dims=True))
def bottle(layer: Layer) -> Bottle:
    """nn.Bottle(module, [nInputDim = 2], [nOutputDim = nInputDim])"""
    layer.ignore("nOutputDim", "dimDelta", "inShape", "outShape")  # what the module returns says the same
    return Bottle(only_child(layer), layer.integer("nInputDim", 2))


def only_child(layer: Layer) -> nn.Module:
    """The module that a decorator holds: the first of its `modules`."""
    children = layer.value("modules", None)
    child = children.get(1) if isinstance(children, LuaTable) else None
    if child is None:
        layer.refuse("it holds no module")
    return layer.convert(child, "1")


def run_child(layer: Layer, *names: str) -> nn.Module:
    """The module that a layer runs: the one in the first of these fields that it has, else the first of its `modules`.

    Where the two are not the same object, evaluate() does not reach the one that Torch7 runs.
    """
    name = next((name for name in names if isinstance(layer.object.get(name), LuaObject)), None)
    children = layer.object.get("modules")
    listed = children.get(1) if isinstance(children, LuaTable) else None
    if name is None or layer.object.get(name) is listed:
        layer.ignore(*names)
        return only_child(layer)
    layer.ignore("modules", *names)
    module = layer.module(name)
    if listed is not None:
        layer.note(f"its field `{name}`, which Torch7 runs, is another module than the first of its `modules`")
        if _trains(layer.value(name)) and any(map(_differs_in_training, module.modules())):
            layer.refuse(f"evaluate() does not reach its `{name}`, parts of which would go on training")
    return module


def _trains(obj: Value) -> bool:
    """Is an object, or one that it holds, saved in training mode?"""
    children = obj.get("modules") if isinstance(obj, LuaObject) else None
    below = children.list() if isinstance(children, LuaTable) else []
    return isinstance(obj, LuaObject) and (obj.get("train") is True or any(map(_trains, below)))


def _differs_in_training(module: nn.Module) -> bool:
    """Does a method of its class read whether it trains?"""
    if isinstance(module, nn.RNNBase) and not module.dropout:
        return False
    classes = [cls for cls in type(module).__mro__ if issubclass(cls, nn.Module) and cls is not nn.Module]
    methods = [method for cls in classes for method in vars(cls).values() if isinstance(method, FunctionType)]
    return any("training" in method.__code__.co_names for method in methods)


@converts("nn.Container")
def container(layer: Layer) -> nn.ModuleList:
    """nn.Container()

    It only holds its children and can't be run: in Torch7 it returns whatever is in its output buffer.
    """
    layer.note("a bare nn.Container only holds its children; it can't be run")
    return nn.ModuleList(layer.modules())


@converts("nn.Module")
def module(layer: Layer) -> nn.Module:
    """nn.Module()

    The abstract class can't be run: in Torch7 it returns whatever is in its output buffer.
    """
    layer.note("a bare nn.Module computes nothing; it can't be run")
    return nn.Module()

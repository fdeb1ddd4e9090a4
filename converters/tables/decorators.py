"""Decorators of package nn, cunn, dpnn: modules around a module, and modules that pass their input on.

What only prints, measures, checks or moves data between GPUs becomes the module that it holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...t7 import LuaFunction, LuaTable, Tensor, Value
from ...t7.values import ELEMENT_TYPES
from ..reshaping.slices import zero_based
from .containers import Concat, only_child


@converts("nn.Decorator", traits=Traits(output="children", flow="wrapper"))
def decorator(layer: Layer) -> nn.Module:
    """nn.Decorator(module)

    It becomes the module that it holds.
    """
    return only_child(layer)


@converts("nn.Profile", traits=Traits(output="children"))
def profile(layer: Layer) -> nn.Module:
    """nn.Profile(module, [print_interval], [name])

    It becomes the module that it holds; no times are printed.
    """
    layer.ignore("module", "name", "print_interval", "timer", "numFwds", "numBwds", "summedFwdTime", "summedBwdTime")
    return only_child(layer)


@converts("nn.NaN", traits=Traits(output="children"))
def nan(layer: Layer) -> nn.Module:
    """nn.NaN(module, [id])

    It becomes the module that it holds.
    """
    layer.ignore("id")
    layer.note("Torch7 stops at a NaN here; the converted model does not check")
    return only_child(layer)


@converts("nn.PrintSize", "nn.Print", traits=Traits(reuses="nothing", safe_on_own_output=True, output="pass"))
def print_size(layer: Layer) -> nn.Identity:
    """nn.PrintSize([prefix]), of dpnn; nn.Print([label]), of kaishengtai/torch-ntm

    It becomes nn.Identity; nothing is printed.
    """
    layer.ignore("prefix", "label", "msg", "printInput", "printGradOutput", "just_dimensions")
    return nn.Identity()


@converts("nn.Serial", traits=Traits(output="children"))
def serial(layer: Layer) -> nn.Module:
    """nn.Serial(module, [tensortype])

    It becomes the module that it holds. With a tensor type, the file holds numbers of that type.
    """
    layer.ignore("tensortype")
    return only_child(layer)


@converts("nn.GPU", traits=Traits(output="children", flow="chain"))
def gpu(layer: Layer) -> nn.Module:
    """nn.GPU(module, device, [outdevice])

    It becomes the module that it holds; the model lives on one device.
    """
    layer.ignore("device", "outdevice")
    return only_child(layer)


@converts("nn.DataParallelTable", traits=Traits(output="children", flow="replicas"))
@converts("nn.DataParallel", traits=Traits(output="children", flow="wrapper", unproven="it needs several GPUs"))
def data_parallel_table(layer: Layer) -> nn.Module:
    """nn.DataParallelTable(dimension, [flattenParams], [usenccl])

    It becomes the first of its replicas, which all hold the same parameters.
    """
    layer.ignore("dimension", "gpuAssignments", "gpu_assignments", "container_gpuid", "typeStr", "impl", "usenccl")
    layer.ignore("flattenParams", "flattenedParams", "needsSync", "inputGpu", "outputGpu", "gradInputGpu")
    layer.ignore("gradOutputGpu", "input_gpu", "gradOutput_gpu", "gradInput_gpu", "output_gpu", "batchSize", "modules")
    return only_child(layer)


@converts("nn.ModelParallel", traits=Traits(flow="joined", unproven="it needs several GPUs"))
def model_parallel(layer: Layer) -> Concat:
    """nn.ModelParallel(dimension), of fbcunn

    Every child gets the input; their outputs are joined.
    """
    layer.ignore("container_gpuid", "gpu_assignments", "input_gpu", "gradOutput_gpu", "gradInput_gpu", "output_gpu")
    return Concat(layer.modules(), zero_based(layer, "dimension"))


@converts("nn.Inception", traits=Traits(reads="images", picture="weights"))
def inception(layer: Layer) -> nn.Module:
    """nn.Inception{inputSize, outputSize, reduceSize, [reduceStride], [transfer], …}, of dpnn

    It becomes the nn.DepthConcat that it builds.
    """
    layer.ignore("inputSize", "outputSize", "reduceSize", "reduceStride", "transfer", "batchNorm", "padding")
    layer.ignore("kernelSize", "kernelStride", "poolSize", "poolStride", "pool")
    return only_child(layer)


@converts("nn.FireModule", traits=Traits(safe_on_own_output=True, reads="numbers"))
def fire_module(layer: Layer) -> nn.Module:
    """nn.FireModule(nInputPlane, s1x1, e1x1, e3x3, [activation = 'ReLU']), of dpnn

    It becomes the nn.Sequential that it builds.
    """
    layer.ignore("nInputPlane", "s1x1", "e1x1", "e3x3", "activation", "module", "squeeze", "expand")
    return only_child(layer)


class Cast(nn.Module):
    """Converts tensors, also those in nested lists, to the type of its buffer `like`, which is empty."""

    like: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("like", torch.empty(0))

    def forward(self, x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return x.to(self.like.dtype)
        return [self.forward(item) for item in x]


def cast_to(dtype: torch.dtype) -> Cast:
    """A Cast to a type."""
    module = Cast()
    module.like = torch.empty(0, dtype=dtype)
    return module


def dtype_in(layer: Layer, name: str) -> torch.dtype | None:
    """The type of the tensor in a field, or of the first one in its nested tables: the type that Torch7 uses there."""
    value: Value = layer.value(name, None)
    while isinstance(value, LuaTable):
        value = value.get(1)
    return dtype_of(value.type) if isinstance(value, Tensor) else None


def dtype_of(kind: str) -> torch.dtype | None:
    """The type that "torch.FloatTensor" and the like become here (Half is widened to float32)."""
    element = ELEMENT_TYPES.get(kind.removeprefix("torch.").removesuffix("Tensor"))
    if element is None:
        return None
    return torch.float32 if element.name == "float16" else torch.from_numpy(np.empty(0, element.name)).dtype


class Copy(nn.Module):
    """Copies its input, behind which a layer may work in place."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clone()


class CopyingCast(Cast):
    """Converts a tensor to the type of its buffer `like`, always into memory of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.like.dtype, copy=True)


module_form("copying", nn.Identity)(Copy)
module_form("copying", Cast)(CopyingCast)


@converts("nn.Copy", traits=Traits(output="copy", keeps_size=True, keeps_numbers=True))
def copy(layer: Layer) -> nn.Identity | Cast:
    """nn.Copy([inputType], [outputType], [forceCopy], [dontCast])"""
    layer.ignore("dontCast", "updateOutput", "updateGradInput")  # functions of its own where the types are equal
    source, target = dtype_in(layer, "gradInput"), dtype_in(layer, "output")
    if isinstance(layer.object.get("updateOutput"), LuaFunction):
        layer.traits(
            output="pass", reuses="nothing"
        )  # where the types are equal, Torch7 replaces the method by one that copies nothing
    return nn.Identity() if target is None or source == target else cast_to(target)


@converts("nn.DontCast")
def dont_cast(layer: Layer) -> nn.Module:
    """nn.DontCast(module, [castin = false], [castout = castin], [moduleType])

    Without casts it becomes the module that it holds.
    """
    module = only_child(layer)
    castin = layer.flag("castin", default=False)
    castout = layer.flag("castout", default=castin)
    inner = dtype_of(layer.text("moduleType", ""))
    outer = dtype_in(layer, "output")
    parts = [module]
    if castin and inner is not None:
        parts.insert(0, cast_to(inner))
    if castout and outer is not None:
        parts.append(cast_to(outer))
    return nn.Sequential(*parts) if len(parts) > 1 else module

"""From modules to the constructor calls that make their like."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..model.architecture import RECURRENT, constructor_arguments
from .forms import structure_of
from .scopes import Argument, Constructor

#: Arguments that PyTorch takes as one number for all axes.
_PER_AXIS = ("kernel_size", "stride", "padding", "dilation", "output_padding", "output_size")


def constructor_of(module: nn.Module) -> Constructor:
    """The constructor call of any module that the converters make, submodules in its arguments included."""
    cls = type(module)
    stock = cls.__module__.startswith("torch.nn")
    name = f"nn.{cls.__name__}" if stock else cls.__name__
    own = None if stock else cls
    if isinstance(module, (nn.Sequential, nn.ModuleList)):
        kids = [constructor_of(kid) for kid in module]
        if type(module) is nn.Sequential:
            return Constructor(name, kids=kids)
        args = _arguments(module, cls)
        if isinstance(module, nn.Sequential):  # a user's own
            return Constructor(name, args, kids=kids, own=own)
        if structure_of(module).flow == "graph":
            for call in (call for kid in kids for call in kid.walk()):
                call.fixed = True
        return Constructor(name, [Argument("modules", kids), *args], own=own)
    return Constructor(name, _arguments(module, cls), module=module, own=own)


def _arguments(module: nn.Module, cls: type) -> list[Argument]:
    own = {name: parameter.default for name, parameter in inspect.signature(cls).parameters.items()}
    defaults = {**RECURRENT, "nonlinearity": "tanh", **own}
    found: list[Argument] = []
    for name, value in constructor_arguments(module).items():
        if name == "bias" and isinstance(module, _BatchNorm) and not module.affine:
            continue  # it says nothing, and PyTorch 2.9 does not know it
        default = defaults.get(name, inspect.Parameter.empty)
        written = _written(module, name, value)
        if name == "stride" and isinstance(module, _POOLS):
            default = _written(module, "kernel_size", module.kernel_size)
        found.append(Argument(name, written, default is inspect.Parameter.empty, default))
    return found


_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


def _written(module: nn.Module, name: str, value: Any) -> Any:
    if isinstance(value, nn.Module):
        return constructor_of(value)
    if isinstance(value, list) and value and all(isinstance(item, nn.Module) for item in value):
        return [constructor_of(item) for item in value]
    stock = any(cls.__module__.startswith("torch.nn.modules.") and cls is not nn.Module for cls in type(module).__mro__)
    if stock and name in _PER_AXIS and isinstance(value, tuple) and len(set(value)) == 1:
        return value[0]
    return value

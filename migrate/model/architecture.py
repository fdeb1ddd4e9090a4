"""Describes a converted module as JSON (class, constructor arguments, children) and makes it again from that.

It works because every module that a converter makes follows one rule: its constructor takes hyperparameters and
submodules only, and keeps each under its own name. `torch.nn` does the same, with the exceptions below.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from ..base.errors import UsageError
from . import registry

Description = dict[str, Any]

#: Constructor arguments of torch.nn that say where and how to allocate, or that are deprecated.
_SKIPPED = frozenset({"device", "dtype", "size_average", "reduce"})

#: torch.nn's recurrent layers take *args; these are their arguments, and what they are by default.
RECURRENT = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}

_CONTAINERS = (nn.Sequential, nn.ModuleList)


def describe(module: nn.Module) -> Description:
    """The class, constructor arguments and children of a module, as JSON values.

    A module met a second time is described as `{"shared": n}`, the n-th described one.

    Raises:
        UsageError: a module breaks the rule that makes this possible; only a plugin's can.
    """
    return _describe(module, {})


def _describe(module: nn.Module, seen: dict[int, int]) -> Description:
    if id(module) in seen:
        return {"shared": seen[id(module)]}
    seen[id(module)] = len(seen)
    made: Description = {"class": f"{_home(type(module))}.{type(module).__qualname__}"}
    args = {name: _encode(value, seen) for name, value in constructor_arguments(module).items()}
    if args:
        made["args"] = args
    if isinstance(module, _CONTAINERS):
        made["children"] = {
            name: _describe(child, seen) for name, child in module._modules.items() if child is not None
        }
    return made


def _home(cls: type) -> str:
    """The module to import a class from; torch.nn for its own."""
    return "torch.nn" if cls.__module__.startswith("torch.nn.") else cls.__module__


def constructor_arguments(module: nn.Module) -> dict[str, Any]:
    """The arguments with which the module's constructor would make its like (children of containers left out).

    Values are numbers, strings, None, lists, dtypes, modules and lists of modules.

    Raises:
        UsageError: an argument is not kept as an attribute of the same name.
    """
    cls = type(module)
    if isinstance(module, nn.RNNBase):
        names = ["input_size", "hidden_size", *RECURRENT, *(["nonlinearity"] if isinstance(module, nn.RNN) else [])]
        return {name: getattr(module, name) for name in names}
    found = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or name in _SKIPPED or name[0] == "_":
            continue
        if isinstance(module, _CONTAINERS) and name == "modules":
            continue
        if not hasattr(module, name):
            if parameter.default is not parameter.empty and _home(cls) == "torch.nn":
                continue
            raise UsageError(
                f"{cls.__module__}.{cls.__qualname__} must keep its constructor argument {name!r} as self.{name}"
            )
        value = getattr(module, name)
        if isinstance(parameter.default, bool) and (value is None or isinstance(value, torch.Tensor)):
            value = value is not None  # bias=True makes a bias
        if isinstance(value, nn.ModuleList) and type(value) is nn.ModuleList:
            value = list(value)
        found[name] = value
    return found


def _encode(value: Any, seen: dict[int, int]) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else {"float": repr(value)}
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, seen) for item in value]}
    if isinstance(value, list):
        return [_encode(item, seen) for item in value]
    if isinstance(value, nn.Module):
        return {"module": _describe(value, seen)}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.Tensor):
        return {"tensor": list(value.shape)}
    raise UsageError(f"a constructor argument of type {type(value).__name__} can't be saved: {value!r}")


def restore(description: Description) -> nn.Module:
    """Makes the module of a description, its parameters and buffers on the meta device.

    Raises:
        UsageError: the description names a class that is neither torch.nn's, torchmigrate's nor a loaded plugin's.
    """
    with torch.device("meta"):
        return _restore(description, [])


def _restore(description: Description, made: list[nn.Module | None]) -> nn.Module:
    if "shared" in description:
        shared = made[description["shared"]]
        if shared is None:
            raise UsageError("the architecture in config.json refers to a module before it is complete")
        return shared
    place = len(made)
    made.append(None)
    cls = _find(description["class"])
    args = {name: _decode(value, made) for name, value in description.get("args", {}).items()}
    if issubclass(cls, _CONTAINERS):
        children = {name: _restore(child, made) for name, child in description["children"].items()}
        if issubclass(cls, nn.Sequential):
            module: nn.Module = cls(OrderedDict(children), **args)
        else:
            module = cls(list(children.values()), **args)
    else:
        module = cls(**args)
    made[place] = module
    return module


def _find(name: str) -> type[nn.Module]:
    home, _, attribute = name.rpartition(".")
    if home.startswith(registry.ENTRY_POINTS):
        found: object = registry.module_class(home, attribute)
    elif home == "torch.nn" or home.startswith("torchmigrate."):
        found = getattr(importlib.import_module(home), attribute, None)
    elif home.startswith("torchmigrate_plugin_") and home in sys.modules:
        found = getattr(sys.modules[home], attribute, None)
    else:
        raise UsageError(f"The model needs the class {name}, which a plugin defines: pass that plugin file.")
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UsageError(f"There is no module class {name} in this version of its package.")
    return found


def _decode(value: Any, made: list[nn.Module | None]) -> Any:
    if isinstance(value, list):
        return [_decode(item, made) for item in value]
    if isinstance(value, dict):
        (kind, content), *rest = value.items()
        if not rest and kind == "float":
            return float(content)
        if not rest and kind == "tuple":
            return tuple(_decode(item, made) for item in content)
        if not rest and kind == "module":
            return _restore(content, made)
        if not rest and kind == "dtype":
            return getattr(torch, content)
        if not rest and kind == "tensor":
            return torch.empty(content)
        raise UsageError(f"config.json holds an argument of unknown form: {value!r}")
    return value

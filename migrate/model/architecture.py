"""Describes a converted module as JSON (class, constructor arguments, children) and makes it again from that.

It works because every module that a converter makes follows one rule: its constructor takes hyperparameters and
submodules only, and keeps each under its own name. `torch.nn` does the same, with the exceptions below.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..base.errors import UsageError
from ..base.messages import cut
from . import registry

Description = dict[str, Any]

#: Constructor arguments of torch.nn that say where and how to allocate, or that are deprecated.
_SKIPPED = frozenset({"device", "dtype", "size_average", "reduce"})

#: torch.nn's recurrent layers take *args; these are their arguments, and what they are by default.
RECURRENT = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

_CONTAINERS = (nn.Sequential, nn.ModuleList)

#: A little more than `build.MAX_DEPTH`: few layers become modules in each other. It bounds the recursion.
_MAX_DEPTH = 200


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
    usual = _defaults(type(module))
    args = {
        name: _encode(value, seen)
        for name, value in constructor_arguments(module).items()
        if not (name in usual and _is_equal(value, usual[name], each_axis=isinstance(module, _CONVOLUTIONS)))
    }
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
    found: dict[str, Any] = {}
    if isinstance(module, nn.RNNBase):
        names = ["input_size", "hidden_size", *RECURRENT, *(["nonlinearity"] if isinstance(module, nn.RNN) else [])]
        found = {name: getattr(module, name) for name in names}
        if _home(cls) == "torch.nn":
            return found
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


def _defaults(cls: type[nn.Module]) -> dict[str, Any]:
    """What a class of torch.nn takes where nothing is given; of our own, which may change, all is written."""
    if _home(cls) != "torch.nn":
        return {}
    if issubclass(cls, nn.RNNBase):
        return RECURRENT
    parameters = inspect.signature(cls).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}


def _is_equal(value: Any, default: Any, *, each_axis: bool) -> bool:
    """Is it the default, or of a layer that keeps a number for each axis the default of each?"""
    if each_axis and isinstance(value, tuple) and type(default) is int:
        return bool(value) and all(type(item) is int and item == default for item in value)
    return type(value) is type(default) and bool(value == default)


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


def restore(description: Description, tensors: int | None = None) -> nn.Module:
    """Makes the module of a description, its parameters and buffers on the meta device.

    Args:
        description: as `describe` gives it, perhaps of a stranger.
        tensors: how many tensors there are for the module; None: it is not known. A constructor that makes many more
            is stopped.

    Raises:
        UsageError: the description names a class that is neither torch.nn's, torchmigrate's nor a loaded plugin's, or
            is none; it says in which place.
    """
    try:
        with torch.device("meta"), _FewTensors(tensors):
            return _Restoring().module(description, "architecture")
    except RecursionError as error:
        raise UsageError("config.json: its architecture is nested deeper than any model") from error


#: A module makes a few tensors, and fills each.
_OPERATORS_PER_TENSOR, _OPERATORS_AT_LEAST = 100, 2000


class _FewTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Stops constructors that would make tensors without end."""

    def __init__(self, tensors: int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = math.inf if tensors is None else max(_OPERATORS_AT_LEAST, _OPERATORS_PER_TENSOR * tensors)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ValueError("it makes more tensors than there are")
        return func(*args, **(kwargs or {}))


class _Restoring:
    """Makes modules of descriptions, which may be anything that JSON can say."""

    def __init__(self) -> None:
        self.made: list[nn.Module | None] = []
        self.depth = 0

    def module(self, description: Any, place: str) -> nn.Module:
        """The module that is described in a place of config.json."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise UsageError(f"config.json: modules are nested more than {_MAX_DEPTH} deep at {place[:200]}…")
        try:
            return self._module(_part(description, place), place)
        finally:
            self.depth -= 1

    def _module(self, description: Description, place: str) -> nn.Module:
        if "shared" in description:
            number = description["shared"]
            if type(number) is not int or not 0 <= number < len(self.made):
                raise UsageError(
                    f"config.json: {place}.shared is not the number of a module before it: {str(number)[:100]}"
                )
            shared = self.made[number]
            if shared is None:
                raise UsageError(f"config.json: {place} refers to a module before it is complete")
            return shared
        number = len(self.made)
        self.made.append(None)
        if not isinstance(description.get("class"), str):
            raise UsageError(f"config.json: {place}.class should be the name of a class")
        cls = _find(description["class"])
        args = {
            name: self._decode(value, f"{place}.args.{name}")
            for name, value in _part(description.get("args", {}), f"{place}.args").items()
        }
        if odd := [name for name in args if name in _SKIPPED or name[:1] == "_"]:
            raise UsageError(f"config.json: {place}.args has {odd[0]}, which torchmigrate never writes")
        children: dict[str, nn.Module] = {}
        if issubclass(cls, _CONTAINERS):
            inside = _part(description.get("children"), f"{place}.children")
            children = {name: self.module(child, f"{place}.children.{name}") for name, child in inside.items()}
        try:
            make = cast(Callable[..., nn.Module], cls)
            if not issubclass(cls, _CONTAINERS):
                made = make(**args)
            else:
                held = OrderedDict(children) if issubclass(cls, nn.Sequential) else list(children.values())
                made = make(held, **args)
        except Exception as error:  # a constructor may raise anything
            said = f"{type(error).__name__}: {error}"[:300]
            raise UsageError(f"config.json: {place} can't be made: {description['class']}: {said}") from error
        self.made[number] = made
        return made

    def _decode(self, value: Any, place: str) -> Any:
        if isinstance(value, list):
            return [self._decode(item, f"{place}[{i}]") for i, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((kind, content),) = value.items()
            if kind == "float" and content in ("nan", "inf", "-inf"):
                return float(content)
            if kind == "tuple" and isinstance(content, list):
                return tuple(self._decode(item, f"{place}[{i}]") for i, item in enumerate(content))
            if kind == "module":
                return self.module(content, place)
            if kind == "dtype" and isinstance(content, str):
                found = vars(torch).get(content)
                if isinstance(found, torch.dtype):
                    return found
            if kind == "tensor" and isinstance(content, list) and all(type(n) is int and n >= 0 for n in content):
                return self._tensor(content, place)
        raise UsageError(f"config.json: {place} is an argument of unknown form: {str(value)[:200]}")

    def _tensor(self, sizes: list[int], place: str) -> torch.Tensor:
        try:
            return torch.empty(sizes)
        except (RuntimeError, OverflowError, TypeError) as error:
            raise UsageError(f"config.json: {place} has no size of a tensor: {error}") from error


def _part(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"config.json: {place} should be an object")
    return value


def _find(name: str) -> type[nn.Module]:
    home, _, attribute = name.rpartition(".")
    if home.startswith(registry.ENTRY_POINTS):
        found: object = registry.module_class(home, attribute)
    elif home == "torch.nn" or home.startswith("torchmigrate."):
        found = _imported(home, attribute)
    elif home.startswith(registry.PLUGIN) and (of_plugin := registry.plugin_class(home, attribute)) is not None:
        found = of_plugin
    else:
        raise UsageError(f"The model needs the class {cut(name, 200)}, which a plugin defines: pass that plugin file.")
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UsageError(f"There is no module class {cut(name, 200)} in this version of its package.")
    return found


def _imported(home: str, attribute: str) -> object:
    try:
        return getattr(importlib.import_module(home), attribute, None)
    except ImportError:
        return None

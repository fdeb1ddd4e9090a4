"""Constructor calls of generated source, and how values are written."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..model.architecture import constructor_arguments

if TYPE_CHECKING:
    from .scopes import Block

#: Arguments that PyTorch takes as one number for all axes.
_PER_AXIS = ("kernel_size", "stride", "padding", "dilation", "output_padding", "output_size")


#: From so many equal members of a chain on, they are written as one.
_MANY = 3


class Reference(str):
    """The name of a parameter, where an argument stands."""

    __slots__ = ()


@dataclass
class Argument:
    """An argument of a constructor.

    Attributes:
        name: of the parameter.
        value: a literal, a Made, or a list of Mades.
        required: has it no default? Then it is passed by position.
        default: its default.
    """

    name: str
    value: Any
    required: bool = True
    default: Any = None

    @property
    def is_default(self) -> bool:
        """Need it not be written?"""
        return not self.required and _same(self.value, self.default)


@dataclass
class Made:
    """One constructor call.

    Attributes:
        cls: the class as written: "nn.Conv2d", or the name of a class in the same file.
        args: what is passed; values are literals, Mades, or lists of Mades.
        kids: positional module arguments of nn.Sequential; in a class made of a repeated chain, its members.
        module: the converted module whose tensors live here, for a leaf.
        own: the class to copy into the file, if it is none of torch.nn.
        block: the body of the class, if it is one made from the structure of the model.
        inner: attribute of `module` -> the constructor call of what is there, where that is no leaf.
        chain: is it a repeated chain that became a class? Then `kids` are its members.
    """

    cls: str
    args: list[Argument] = field(default_factory=list)
    kids: list[Made] = field(default_factory=list)
    module: nn.Module | None = None
    own: type | None = None
    block: Block | None = None
    inner: dict[str, Made] = field(default_factory=dict)
    chain: bool = False

    @property
    def is_identity(self) -> bool:
        """Does it do nothing?"""
        return self.cls == "nn.Identity"

    @property
    def is_chain(self) -> bool:
        """Is it a plain nn.Sequential?"""
        return self.cls == "nn.Sequential"

    @property
    def is_written_here(self) -> bool:
        """Is it of a class that is made of the structure of the model?"""
        return self.block is not None or self.chain

    def text(self) -> str:
        """The call in Python."""
        parts = [] if self.chain else self.kid_texts()
        parts += [literal(arg.value) for arg in self.args if arg.required]
        parts += [f"{arg.name}={literal(arg.value)}" for arg in self.args if not arg.required and not arg.is_default]
        return f"{self.cls}({', '.join(parts)})"

    def kid_texts(self) -> list[str]:
        """The members of a chain in Python; many of the same class of this file become a comprehension."""
        texts: list[str] = []
        for text, kids in groupby(self.kids, key=Made.text):
            same = list(kids)
            several = len(same) >= _MANY and same[0].is_written_here
            texts += [f"*({text} for _ in range({len(same)}))"] if several else [text] * len(same)
        return texts

    def owns(self, name: str) -> bool:
        """Does what has this name in `module` belong to the leaf itself?"""
        return not any(name == inner or name.startswith(f"{inner}.") for inner in self.inner)

    def children(self) -> list[Made]:
        """The constructor calls inside this one, in the order in which they are written."""
        found = list(self.kids)
        for arg in self.args:
            items = arg.value if isinstance(arg.value, list) else [arg.value]
            found += [item for item in items if isinstance(item, Made)]
        return found


def literal(value: Any) -> str:
    """A value as Python source."""
    if isinstance(value, Made):
        return value.text()
    if isinstance(value, list):
        return f"[{', '.join(literal(item) for item in value)}]"
    if isinstance(value, tuple):
        inner = ", ".join(literal(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float):
        return repr(value) if value - value == 0 else f'float("{value}")'
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, str):
        return '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    if isinstance(value, torch.Tensor):
        return f"torch.empty({list(value.shape)})"
    return str(value) if isinstance(value, torch.dtype) else repr(value)


def leaf(module: nn.Module) -> Made:
    """The constructor call of any module that the converters make, submodules in its arguments included."""
    cls = type(module)
    stock = cls.__module__.startswith("torch.nn")
    name = f"nn.{cls.__name__}" if stock else cls.__name__
    own = None if stock else cls
    if isinstance(module, (nn.Sequential, nn.ModuleList)):
        kids = [leaf(kid) for kid in module]
        if type(module) is nn.Sequential:
            return Made(name, kids=kids)
        args = _arguments(module, cls)
        return Made(name, [Argument("modules", kids), *args], own=own)
    return Made(name, _arguments(module, cls), module=module, own=own)


def _arguments(module: nn.Module, cls: type) -> list[Argument]:
    parameters = inspect.signature(cls).parameters
    found: list[Argument] = []
    for name, value in constructor_arguments(module).items():
        if name == "bias" and isinstance(module, _BatchNorm) and not module.affine:
            continue  # it says nothing, and PyTorch 2.9 does not know it
        empty = inspect.Parameter.empty
        default = parameters[name].default if name in parameters else _RECURRENT_DEFAULTS.get(name, empty)
        written = _written(module, name, value)
        if name == "stride" and isinstance(module, _POOLS):
            default = _written(module, "kernel_size", module.kernel_size)
        found.append(Argument(name, written, default is empty, default))
    return found


_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)

#: torch.nn's recurrent layers take *args.
_RECURRENT_DEFAULTS: dict[str, Any] = {
    "num_layers": 1,
    "bias": True,
    "batch_first": False,
    "dropout": 0.0,
    "bidirectional": False,
    "nonlinearity": "tanh",
}


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, (int, float)) and isinstance(default, (int, float)):
        return isinstance(value, bool) == isinstance(default, bool) and value == default
    return type(value) is type(default) and not isinstance(value, (Made, torch.Tensor)) and bool(value == default)


def _written(module: nn.Module, name: str, value: Any) -> Any:
    if isinstance(value, nn.Module):
        return leaf(value)
    if isinstance(value, list) and value and all(isinstance(item, nn.Module) for item in value):
        return [leaf(item) for item in value]
    stock = any(cls.__module__.startswith("torch.nn.modules.") and cls is not nn.Module for cls in type(module).__mro__)
    if stock and name in _PER_AXIS and isinstance(value, tuple) and len(set(value)) == 1:
        return value[0]
    return value

"""Layer: what a converter sees of a Torch7 object. Typed getters that record what was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, Protocol, TypeVar

import torch
from torch import nn

from ..t7 import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value
from .leftover_fields import LEFTOVERS

P = ParamSpec("P")
M = TypeVar("M", bound=nn.Module)


#: Types of layers that compute in floating numbers.
FLOATING = {
    **dict.fromkeys(("torch.FloatTensor", "torch.CudaTensor"), torch.float32),
    **dict.fromkeys(("torch.DoubleTensor", "torch.CudaDoubleTensor"), torch.float64),
}

#: What is said where numbers were of another type.
MIXED_TYPES = "Torch7 does not run it as it is"

#: Fields that a layer multiplies or adds, for which they have to be of its type.
_OF_THE_LAYERS_TYPE = ("weight", "bias")


class Builder(Protocol):
    """What a layer asks of the conversion that it is part of; see `Build`."""

    def tensor(self, value: Tensor, path: str, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The torch tensor of a field, of a certain type where it is a parameter of a layer of that type."""

    def numbers_of(self, value: Tensor) -> torch.Tensor:
        """The numbers of a tensor that is no parameter."""

    def computed(self, value: torch.Tensor) -> Tensor:
        """A Torch7 tensor that stands for numbers that a converter computed."""

    def module(self, obj: LuaObject, path: str) -> nn.Module:
        """The converted module of an object."""

    def is_converted(self, obj: LuaObject) -> bool:
        """Has this object been met before?"""

    def are_clones(self, a: LuaObject, b: LuaObject) -> bool:
        """Would both become the same module with the same parameters?"""

    def apart(self, obj: LuaObject, path: str) -> tuple[nn.Module, dict[int, Layer]]:
        """What an object would become, and the layer of each module in it; nothing of that enters the model."""

    def put(self, layer: Layer, module: nn.Module, name: str, value: torch.Tensor, source: str) -> None:
        """Gives a module its parameter or buffer."""

    def note(self, path: str, text: str) -> None:
        """Adds a remark to the report."""


class Required:
    """The type of REQUIRED."""


REQUIRED = Required()


class LayerRefused(Exception):
    """Raised by `Layer.refuse`; `Build` collects it with the path."""


class Layer:
    """A Torch7 object on its way to become a torch.nn.Module.

    Every getter records the field that it read; fields that no getter read and that are no training leftovers are
    reported after the conversion. A getter with no default refuses the layer when the field is missing.

    Attributes:
        typename: the class in the file, such as `nn.Linear`.
        version: the version record of the object.
        path: Torch7 path: `modules` indices joined by dots, 1-based; "" is the model itself.
        object: the Lua object.
    """

    def __init__(self, obj: LuaObject, path: str, build: Builder) -> None:
        self.object = obj
        self.typename = obj.typename
        self.version = obj.version
        self.path = path
        self._build = build
        self._read: set[Value] = set()
        self.trains_if_absent = False
        self.refined: dict[str, Any] = {}

    # What is there

    def has(self, name: Value) -> bool:
        """Is the field there, not nil, and (a tensor) not empty?"""
        self._read.add(name)
        value = self.object.get(name)
        return value is not None and not (isinstance(value, Tensor) and value.numel() == 0)

    def value(self, name: Value, default: Value = REQUIRED) -> Value:
        """The field as it was read from the file (nil counts as missing)."""
        self._read.add(name)
        value = self.object.get(name)
        if value is None:
            if default is REQUIRED:
                self.refuse(f"it has no field {name!r}")
            return default
        return value

    def number(self, name: Value, default: float | Required = REQUIRED) -> float:
        """A number field."""
        value = self.value(name, default)
        if isinstance(value, (float, int)) and not isinstance(value, bool):
            return float(value)
        self.refuse(f"its field {name!r} should be a number and is {value!r}")

    def integer(self, name: Value, default: int | Required = REQUIRED) -> int:
        """A number field that must be whole."""
        value = self.number(name, default)
        if value != value or value in (float("inf"), float("-inf")) or value != int(value):
            self.refuse(f"its field {name!r} should be a whole number and is {value!r}")
        return int(value)

    def flag(self, name: Value, default: bool | Required = REQUIRED) -> bool:
        """A boolean field; old files hold 0 and 1."""
        value = self.value(name, default)
        if isinstance(value, (bool, float, int)):
            return bool(value)
        self.refuse(f"its field {name!r} should be a boolean and is {value!r}")

    def text(self, name: Value, default: str | Required = REQUIRED) -> str:
        """A string field."""
        value = self.value(name, default)
        if isinstance(value, str):
            return value
        self.refuse(f"its field {name!r} should be a string and is {value!r}")

    def numbers(self, name: Value, default: tuple[float, ...] | Required = REQUIRED) -> tuple[float, ...]:
        """A list of numbers: a table, a storage (LongStorage) or a 1-D tensor."""
        value = self.value(name, default)
        if isinstance(value, tuple):
            return value
        if isinstance(value, Storage):
            return tuple(float(x) for x in value.data.tolist())
        if isinstance(value, Tensor):
            return tuple(float(x) for x in value.numpy().reshape(-1).tolist())
        if isinstance(value, LuaTable) and value.is_list:
            found = value.list()
            if all(isinstance(x, float) for x in found):
                return tuple(found)
        self.refuse(f"its field {name!r} should be a list of numbers and is {value!r}")

    def integers(self, name: Value, default: tuple[int, ...] | Required = REQUIRED) -> tuple[int, ...]:
        """A list of whole numbers: a table, a storage (LongStorage) or a 1-D tensor."""
        found = self.numbers(name, default)
        if any(x != int(x) for x in found):
            self.refuse(f"its field {name!r} should be a list of whole numbers and is {found!r}")
        return tuple(int(x) for x in found)

    def tensor(self, name: Value) -> torch.Tensor:
        """A tensor field, of the tensor's own size and type (Half as float32), with a storage of its own.

        Weights of another type than their layer's, with which Torch7 does not run it, take that type, which is noted.
        The same Torch7 tensor gives the same torch tensor, so do not change it in place.
        """
        value = self.value(name)
        if not isinstance(value, Tensor):
            self.refuse(f"its field {name!r} should be a tensor and is {value!r}")
        dtype = FLOATING.get(str(self.object.get("_type"))) if name in _OF_THE_LAYERS_TYPE else None
        return self._build.tensor(value, self.path, str(name), dtype)

    def numbers_of(self, value: Tensor) -> torch.Tensor:
        """The numbers of a tensor that is no field of the layer, such as one in a table; no parameter."""
        return self._build.numbers_of(value)

    # Parts

    def module(self, name: Value) -> nn.Module:
        """The converted module in the field `name`; its path is this one's with the name appended."""
        return self.convert(self.value(name), str(name))

    def modules(self, name: Value = "modules") -> list[nn.Module]:
        """The converted modules of a list field, in order; their paths are this one's with 1, 2, … appended."""
        table = self.value(name)
        if not isinstance(table, LuaTable) or not table.is_list:
            self.refuse(f"its field {name!r} should be a list of modules and is {table!r}")
        prefix = "" if name == "modules" else f"{name}."
        return [self.convert(value, f"{prefix}{i}") for i, value in enumerate(table.list(), 1)]

    def convert(self, value: Value, name: str) -> nn.Module:
        """The converted module of a Lua object that this layer holds, found under `name`."""
        if not isinstance(value, LuaObject):
            self.refuse(f"its {name!r} should be a module and is {value!r}")
        return self._build.module(value, f"{self.path}.{name}" if self.path else name)

    def convert_with(self, value: Value, name: str, field: str, numbers: torch.Tensor) -> nn.Module:
        """`convert`, but the tensor `field` of the object has other numbers, maybe computed from this layer's."""
        if isinstance(value, LuaObject):
            fields = LuaTable([*value.items(), (field, self._build.computed(numbers))])
            value = LuaObject(value.typename, fields, version=value.version)
        return self.convert(value, name)

    def apart(self, value: LuaObject, name: str) -> tuple[nn.Module, dict[int, Layer]]:
        """What an object that this layer holds would become by itself, for one who writes it in another way.

        Returns:
            The module, of which nothing enters the model, and by the id of each module in it the layer that became it,
            whose tensors can be put into a module that does.
        """
        return self._build.apart(value, f"{self.path}.{name}" if self.path else name)

    def is_converted(self, value: LuaObject) -> bool:
        """Has this object been met before, elsewhere in the model?"""
        return self._build.is_converted(value)

    def are_clones(self, a: Value, b: Value) -> bool:
        """Would both become the same module with the same parameters, as Torch7's clones for time steps do?"""
        if not isinstance(a, LuaObject) or not isinstance(b, LuaObject):
            return False
        return a is b or self._build.are_clones(a, b)

    # Making the module

    def make(self, cls: Callable[P, M], *args: P.args, **kwargs: P.kwargs) -> M:
        """Makes a module without initialising it; each parameter and buffer must then be `put`."""
        with torch.device("meta"):
            return cls(*args, **kwargs)

    def put(self, module: M, name: str, value: torch.Tensor | None = None, field: str | None = None) -> M:
        """Gives `module` its parameter or buffer `name`, and returns it.

        Parameters that are one tensor in Torch7 become one `nn.Parameter` here.

        Args:
            module: made by `make`.
            name: attribute of the module; its shape must fit.
            value: the numbers, laid out as PyTorch wants them; by default the Torch7 field.
            field: the Torch7 field that the numbers come from; by default `name`.
        """
        field = field or name
        value = self.tensor(field) if value is None else value
        self._build.put(self, module, name, value, field)
        return module

    def put_all(self, module: M, *names: str) -> M:
        """`put` for every named parameter or buffer that the module has (not None) under its Torch7 name."""
        for name in names:
            if getattr(module, name) is not None:
                self.put(module, name)
        return module

    def trains(self) -> bool:
        """Is it in training mode? For layers that ask `train ~= false`: where the field is absent, they train."""
        self.trains_if_absent = True
        return self.object.get("train") is not False

    # What is said of it

    def traits(self, **refined: Any) -> None:
        """Says what of the traits of its class is otherwise for this layer, such as `layer.traits(output="write")`."""
        self.refined.update(refined)

    def ignore(self, *names: Value) -> None:
        """Says that these fields were considered and do not change what is computed."""
        self._read.update(names)

    def note(self, text: str) -> None:
        """Adds a remark to the report, e.g. where Torch7 does something that users may not expect."""
        self._build.note(self.path, text)

    def refuse(self, reason: str) -> NoReturn:
        """Refuses to convert the layer; the error names its path and class."""
        raise LayerRefused(reason)

    @property
    def read(self) -> list[str]:
        """The fields that were read, in alphabetical order."""
        return sorted(str(name) for name in self._read if name in self.object)

    @property
    def unread(self) -> list[str]:
        """The fields of the object that nobody read and that are no training leftovers."""
        names = [name for name, _ in self.object.items() if name not in self._read and name not in LEFTOVERS]
        return [name if isinstance(name, str) else repr(name) for name in names]

    @property
    def unread_settings(self) -> list[str]:
        """Those of the unread fields that may say what the layer computes: numbers, booleans, modules, parameters."""
        values = {name: self.object.get(name) for name in self.unread}
        settings = [name for name, value in values.items() if isinstance(value, (bool, float, int, LuaObject))]
        return [name for name in values if name in (*settings, *self.unread_parameters)]

    @property
    def unread_parameters(self) -> list[str]:
        """Those of the unread fields that hold parameters, as no class has that computes without them."""
        values = {name: self.object.get(name) for name in self.unread if name in _OF_THE_LAYERS_TYPE}
        return [name for name, value in values.items() if isinstance(value, Tensor) and value.numel() > 0]

    @property
    def replaced_methods(self) -> list[str]:
        """Fields in which the object carries a Lua function of its own that nobody read."""
        return [
            str(name)
            for name, value in self.object.items()
            if isinstance(value, LuaFunction) and name not in self._read
        ]

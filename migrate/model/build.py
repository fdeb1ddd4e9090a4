"""Build: turns the tree of Lua objects into torch.nn.Modules, once per object, and collects what is refused."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from ..base.errors import Refusal, T7Error, UnsupportedLayers
from ..base.memory import is_out_of_memory
from ..base.messages import said
from ..t7 import LuaObject, Storage, Tensor
from ..t7.memory_map import release_pages
from . import registry
from .architecture import describe
from .frozen import BACKWARD, FORWARD, freeze
from .layer import MIXED_TYPES, Layer, LayerRefused
from .layer_record import LayerRecord
from .likely_aliases import likely_alias
from .ties import Place
from .traits import NO_TRAITS

#: Deeper nesting than any network has; it bounds the recursion.
MAX_DEPTH = 150

#: What is said of classes of which no number was recorded.
NEVER_COMPARED = "read from the Lua source, never compared with Torch7"

#: What is said of an object that holds parameters, or of a project's class a setting, which its class has not.
NAMESAKE = (
    "it has {}, which the class known by this name has not: it may be another author's. "
    "--alias {}={} converts it all the same"
)

#: What identifies a Torch7 tensor: its storage, offset, size, stride.
Region = tuple[int, int, tuple[int, ...], tuple[int, ...]]


class Unsupported(nn.Module):
    """Stands where a layer could not be converted (`allow_unsupported`); raises when it is run."""

    def __init__(self, typename: str, path: str, reason: str) -> None:
        super().__init__()
        self.typename = typename
        self.path = path
        self.reason = reason

    def forward(self, x: object) -> object:
        raise NotImplementedError(f"{self.typename} at {self.path or 'the top'} was not converted: {self.reason}")

    def extra_repr(self) -> str:
        return f"{self.typename}, path={self.path!r}"


def _is_of_torch(error: BaseException) -> bool:
    """Did PyTorch raise it, rather than a converter?"""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("torch.")


def is_finite(tensor: torch.Tensor) -> bool:
    """Are all numbers finite? Without a copy of the tensor."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))


@dataclass
class ParameterOrigin:
    """Where a parameter comes from; kept when gradients are tracked.

    Attributes:
        path: Torch7 path of the layer that read it first.
        field: the Torch7 field, such as `weight`.
        leaf: the numbers in Torch7's own layout; after a backward pass `leaf.grad` is Torch7's gradient.
    """

    path: str
    field: str
    leaf: torch.Tensor


@dataclass
class Build:
    """One conversion at work.

    Attributes:
        aliases: Torch7 class -> class whose converter is used in its place.
        allow_unsupported: put `Unsupported` modules where nothing fits, rather than raise.
        track_gradients: keep the way from Torch7's layout to PyTorch's differentiable (see `live`).
        suggests: look for known classes that an unknown one may be under another name.
        provided: converters of this conversion alone, by class.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    allow_unsupported: bool = False
    track_gradients: bool = False
    suggests: bool = True
    provided: Mapping[str, registry.Converter] = field(default_factory=dict)
    records: list[LayerRecord] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    sources: dict[Region, ParameterOrigin] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    live: list[tuple[nn.Module, str, torch.Tensor]] = field(default_factory=list)
    _done: dict[int, LayerRecord | Unsupported] = field(default_factory=dict)
    _active: set[int] = field(default_factory=set)
    _tensors: dict[Region, torch.Tensor] = field(default_factory=dict)
    _placed: dict[Region, list[tuple[torch.Tensor, str]]] = field(default_factory=dict)
    _owned: set[int] = field(default_factory=set)
    _kept: list[Storage] = field(default_factory=list)
    _replaced: list[tuple[LayerRecord, list[str]]] = field(default_factory=list)
    _cause: Exception | None = None
    _aliases_found: dict[str, str] = field(default_factory=dict)

    def root(self, obj: LuaObject) -> nn.Module:
        """Converts the model.

        Raises:
            UnsupportedLayers: layers were refused and `allow_unsupported` is not set.
        """
        module = self.module(obj, "")
        if self.refusals and not self.allow_unsupported:
            raise UnsupportedLayers(self.refusals) from self._cause
        for path, text in freeze(self.records, self._replaced).items():
            self.note(path, text)
        self.live = [
            (owner, name, value if getattr(owner, name).requires_grad else value.detach())
            for owner, name, value in self.live
        ]
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_meta:
                raise AssertionError(f"a converter left {name} of {type(module).__name__} without numbers")
        return module

    def module(self, obj: LuaObject, path: str) -> nn.Module:
        """Converts one object; the same object gives the same module."""
        found = self._done.get(id(obj))
        if isinstance(found, Unsupported):
            return found
        if found is not None:
            found.paths.append(path)
            return found.module
        if id(obj) in self._active:
            raise LayerRefused(f"it contains itself: {obj.typename} at {path}")
        if len(self._active) >= MAX_DEPTH:
            raise LayerRefused(f"it is nested more than {MAX_DEPTH} deep")
        self._active.add(id(obj))
        try:
            return self._convert(obj, path)
        finally:
            self._active.discard(id(obj))

    def are_clones(self, a: LuaObject, b: LuaObject) -> bool:
        """Would both become the same module with the same parameters (not only equal ones)?"""
        trial = Build(aliases=self.aliases, provided=self.provided)
        one, other = trial.module(a, ""), trial.module(b, "")
        return (
            describe(one) == describe(other)
            # what is one tensor in the file is one parameter within a build
            and all(map(operator.is_, one.parameters(), other.parameters()))
            and all(map(torch.equal, one.buffers(), other.buffers()))
        )

    def apart(self, obj: LuaObject, path: str) -> tuple[nn.Module, dict[int, Layer]]:
        """What an object would become, and the layer of each module in it; nothing of that enters the model.

        It is an `Unsupported` where something is to be said of the object that would be lost without it.
        """
        trial = Build(aliases=self.aliases, provided=self.provided)
        module = trial.module(obj, path)
        if trial.refusals or trial._replaced or any(record.unread for record in trial.records):
            module = Unsupported(obj.typename, path, "it is more than what is known of its class")
        return module, {id(record.module): Layer(record.object, record.path, self) for record in trial.records}

    def is_converted(self, obj: LuaObject) -> bool:
        """Has this object been converted already?"""
        return id(obj) in self._done

    def _convert(self, obj: LuaObject, path: str) -> nn.Module:
        layer = Layer(obj, path, self)
        known_as = self.aliases.get(obj.typename, obj.typename)
        converter = self.provided.get(known_as) or registry.find(known_as)
        if converter is None:
            return self._refuse(layer, "no converter knows this class", known=False, alias=self._alias(obj))
        record = LayerRecord(path, obj.typename, nn.Identity(), bool(obj.get("train")), [], [], [path], obj)
        self.records.append(record)
        try:
            record.module = converter(layer)
        except LayerRefused as error:
            return self._refuse(layer, str(error))
        except T7Error as error:
            error.path = error.path or path
            raise
        except (ValueError, TypeError, LookupError, RuntimeError, ArithmeticError, AssertionError) as error:
            if is_out_of_memory(error) or (isinstance(error, AssertionError) and not _is_of_torch(error)):
                raise  # an assertion of a converter is a fault of its own
            # a file's fields can contradict each other in any way; the cause is chained to the final error
            self._cause = self._cause or error
            return self._refuse(layer, f"its fields do not fit together ({said(error)})")
        more = layer.unread_settings if registry.is_of_project(known_as) else layer.unread_parameters
        if known_as in self.provided or (layer.has("modules") and not registry.is_of_project(known_as)):
            more = []  # what computes is the user's Lua, or the layers inside
        if more and obj.typename not in self.aliases:
            return self._refuse(layer, NAMESAKE.format(", ".join(more), known_as, known_as))
        if replaced := [name for name in layer.replaced_methods if name in FORWARD]:
            return self._refuse(layer, f"the file replaces its {', '.join(replaced)} by a Lua function")
        if replaced := [name for name in layer.replaced_methods if name in BACKWARD]:
            self._replaced.append((record, replaced))
            layer.ignore(*replaced)
        if layer.trains_if_absent and obj.get("train") is None:
            record.train = True
        record.read, record.unread = layer.read, layer.unread
        known = NO_TRAITS if known_as in self.provided else registry.traits_of(known_as)
        record.traits = replace(known, **layer.refined)
        if record.traits.unproven:
            self.note("", f"{known_as}: {NEVER_COMPARED}: {record.traits.unproven}")
        self._done[id(obj)] = record
        return record.module

    def _alias(self, obj: LuaObject) -> str:
        """The known class that this object may be of under another name."""
        if not self.suggests or obj.typename in self._aliases_found:
            return self._aliases_found.get(obj.typename, "")

        def fields_read(name: str) -> list[str] | None:
            trial = Build(aliases={**self.aliases, obj.typename: name}, suggests=False)
            try:
                trial.module(obj, "")
            except (LayerRefused, AssertionError):
                return None
            record = trial.records[0] if trial.records else None
            return None if record is None or trial.refusals or record.unread else record.read

        self._aliases_found[obj.typename] = likely_alias(obj, fields_read)
        return self._aliases_found[obj.typename]

    def _refuse(self, layer: Layer, reason: str, *, known: bool = True, alias: str = "") -> nn.Module:
        self.refusals.append(Refusal(layer.path, layer.typename, reason, known, alias))
        self.records = [record for record in self.records if record.object is not layer.object]
        placeholder = Unsupported(layer.typename, layer.path, reason)
        self._done[id(layer.object)] = placeholder
        return placeholder

    def note(self, path: str, text: str) -> None:
        """Adds a remark on the layer at `path`."""
        if (path, text) not in self.notes:
            self.notes.append((path, text))

    # Tensors

    def _region(self, value: Tensor) -> Region:
        if value.storage is None:
            return (0, 0, value.size, value.stride)
        self._kept.append(value.storage)  # an id is only unique while its object lives
        return (id(value.storage), value.offset, value.size, value.stride)

    def tensor(self, value: Tensor, path: str, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The torch tensor of a Torch7 tensor, contiguous, with a storage of its own; one per region.

        Args:
            value: the tensor.
            path: of the layer.
            name: of the field.
            dtype: the type of the layer, which floating numbers of another one take.
        """
        region = self._region(value)
        if region not in self._tensors:
            made = to_torch_tensor(value)
            release_pages(value)
            if made.dtype == torch.float16:
                made = made.float()
                self.note("", "the file holds half precision numbers; they were widened to float32")
            if dtype is not None and made.is_floating_point() and made.dtype != dtype:
                theirs, wanted = (str(one).removeprefix("torch.") for one in (made.dtype, dtype))
                both = f"{theirs} where the layer's is {wanted}, and was changed to that"
                self.note(path, f"the type of its {name} is {both}; {MIXED_TYPES}")
                made = made.to(dtype)
            if not is_finite(made):
                self.note(path, f"its {name} holds NaN or Inf")
            if self.track_gradients and made.is_floating_point():
                made.requires_grad_()
            self._tensors[region] = made
        made = self._tensors[region]
        if made.requires_grad and region not in self.sources:
            self.sources[region] = ParameterOrigin(path, name, made)
        return made

    def numbers_of(self, value: Tensor) -> torch.Tensor:
        """A tensor of its own with the numbers of a Torch7 tensor; no gradient is asked of it."""
        made = to_torch_tensor(value)
        return made.float() if made.dtype == torch.float16 else made

    def computed(self, value: torch.Tensor) -> Tensor:
        """A Torch7 tensor that stands for numbers that a converter computed from those of the file."""
        made = Tensor.from_numpy(value.detach().numpy())
        if value.requires_grad:
            value.retain_grad()
        self._tensors[self._region(made)] = value
        return made

    def put(self, layer: Layer, module: nn.Module, name: str, value: torch.Tensor, source: str) -> None:
        """Gives `module` its parameter or buffer `name`; see `Layer.put`."""
        declared = getattr(module, name)
        if not isinstance(declared, torch.Tensor):
            layer.refuse(f"{type(module).__name__} takes no {name!r}, but the file has one")
        if declared.shape != value.shape:
            layer.refuse(
                f"its {source!r} gives {name!r} of shape {tuple(value.shape)}; "
                f"{type(module).__name__} needs {tuple(declared.shape)}"
            )
        lua = layer.object.get(source)
        region = self._region(lua) if isinstance(lua, Tensor) else None
        placed = self._placed.setdefault(region, []) if region else []
        is_parameter = name in module._parameters
        for other, _ in placed:
            if isinstance(other, nn.Parameter) == is_parameter and other.shape == value.shape and other.equal(value):
                setattr(module, name, other)
                break
        else:
            others = [path for _, path in placed if path != layer.path]
            if others:
                layer.note(
                    f"its {source} is that of {others[0] or 'the top'} in Torch7; PyTorch needs it in another layout, "
                    "so that they are not tied, and training changes one without the other"
                )
            own = self._own(value)
            made = nn.Parameter(own, requires_grad=own.is_floating_point()) if is_parameter else own
            setattr(module, name, made)
            placed.append((made, layer.path))
        if region and is_parameter and isinstance(lua, Tensor) and lua.numel():
            self.places.append(Place(module, name, layer.path, source, *region))
        if value.requires_grad and is_parameter:
            self.live.append((module, name, value))

    def _own(self, value: torch.Tensor) -> torch.Tensor:
        """`value` as a contiguous tensor that is alone in its storage."""
        data = value.detach()
        alone = data.is_contiguous() and data.untyped_storage().nbytes() == data.numel() * data.element_size()
        if not alone or value.requires_grad or data.untyped_storage().data_ptr() in self._owned:
            data = data.clone(memory_format=torch.contiguous_format)
        self._owned.add(data.untyped_storage().data_ptr())
        # dimensions of size 1 may have any stride, and kernels are chosen by strides
        return data.reshape(-1).view(data.shape)


def to_torch_tensor(value: Tensor) -> torch.Tensor:
    """A contiguous torch.Tensor with the numbers of a Torch7 tensor; CUDA types come to the CPU."""
    return torch.from_numpy(value.copy().astype(value.dtype.newbyteorder("="), copy=False))

"""Unpooling: puts each number back to where its max pooling took it from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...onnx.operators.stand_ins import StandIn, operator
from ...parity.choices import Choice
from ...source.forms import Unpooling
from ...t7 import LuaObject, Tensor


class Places:
    """What a max pooling remembers of its last run: flat indices of the maxima, and the size of its input."""

    def __init__(self) -> None:
        self.indices: torch.Tensor | None = None
        self.size: list[int] = []


def remembered(pooling: nn.Module) -> Places:
    """What a pooling remembers; made when it runs first, since the pooling may have been a plain one before."""
    if "places" not in pooling.__dict__:
        pooling.__dict__["places"] = Places()
    places: Places = pooling.__dict__["places"]
    return places


class PairedMaxPool2d(nn.MaxPool2d):
    """Max pooling that remembers where its maxima were, for the unpooling that is paired with it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = remembered(self)
        places.size = list(x.shape[-2:])
        pool: Any = F.max_pool2d_with_indices
        y: torch.Tensor
        y, places.indices = pool(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return y


class PairedMaxPool3d(nn.MaxPool3d):
    """Max pooling that remembers where its maxima were, for the unpooling that is paired with it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = remembered(self)
        places.size = list(x.shape[-3:])
        pool: Any = F.max_pool3d_with_indices
        y: torch.Tensor
        y, places.indices = pool(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return y


@module_form("stock", PairedMaxPool2d, PairedMaxPool3d)
def _stock(module: nn.Module, x: torch.Tensor) -> None:
    """None: an unpooling asks the module where the maxima were."""


class MaxUnpool(nn.Module):
    """Puts each number to where the paired max pooling found it in its last run, and zeros elsewhere.

    Args:
        pooling: the pooling, which runs elsewhere in the network.
        output_size: sizes that the file gives for a pooling that has not run here; None: it gives none.
        indices_size: sizes of the indices that the file gives.
    """

    def __init__(
        self,
        pooling: nn.Module,
        output_size: Sequence[int] | None = None,
        indices_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.output_size = output_size
        self.indices_size = indices_size
        self.register_buffer(
            "indices", None if indices_size is None else torch.empty(list(indices_size), dtype=torch.int64)
        )
        self.indices: torch.Tensor | None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places: Any = getattr(self.pooling, "places", None)
        indices = self.indices if places is None else places.indices
        size = self.output_size if places is None else places.size
        if indices is None or size is None:
            raise RuntimeError("the pooling that this unpooling is paired with has not run yet")
        if indices.shape != x.shape:
            raise RuntimeError(f"the maxima were {tuple(indices.shape)}, the input is {tuple(x.shape)}")
        axes = len(size)
        flat = 1
        for n in size:
            flat = flat * n
        y = x.new_zeros(*x.shape[:-axes], flat)
        y = y.scatter(-1, indices.flatten(-axes), x.flatten(-axes))
        return y.reshape(*x.shape[:-axes], *size)

    def extra_repr(self) -> str:
        return "" if self.output_size is None else f"output_size={self.output_size}"


@module_form("unpooling", MaxUnpool)
def _unpooling(module: MaxUnpool) -> Unpooling | None:
    pooling: Any = module.pooling
    if module.output_size is not None or not isinstance(pooling, (PairedMaxPool2d, PairedMaxPool3d)):
        return None
    axes = 2 if isinstance(pooling, PairedMaxPool2d) else 3
    kernel, stride, padding, dilation = _window(pooling, axes)
    if any(step < n for step, n in zip(stride, kernel, strict=True)) or set(dilation) != {1}:
        return None  # a number may have been the largest of several windows
    stock = nn.MaxPool2d if axes == 2 else nn.MaxPool3d
    options = (pooling.kernel_size, pooling.stride, pooling.padding, pooling.dilation)
    return Unpooling(
        pooling,
        stock(*options, return_indices=True, ceil_mode=pooling.ceil_mode),
        f"max_unpool{axes}d",
        axes,
        kernel[0] if len(set(kernel)) == 1 else tuple(kernel),
        None if stride == kernel else tuple(stride),
        tuple(padding) if any(padding) else None,
    )


def _window(pooling: Any, axes: int) -> list[list[int]]:
    """Size, stride, padding and dilation of a pooling, for each axis."""
    numbers = (pooling.kernel_size, pooling.stride, pooling.padding, pooling.dilation)
    return [[n] * axes if isinstance(n, int) else list(n) for n in numbers]


def _with_choice(
    module: MaxUnpool, x: torch.Tensor, pooled: torch.Tensor, expected: torch.Tensor, slack: float
) -> torch.Tensor:
    """The same unpooling, where each number goes to where the reference put it, if a maximum of its window is there."""
    places = remembered(module.pooling)
    own = places.indices
    assert own is not None
    axes = len(places.size)
    # (..., windows along each axis, places in a window): the numbers there, those that the reference put there
    numbers = _windows(pooled, module.pooling, own.shape[-axes:], -float("inf"))
    put = _windows(expected, module.pooling, own.shape[-axes:], float("nan"))
    grid = torch.arange(math.prod(places.size), device=x.device, dtype=torch.float64).reshape(places.size)
    where = _windows(grid, module.pooling, own.shape[-axes:], -1.0).long()
    allowed = (numbers >= numbers.amax(-1, keepdim=True) - slack) & ((put - x.unsqueeze(-1)).abs() <= slack)
    allowed &= (where >= 0) & (x != 0).unsqueeze(-1)
    where = where.expand(allowed.shape)
    kept = (allowed & (where == own.unsqueeze(-1))).any(-1) | ~allowed.any(-1)
    theirs = where.gather(-1, allowed.int().argmax(-1, keepdim=True)).squeeze(-1)
    places.indices = torch.where(kept, own, theirs)
    try:
        found: torch.Tensor = module.forward(x)  # without the hooks that watch it
        return found
    finally:
        places.indices = own


def _windows(x: torch.Tensor, pooling: nn.Module, outputs: Sequence[int], fill: float) -> torch.Tensor:
    """What is in each window of a pooling: (..., outputs of each axis, places in a window)."""
    axes = len(outputs)
    padding: list[int] = []
    geometry = list(zip(*_window(pooling, axes), outputs, x.shape[-axes:], strict=True))
    for kernel, stride, pad, dilation, count, size in geometry:
        reach = (count - 1) * stride + dilation * (kernel - 1) + 1
        padding = [pad, max(0, reach - size - pad), *padding]
    x = F.pad(x, padding, value=fill)
    for axis, (kernel, stride, _, dilation, count, _) in enumerate(geometry):
        x = x.unfold(axis - axes - axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
        x = x.narrow(axis - axes - axis - 1, 0, count)
    return x.flatten(-axes)


module_form("choice", MaxUnpool)(Choice(_with_choice, chooser="pooling"))


class _OnnxPairedMaxPool(StandIn):
    """A pooling whose maxima the operator numbers."""

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        axes = 2 if isinstance(self, nn.MaxPool2d) else 3
        batch = x if x.dim() == axes + 2 else x.unsqueeze(0)
        pool = F.max_pool2d if axes == 2 else F.max_pool3d
        kernel, stride, padding, dilation = _window(self, axes)
        shape = pool(batch, kernel, stride, padding, dilation, self.ceil_mode).shape
        attributes: dict[str, Any] = {
            "kernel_shape": kernel,
            "strides": stride,
            "pads": padding * 2,
            "dilations": dilation,
            "ceil_mode": int(self.ceil_mode),
        }
        y, indices = torch.onnx.ops.symbolic_multi_out(
            "MaxPool", (batch,), attributes, dtypes=(x.dtype, torch.int64), shapes=(shape, shape)
        )
        places = remembered(self)
        places.indices, places.size = indices, batch  # type: ignore[assignment]
        return y if x.dim() == axes + 2 else y.squeeze(0)


@module_form("onnx", PairedMaxPool2d)
class OnnxPairedMaxPool2d(_OnnxPairedMaxPool, PairedMaxPool2d):
    """As `PairedMaxPool2d`."""


@module_form("onnx", PairedMaxPool3d)
class OnnxPairedMaxPool3d(_OnnxPairedMaxPool, PairedMaxPool3d):
    """As `PairedMaxPool3d`."""


@module_form("onnx", MaxUnpool)
class OnnxMaxUnpool(StandIn, MaxUnpool):
    """As `MaxUnpool`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places: Any = getattr(self.pooling, "places", None)
        if places is None or places.indices is None:
            return super().forward(x)  # the file says where the maxima were
        whole: torch.Tensor = places.size
        axes = whole.dim() - 2
        batch = x if x.dim() == axes + 2 else x.unsqueeze(0)
        kernel, stride, padding, _ = _window(self.pooling, axes)
        attributes = {"kernel_shape": kernel, "strides": stride}
        if any(padding):
            attributes["pads"] = padding * 2
        inputs = [batch, places.indices]
        followed = zip(batch.shape[2:], kernel, stride, padding, strict=True)
        if list(whole.shape[2:]) != [(n - 1) * s + k - 2 * p for n, k, s, p in followed]:
            inputs.append(torch.onnx.ops.symbolic("Shape", (whole,), dtype=torch.int64, shape=[whole.dim()]))
        y: torch.Tensor = operator("MaxUnpool", inputs, attributes, x, whole.shape)
        return y if x.dim() == axes + 2 else y.squeeze(0)


def _unpool(layer: Layer, axes: tuple[str, ...], plain: type[nn.Module], paired: type[nn.Module]) -> MaxUnpool:
    lua = layer.value("pooling")
    if not isinstance(lua, LuaObject):
        layer.refuse(f"its pooling is {lua!r}")
    elsewhere = layer.is_converted(lua)
    pooling = layer.module("pooling")
    # the sizes and offsets repeat those of the pooling
    layer.ignore("indices", *(f"o{axis}" for axis in ("time", "height", "width")))
    layer.ignore(*(f"{kind}{axis}" for kind in ("d", "pad") for axis in ("T", "H", "W")))
    if type(pooling) not in (plain, paired):
        layer.refuse(f"its pooling became a {type(pooling).__name__}, which does not tell where its maxima were")
    pooling.__class__ = paired  # the same module, which now remembers
    saved, names = lua.get("indices"), {"T": "itime", "H": "iheight", "W": "iwidth"}
    size = [lua.get(names[axis]) for axis in axes]
    if elsewhere or not isinstance(saved, Tensor) or not saved.numel() or None in size:
        return MaxUnpool(pooling)
    sizes = [int(n) for n in size if isinstance(n, float)]
    module = layer.make(MaxUnpool, pooling, sizes, list(saved.size))
    indices = layer.numbers_of(saved).long()
    flat = indices - 1 if len(axes) == 2 else _unpacked(layer, indices, lua, sizes)
    layer.put(module, "indices", flat, field="pooling")
    return module


def _unpacked(layer: Layer, packed: torch.Tensor, pooling: LuaObject, size: list[int]) -> torch.Tensor:
    """Flat indices from VolumetricMaxPooling's, which hold three bytes: the place inside the window."""
    flat = torch.zeros_like(packed)
    for axis, name in enumerate(("T", "H", "W")):
        step, pad = pooling.get(f"d{name}", 1.0), pooling.get(f"pad{name}", 0.0)
        if not isinstance(step, float) or not isinstance(pad, float):
            layer.refuse(f"the step and the padding of its pooling along {name} are {step!r} and {pad!r}")
        shape = [1] * packed.dim()
        shape[axis - 3] = packed.shape[axis - 3]
        start = torch.arange(packed.shape[axis - 3]).reshape(shape) * int(step) - int(pad)
        flat = flat * size[axis] + start + (packed >> (8 * axis)) % 256
    return flat


@converts("nn.SpatialMaxUnpooling", traits=Traits(reads="images", children=(), picture="pooling"))
def spatial_max_unpooling(layer: Layer) -> MaxUnpool:
    """nn.SpatialMaxUnpooling(poolingModule)"""
    return _unpool(layer, ("H", "W"), nn.MaxPool2d, PairedMaxPool2d)


@converts("nn.VolumetricMaxUnpooling", traits=Traits(reads="volumes", children=(), picture="pooling"))
def volumetric_max_unpooling(layer: Layer) -> MaxUnpool:
    """nn.VolumetricMaxUnpooling(poolingModule)"""
    return _unpool(layer, ("T", "H", "W"), nn.MaxPool3d, PairedMaxPool3d)

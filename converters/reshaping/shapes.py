"""Layers that give their input another shape; each has its own way to tell a batch from a sample."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, converts_to, module_form
from ...model.traits import Traits
from ...source.expressions import Variable, python
from ...source.forms import Structure
from ...t7 import LuaObject

PASSES = Traits(output="pass")


def optional_integer(layer: Layer, name: str) -> int | None:
    """An integer field, None where it is nil."""
    return layer.integer(name) if layer.has(name) else None


def dim_within_batch(x: torch.Tensor, dim: int, num_input_dims: int | None) -> int:
    """A dimension of a sample (0-based; negative: from the end) as one of the input: one dimension more is a batch."""
    if num_input_dims is not None and dim >= 0 and x.dim() == num_input_dims + 1:
        return dim + 1
    return dim


def product(sizes: list[int]) -> int:
    """The product, as math.prod gives it, which TorchScript lacks."""
    found = 1
    for size in sizes:
        found *= size
    return found


class View(nn.Module):
    """Gives each sample the size `size`; what is left over becomes one batch dimension in front, if it is not 1.

    Args:
        size: size of a sample; one entry may be -1.
        num_input_dims: how many dimensions a sample of the input has; all others are the batch.
    """

    def __init__(self, size: list[int], num_input_dims: int | None = None) -> None:
        super().__init__()
        self.size = size
        self.num_input_dims = num_input_dims
        self.elements = math.prod(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        split = 0 if self.num_input_dims is None else x.dim() - self.num_input_dims
        if split > 0:
            if self.elements < 0:  # a -1 takes what is left of the sample
                return x.reshape([product(list(x.shape[:split]))] + self.size)  # noqa: RUF005 - as TorchScript has it
            if product(list(x.shape[split:])) % self.elements != 0:
                raise ValueError(f"an input of size {list(x.shape)} does not fit a view of size {self.size}")
        elif self.elements < 0 or x.numel() == self.elements:
            return x.reshape(self.size)
        return x.reshape([-1] + self.size)  # noqa: RUF005

    def extra_repr(self) -> str:
        return f"size={self.size}, num_input_dims={self.num_input_dims}"


@converts("nn.View", traits=Traits(safe_on_own_output=True, output="pass", keeps_numbers=True, label=("size",)))
def view(layer: Layer) -> View:
    """nn.View(size1, [size2, …])

    Without setNumInputDims, a batch of one sample loses its batch dimension, and a -1 takes in the batch.
    """
    layer.ignore("numElements")
    return View(list(layer.integers("size")), optional_integer(layer, "numInputDims"))


class Reshape(nn.Module):
    """Gives each sample the size `size`.

    Args:
        size: size of a sample.
        batch_mode: is the first dimension of the input a batch? None: it is, if it is 1 or the sizes don't fit without.
    """

    def __init__(self, size: list[int], batch_mode: bool | None = None) -> None:
        super().__init__()
        self.size = size
        self.batch_mode = batch_mode
        self.elements = math.prod(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = x.shape[0] == 1 or x.numel() != self.elements if self.batch_mode is None else self.batch_mode
        return x.reshape([x.shape[0]] + self.size) if batch else x.reshape(self.size)  # noqa: RUF005

    def extra_repr(self) -> str:
        return f"size={self.size}, batch_mode={self.batch_mode}"


module_form("cell part", Reshape)("function")


@converts("nn.Reshape", traits=Traits(safe_on_own_output=True, output="pass", keeps_numbers=True, label=("size",)))
def reshape(layer: Layer) -> Reshape:
    """nn.Reshape(size1, [size2, …], [batchMode])

    Without batchMode, the first dimension is a batch if it is 1, or if the input has not as many elements as `size`.
    """
    layer.ignore("nelement", "batchsize")
    return Reshape(list(layer.integers("size")), layer.flag("batchMode") if layer.has("batchMode") else None)


@module_form("python", View, Reshape)
def _sizes(module: View | Reshape, x: Variable) -> ast.expr | None:
    """A view that keeps the batch, where the examples (of two batch sizes) show that."""
    pairs = [(tuple(module(example).shape), tuple(example.shape)) for example in x.values]
    output, given = pairs[0]
    if len({size[0] for _, size in pairs}) < 2:
        # of a vector a Reshape makes this, or it fails
        vector = isinstance(module, Reshape) and module.batch_mode is None and len(given) == 1 < module.elements
        return python("x.reshape(*size)", x=x, size=module.size) if vector and not x.given else None
    if all(new == old for new, old in pairs):
        if not x.given or len(given) < 2:
            return x
        return python("x.flatten(1)", x=x) if len(given) == 2 else _kept(module, x, output)
    for start in range(len(given)):
        if all(new == (*old[:start], math.prod(old[start:])) for new, old in pairs):
            return python("x.flatten(start)" if start else "x.flatten()", x=x, start=start)
    for place in range(1, len(output)):
        inserted = all(new == (*old[:place], 1, *old[place:]) for new, old in pairs)
        if inserted and (not x.given or -1 in module.size):
            return python("x.unsqueeze(place)", x=x, place=place)
    if all(new == (old[0], *output[1:]) for new, old in pairs) and len(given) == 2:
        return _kept(module, x, output) if x.given else python("x.unflatten(1, size)", x=x, size=output[1:])
    if all(new[1:] == output[1:] for new, _ in pairs):
        return python("x.reshape(-1, *size)", x=x, size=output[1:])
    rest = -math.prod(module.size)  # of what a -1 stands for
    samples = [
        (old[0], *(math.prod(old[1:]) // rest if n == -1 else n for n in module.size)) for _, old in pairs if rest > 0
    ]
    if samples == [new for new, _ in pairs]:
        return python("x.reshape(x.size(0), *size)", x=x, size=module.size)
    return None


def _kept(module: View | Reshape, x: Variable, output: tuple[int, ...]) -> ast.expr:
    """A view of an input of the model, which its caller may give flat, or not flat any more."""
    rows = "x.size(0)" if isinstance(module, Reshape) else "-1"
    return python(f"x.reshape({rows}, *size)", x=x, size=output[1:])


@module_form("stock", View, Reshape)
def _stock(module: View | Reshape, x: torch.Tensor) -> nn.Module | None:
    if x.dim() < 2 or math.prod(x.shape[1:]) != abs(math.prod(module.size)):
        return None
    size = [n for n in module.size if n > 0]
    unflat = x.dim() == 2 and len(size) > 1 and math.prod(size) == x.shape[1]
    return nn.Unflatten(1, tuple(size)) if unflat else nn.Flatten()


class Squeeze(nn.Module):
    """Removes dimensions of size 1, or only dimension `dim` (0-based); one dimension is always left.

    With `num_input_dims`, an input of one dimension more is a batch, and its first dimension stays.
    """

    def __init__(self, dim: int | None = None, num_input_dims: int | None = None) -> None:
        super().__init__()
        self.dim = dim
        self.num_input_dims = num_input_dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = self.num_input_dims is not None and x.dim() == self.num_input_dims + 1
        if self.dim is not None:
            dim = self.dim + batch
            return x.squeeze(dim) if x.dim() > 1 and x.shape[dim] == 1 else x
        size = [n for n in x.shape if n != 1] or [1]
        if batch and x.shape[0] == 1:
            size = [1, *size]
        return x.reshape(size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_input_dims={self.num_input_dims}"


@converts("nn.Squeeze", traits=replace(PASSES, safe_on_own_output=True))
def squeeze(layer: Layer) -> Squeeze:
    """nn.Squeeze([dim], [numInputDims])

    Without both, a batch of one sample loses its batch dimension. An input of a single element gives that element;
    Torch7 makes an empty tensor of it.
    """
    dim = optional_integer(layer, "dim")
    return Squeeze(None if dim is None else dim - 1, optional_integer(layer, "numInputDims"))


class Unsqueeze(nn.Module):
    """Inserts a dimension of size 1 at `position` (0-based) of a sample; it has `num_input_dims` dimensions."""

    def __init__(self, position: int, num_input_dims: int | None = None) -> None:
        super().__init__()
        self.position = position
        self.num_input_dims = num_input_dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = 0 if self.num_input_dims is None else x.dim() - self.num_input_dims
        if batch < 0:
            raise ValueError(f"an input of size {tuple(x.shape)} has fewer than {self.num_input_dims} dimensions")
        return x.unsqueeze(self.position + batch)

    def extra_repr(self) -> str:
        return f"position={self.position}, num_input_dims={self.num_input_dims}"


def sizes_before_unsqueeze(obj: LuaObject, output: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The sizes without the dimension of 1 that an nn.Unsqueeze made."""
    place, dims = obj.get("pos"), obj.get("numInputDims")
    if not isinstance(place, float):
        return
    axis = int(place) - 1 + (isinstance(dims, float) and len(output) == dims + 2)  # a batch of such
    if 0 <= axis < len(output) and output[axis] == 1:
        yield (*output[:axis], *output[axis + 1 :])


@converts("nn.Unsqueeze", traits=replace(PASSES, sizes_before=sizes_before_unsqueeze))
def unsqueeze(layer: Layer) -> Unsqueeze:
    """nn.Unsqueeze(pos, [numInputDims])

    Without numInputDims, Torch7 remembers how many dimensions the first input had (and saves that with the module).
    Of a module that never ran, every input is taken for a sample without batch.
    """
    return Unsqueeze(layer.integer("pos") - 1, optional_integer(layer, "numInputDims"))


class Replicate(nn.Module):
    """Repeats its input `count` times along a new dimension `dim` (0-based).

    The dimension moves by one for a batch: an input of more than `num_input_dims` dimensions.
    """

    def __init__(self, count: int, dim: int = 0, num_input_dims: int | None = None) -> None:
        super().__init__()
        self.count = count
        self.dim = dim
        self.num_input_dims = num_input_dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dim = self.dim
        if self.num_input_dims is not None:  # noqa: SIM102 - TorchScript leaves such a branch out by itself only
            if x.dim() > self.num_input_dims:
                dim = dim + 1
        size = list(x.shape)
        size.insert(dim, self.count)
        return x.unsqueeze(dim).expand(size)

    def extra_repr(self) -> str:
        return f"{self.count}, dim={self.dim}, num_input_dims={self.num_input_dims}"


@converts("nn.Replicate", traits=PASSES)
def replicate(layer: Layer) -> Replicate:
    """nn.Replicate(nFeature, [dim = 1], [ndim])"""
    return Replicate(layer.integer("nfeatures"), layer.integer("dim", 1) - 1, optional_integer(layer, "ndim"))


class Collapse(nn.Module):
    """Flattens all dimensions, but for the first of an input of more than `num_input_dims`."""

    def __init__(self, num_input_dims: int) -> None:
        super().__init__()
        self.num_input_dims = num_input_dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) if x.dim() > self.num_input_dims else x.flatten()

    def extra_repr(self) -> str:
        return f"num_input_dims={self.num_input_dims}"


@converts("nn.Collapse", traits=PASSES)
def collapse(layer: Layer) -> Collapse:
    """nn.Collapse(nInputDim)"""
    return Collapse(layer.integer("nInputDim"))


class Contiguous(nn.Module):
    """Gives its input a contiguous memory layout."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.contiguous()


module_form("structure", Contiguous)(Structure(nothing=True))


converts_to(Contiguous, "nn.Contiguous", traits=Traits(output="pass", keeps_size=True, keeps_numbers=True))


class ExpandAs(nn.Module):
    """Expands the second tensor of its input to the size of the first; returns both."""

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        return [x[0], x[1].expand_as(x[0])]


converts_to(ExpandAs, "nn.ExpandAs", ignore=("sum1", "sum2"), traits=PASSES)


@converts("nn.PixelShuffle", traits=Traits(reuses="storage", picture="pooling"))
def pixel_shuffle(layer: Layer) -> nn.PixelShuffle:
    """nn.PixelShuffle(upscaleFactor)"""
    layer.ignore(
        "upscaleFactorSquared", "_intermediateShape", "_intermediateShapeBack", "_outShape", "_shuffleIn", "_shuffleOut"
    )
    return nn.PixelShuffle(layer.integer("upscaleFactor"))

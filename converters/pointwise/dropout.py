"""Layers that drop or disturb activations at random."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...source.forms import Structure


class Dropout(nn.Module):
    """Dropout with the options that nn.Dropout of PyTorch lacks; each call takes a new mask.

    Args:
        p: probability of dropping an element.
        rescale: divide by 1-p in training; if not, multiply by 1-p in evaluation.
        inplace: overwrite the input.
        stochastic_inference: drop in evaluation too.
        mono: one mask for all samples of a batch.
    """

    def __init__(self, p: float, rescale: bool, inplace: bool, stochastic_inference: bool, mono: bool) -> None:
        super().__init__()
        self.p = p
        self.rescale = rescale
        self.inplace = inplace
        self.stochastic_inference = stochastic_inference
        self.mono = mono

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.training or self.stochastic_inference):
            if self.rescale:
                return x
            return x.mul_(1 - self.p) if self.inplace else x * (1 - self.p)
        mask = torch.empty_like(x[:1] if self.mono else x).bernoulli_(1 - self.p)
        if self.rescale:
            mask = mask / (1 - self.p)
        return x.mul_(mask) if self.inplace else x * mask


class MaskDropout(Dropout):
    """Dropout that may keep its mask from call to call.

    Args:
        p: probability of dropping an element.
        rescale: divide by 1-p in training; if not, multiply by 1-p in evaluation.
        inplace: overwrite the input.
        stochastic_inference: drop in evaluation too.
        mono: one mask for all samples of a batch.
        lazy: keep the mask until a backward pass has used it.
    """

    def __init__(
        self,
        p: float,
        rescale: bool = True,
        inplace: bool = False,
        stochastic_inference: bool = False,
        mono: bool = False,
        lazy: bool = False,
    ) -> None:
        super().__init__(p, rescale, inplace, stochastic_inference, mono)
        self.lazy = lazy
        self.mask: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.lazy and (self.training or self.stochastic_inference)):
            return super().forward(x)
        if self.mask is None:
            self.mask = super().forward(torch.ones_like(x[:1] if self.mono else x))
        y = x.mul_(self.mask) if self.inplace else x * self.mask
        if y.requires_grad:
            y.register_hook(self.forget)  # type: ignore[no-untyped-call]
        return y

    def forget(self, grad: torch.Tensor) -> None:
        """Takes a new mask next time."""
        self.mask = None

    def extra_repr(self) -> str:
        names = ("p", "rescale", "inplace", "stochastic_inference", "mono", "lazy")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


@module_form("typed", MaskDropout)
def _typed(module: MaskDropout, taken: str) -> Dropout | None:
    options = (module.p, module.rescale, module.inplace, module.stochastic_inference, module.mono)
    return None if module.lazy else Dropout(*options).train(module.training)


@module_form("plain", MaskDropout)
def _plain(module: MaskDropout) -> Dropout | None:
    return _typed(module, "") if type(module) is MaskDropout else None


@module_form("structure", MaskDropout)
def _structure(module: MaskDropout) -> Structure:
    return Structure(nothing=module.p == 0)


class CopyingMaskDropout(MaskDropout):
    """MaskDropout that copies its input where it drops nothing, as Torch7's does: a layer behind may work in place."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y.clone() if y is x else y


class CopyingDropout(nn.Module):
    """nn.Dropout that copies its input in evaluation, as Torch7's does: a layer behind may work in place."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(x, self.p) if self.training else x.clone()

    def extra_repr(self) -> str:
        return f"p={self.p}"


module_form("copying", nn.Dropout)(CopyingDropout)
module_form("copying", MaskDropout)(CopyingMaskDropout)


module_form("cell part", MaskDropout)("function")


@converts("nn.Dropout", traits=Traits(output="copy", keeps_size=True, picture="dropout", label=("p",)))
def dropout(layer: Layer) -> nn.Dropout | MaskDropout:
    """nn.Dropout([p = 0.5], [v1 = false], [inplace = false], [stochasticInference = false])

    Version 1 (`v2` absent or false, all files of 2014 and earlier) multiplies by 1-p in evaluation and does not rescale
    in training. Package rnn's options `lazy` and `mono` are supported; a mask kept in the file is not used again.
    """
    layer.ignore("noise", "flag")
    p = layer.number("p", 0.5)
    rescale = layer.flag("v2", default=False)
    inplace = layer.flag("inplace", default=False)
    stochastic = layer.flag("stochastic_inference", default=False)
    passes = rescale and not stochastic
    layer.traits(output=("pass" if passes else "write") if inplace else "copy" if passes else "own", random=stochastic)
    if inplace and layer.has("lazy"):  # package rnn's gives the very tensor that it gets
        layer.traits(reuses="nothing")
    lazy, mono = layer.flag("lazy", default=False), layer.flag("mono", default=False)
    if rescale and not (stochastic or lazy or mono):
        return nn.Dropout(p, inplace=inplace)
    return MaskDropout(p, rescale, inplace, stochastic, mono, lazy)


class FeatureDropout(nn.Module):
    """Drops whole feature maps, which have `dims` dimensions; multiplies by 1-p in evaluation."""

    def __init__(self, p: float, dims: int, stochastic_inference: bool = False) -> None:
        super().__init__()
        self.p = p
        self.dims = dims
        self.stochastic_inference = stochastic_inference

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.training or self.stochastic_inference):
            return x * (1 - self.p)
        if x.dim() not in (self.dims + 1, self.dims + 2):
            raise ValueError(f"FeatureDropout takes {self.dims + 1} or {self.dims + 2} dimensions, not {x.dim()}")
        mask = x.new_empty(x.shape[: -self.dims] + (1,) * self.dims).bernoulli_(1 - self.p)
        return x * mask

    def extra_repr(self) -> str:
        return f"p={self.p}, dims={self.dims}, stochastic_inference={self.stochastic_inference}"


@converts("nn.SpatialDropout", traits=Traits(reads="images", keeps_size=True, picture="dropout", label=("p",)))
@converts(
    "nn.VolumetricDropout",
    traits=Traits(reads="volumes", keeps_size=True, picture="dropout", label=("p",)),
)
def spatial_dropout(layer: Layer) -> FeatureDropout:
    """nn.SpatialDropout([p = 0.5], [stochasticInference = false])

    Unlike nn.Dropout it does not rescale in training, but multiplies by 1-p in evaluation.
    """
    layer.ignore("noise")
    dims = 2 if layer.typename == "nn.SpatialDropout" else 3
    stochastic = layer.flag("stochastic_inference", default=False)
    layer.traits(random=stochastic)
    return FeatureDropout(layer.number("p", 0.5), dims, stochastic)


class WhiteNoise(nn.Module):
    """Adds normal noise in training; in evaluation its mean."""

    def __init__(self, mean: float = 0.0, std: float = 0.1) -> None:
        super().__init__()
        self.mean = mean
        self.std = std

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            return x + torch.empty_like(x).normal_(self.mean, self.std)
        return x + self.mean if self.mean != 0 else x.clone()

    def extra_repr(self) -> str:
        return f"mean={self.mean}, std={self.std}"


@converts("nn.WhiteNoise", traits=Traits(safe_on_own_output=True, picture="dropout"))
def white_noise(layer: Layer) -> WhiteNoise:
    """nn.WhiteNoise([mean = 0], [std = 0.1])"""
    layer.trains()  # unless it is told otherwise
    layer.ignore("noise")
    return WhiteNoise(layer.number("mean"), layer.number("std"))


class TotalDropout(nn.Module):
    """In training, drops its whole input with probability p; what is left is not rescaled."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.new_empty(()).bernoulli_(1 - self.p) if self.training else x.clone()

    def extra_repr(self) -> str:
        return f"p={self.p}"


@converts("nn.TotalDropout", traits=Traits(keeps_size=True, picture="dropout", label=("p",)))
def total_dropout(layer: Layer) -> TotalDropout:
    """nn.TotalDropout([p = 0.5])"""
    layer.ignore("noise")
    return TotalDropout(layer.number("p"))

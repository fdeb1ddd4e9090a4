"""Layers that projects of style transfer and texture synthesis defined beside their models."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts, converts_to
from ....model.traits import Traits
from ....t7 import LuaObject, Tensor
from ...pointwise.changed_gradients import ZeroGrad

PASSES = Traits(reuses="nothing", safe_on_own_output=True, output="pass", keeps_size=True, keeps_numbers=True)


@converts("nn.ShaveImage")
def shave_image(layer: Layer) -> nn.ZeroPad2d:
    """nn.ShaveImage(size), of jcjohnson/fast-neural-style

    Cuts `size` rows and columns off each side.
    """
    size = layer.integer("size")
    return nn.ZeroPad2d((-size, -size, -size, -size))


class GramMatrix(nn.Module):
    """Products of every two planes, (…, C, H, W) -> (…, C, C); with `normalize` divided by C * H * W."""

    def __init__(self, normalize: bool = True) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        planes = x.flatten(-2)
        gram = torch.matmul(planes, planes.transpose(-2, -1))
        return gram / (x.shape[-3] * x.shape[-2] * x.shape[-1]) if self.normalize else gram

    def extra_repr(self) -> str:
        return f"normalize={self.normalize}"


@converts("nn.GramMatrix")
def gram_matrix(layer: Layer) -> GramMatrix:
    """nn.GramMatrix([normalize = true]), of jcjohnson/fast-neural-style; nn.GramMatrix(), of jcjohnson/neural-style

    neural-style's has no field `normalize` and does not divide.
    """
    return GramMatrix(layer.flag("normalize", default=False))


class AddSmoothingGradient(torch.autograd.Function):
    """The input; its gradient gets the gradient of the squared differences between neighbouring pixels."""

    @staticmethod
    def forward(x: torch.Tensor, strength: float, whole: bool) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, float, bool], output: torch.Tensor) -> None:
        x, ctx.strength, ctx.whole = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (x,) = ctx.saved_tensors
        rows = x.shape[-2] if ctx.whole else x.shape[-2] - 1
        columns = x.shape[-1] if ctx.whole else x.shape[-1] - 1
        across = x[..., :rows, :-1] - x[..., :rows, 1:]
        down = x[..., :-1, :columns] - x[..., 1:, :columns]
        penalty = torch.zeros_like(x)
        penalty[..., :rows, :-1] += across
        penalty[..., :rows, 1:] -= across
        penalty[..., :-1, :columns] += down
        penalty[..., 1:, :columns] -= down
        return grad + ctx.strength * penalty, None, None


class TotalVariation(nn.Module):
    """Returns its input; on the way back it adds the gradient of a penalty on differences of neighbouring pixels.

    Args:
        strength: of the gradient.
        whole: count the differences within the last row and the last column too.
    """

    def __init__(self, strength: float, whole: bool = False) -> None:
        super().__init__()
        self.strength = strength
        self.whole = whole

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = AddSmoothingGradient.apply(x, self.strength, self.whole)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"strength={self.strength}, whole={self.whole}"


@converts("nn.TotalVariation", "nn.TVLoss", traits=PASSES)
def total_variation(layer: Layer) -> TotalVariation:
    """nn.TotalVariation(strength), of jcjohnson/fast-neural-style

    Returns its input; only the gradient changes. nn.TVLoss(strength) of jcjohnson/neural-style and of
    DmitryUlyanov/texture_nets is the same.
    """
    layer.ignore("x_diff", "y_diff")
    return TotalVariation(layer.number("strength"))


@converts("nn.TVLossModule", traits=PASSES)
def total_variation_module(layer: Layer) -> TotalVariation:
    """nn.TVLossModule([strength = 1]), of xunhuang1995/AdaIN-style

    Returns its input; only the gradient changes.
    """
    layer.ignore("crit", "loss")
    return TotalVariation(2 * layer.number("strength", 1.0), whole=True)


class TotalVariationLoss(nn.Module):
    """The sum of the squared differences between neighbouring pixels."""

    def forward(self, x: torch.Tensor, target: Any = None) -> torch.Tensor:
        across, down = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
        return (across * across).sum() + (down * down).sum()


@converts("nn.TVLossCriterion", traits=Traits(criterion=True))
def total_variation_criterion(layer: Layer) -> TotalVariationLoss:
    """nn.TVLossCriterion(), of xunhuang1995/AdaIN-style

    The target is not used.
    """
    layer.ignore("target", "mse", "crit")
    return TotalVariationLoss()


class AddDreamGradient(torch.autograd.Function):
    """The input; a multiple of it, limited, is taken off its gradient."""

    @staticmethod
    def forward(x: torch.Tensor, strength: float, max_grad: float) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, float, float], output: torch.Tensor) -> None:
        x, ctx.strength, ctx.max_grad = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return grad - ctx.strength * x.clamp(-ctx.max_grad, ctx.max_grad), None, None


class DeepDream(nn.Module):
    """Returns its input; on the way back it takes `strength` times the input, within ±`max_grad`, off the gradient."""

    def __init__(self, strength: float = 1e-5, max_grad: float = 100.0) -> None:
        super().__init__()
        self.strength = strength
        self.max_grad = max_grad

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = AddDreamGradient.apply(x, self.strength, self.max_grad)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"strength={self.strength}, max_grad={self.max_grad}"


@converts("nn.DeepDreamLoss", traits=PASSES)
def deep_dream_loss(layer: Layer) -> DeepDream:
    """nn.DeepDreamLoss([strength = 1e-5], [max_grad = 100]), of jcjohnson/fast-neural-style

    Returns its input; only the gradient changes.
    """
    layer.ignore("clipped", "loss")
    return DeepDream(layer.number("strength", 1e-5), layer.number("max_grad", 100.0))


#: Fields of the loss layers: what they measure with, what they measured, and how strongly it counts.
# fmt: off
_MEASURES = (
    "strength", "loss", "target", "_target", "crit", "agg", "agg_type", "agg_out", "gram", "G", "match_to", "normalize",
    "blend_weight", "nC", "tag", "target_mean", "target_std", "mean_loss", "std_loss", "std_net", "mean_net",
    "mean_criterion", "std_criterion", "input_mean", "input_centered", "input_std", "weights", "target_grams",
    "color_content_masks", "color_codes", "layer_id",
)
# fmt: on


@converts(
    "nn.ContentLoss",
    "nn.StyleLoss",
    "nn.TextureLoss",
    "nn.ContentLossModule",
    "nn.StyleINLossModule",
    "nn.WeightedContentLoss",
    "nn.StyleLossWithSeg",
    traits=PASSES,
)
def loss_layer(layer: Layer) -> nn.Identity:
    """nn.ContentLoss(strength, …) and nn.StyleLoss(strength, …), of jcjohnson/fast-neural-style

    Returns its input, as jcjohnson/neural-style's layers of these names do, DmitryUlyanov/texture_nets' nn.TextureLoss
    and xunhuang1995/AdaIN-style's nn.ContentLossModule and nn.StyleINLossModule, manuelruder/artistic-videos'
    nn.WeightedContentLoss and luanfujun/deep-photo-styletransfer's nn.StyleLossWithSeg. In Torch7 it measures a loss
    meanwhile and adds its gradient on the way back; here it does neither.
    """
    layer.ignore(*_MEASURES)
    targets = any(isinstance(layer.object.get(name), Tensor) for name in ("target", "target_mean"))
    # the first two projects switch by `mode`, texture_nets by `active`, AdaIN-style by whether there is a target
    default = targets and layer.typename in ("nn.ContentLossModule", "nn.StyleINLossModule")
    if layer.text("mode", "none") == "loss" or layer.flag("active", default):
        layer.note("in Torch7 it adds the gradient of its loss on the way back; here the gradient passes unchanged")
    return nn.Identity()


converts_to(ZeroGrad, "nn.DummyGradOutput", project="DmitryUlyanov/texture_nets", traits=PASSES)


@converts(
    "nn.PerceptualCriterion",
    "nn.ArtisticStyleLossCriterion",
    "nn.ArtisticCriterion",
    traits=Traits(criterion=True),
)
def perceptual_criterion(layer: Layer) -> nn.Module:
    """nn.PerceptualCriterion{cnn, …}, of jcjohnson/fast-neural-style

    Not converted, nor are nn.ArtisticStyleLossCriterion of xunhuang1995/AdaIN-style and nn.ArtisticCriterion of
    DmitryUlyanov/texture_nets: each runs a network on images to record targets and then once more for the loss.
    """
    layer.refuse(
        "it is a loss for training, which runs its network several times with recorded targets; only the network in "
        "its field 'net' or 'descriptor_net' can be converted"
    )


class AdaptiveInstanceNorm(nn.Module):
    """Gives the planes of [content, style]'s first entry the mean and standard deviation of the second's.

    Args:
        eps: added to the variance of the content.
        measure: normalize the content by its own statistics first; if not, as if they were mean 0 and variance 1.
    """

    def __init__(self, eps: float = 1e-5, measure: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.measure = measure

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        content, style = x
        if content.dim() == 3:  # Torch7 returns a batch of one
            content, style = content.unsqueeze(0), style.unsqueeze(0)
        mean = style.mean((2, 3), keepdim=True)
        std = style.var((2, 3), unbiased=False, keepdim=True).sqrt()
        if self.measure:
            variance = content.var((2, 3), unbiased=False, keepdim=True)
            content = (content - content.mean((2, 3), keepdim=True)) / (variance + self.eps).sqrt()
        else:
            content = content / (1 + self.eps) ** 0.5
        return content * std + mean

    def extra_repr(self) -> str:
        return f"eps={self.eps}, measure={self.measure}"


class First(nn.Module):
    """The first entry of a list."""

    def forward(self, x: list[Any]) -> Any:
        return x[0]


def _adaptive(layer: Layer, *, measure: bool) -> nn.Module:
    layer.ignore("nOutput", "batchSize")
    if layer.flag("disabled", default=False):
        layer.ignore("eps", "bn")
        layer.traits(output="pass", reuses="nothing")
        return First()
    if not measure and not is_fresh(layer.value("bn", None)):
        layer.refuse(
            "it holds a batch normalization with statistics of its own, which Torch7 uses for some sizes of the batch "
            "only; --alias nn.AdaptiveInstanceNormalization=torchmigrate.AdaptiveInstanceNorm measures the content"
        )
    layer.ignore("bn")
    return AdaptiveInstanceNorm(layer.number("eps", 1e-5), measure)


def is_fresh(norm: Any) -> bool:
    """Has this batch normalization, or None, seen no batch: are its means 0 and its variances 1?"""
    if not isinstance(norm, LuaObject):
        return True
    fields = (("running_mean", 0), ("running_var", 1))
    return all(
        bool((value.numpy() == start).all())
        for name, start in fields
        if isinstance(value := norm.get(name), Tensor) and value.numel()
    )


@converts("nn.AdaptiveInstanceNormalization", traits=Traits(keeps_size=True, picture="normalization"))
def adaptive_instance_normalization(layer: Layer) -> nn.Module:
    """nn.AdaptiveInstanceNormalization(nOutput, [disabled], [eps = 1e-5]), of xunhuang1995/AdaIN-style

    Takes {content, style}. It runs a batch normalization on a batch of one, and the last nn passes such a batch through
    its fresh running statistics: the content is only scaled. With an nn before that the content was normalized by its
    own statistics: --alias nn.AdaptiveInstanceNormalization=torchmigrate.AdaptiveInstanceNorm.
    """
    layer.note(
        "the last Torch7 does not normalize the content by its own statistics, since its batch normalization passes a "
        "batch of one through its running ones. If the model was made with an nn before that (2017), convert it with "
        "--alias nn.AdaptiveInstanceNormalization=torchmigrate.AdaptiveInstanceNorm"
    )
    return _adaptive(layer, measure=False)


@converts("torchmigrate.AdaptiveInstanceNorm", traits=Traits(unproven="it stands for an nn of before 2017"))
def adaptive_instance_norm(layer: Layer) -> nn.Module:
    """--alias nn.AdaptiveInstanceNormalization=torchmigrate.AdaptiveInstanceNorm

    The content is normalized by its own mean and variance, as xunhuang1995/AdaIN-style meant it.
    """
    return _adaptive(layer, measure=True)

"""Layers that no package has, but that well-known projects defined beside their models."""

from __future__ import annotations

import ast
from collections.abc import Callable

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...source.expressions import Variable, python
from ...t7 import Tensor
from ..tables.decorators import dtype_of
from .style import is_fresh


class PlaneAffine(nn.Module):
    """Scales each plane and adds a bias: what an instance normalization comes to that runs on fresh statistics."""

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.affine = affine
        if affine:
            self.weight = nn.Parameter(torch.empty(num_features))
            self.bias = nn.Parameter(torch.empty(num_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale: float = (1 + self.eps) ** 0.5
        if not self.affine:
            return x / scale
        y: torch.Tensor = x * (self.weight / scale).reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)
        return y

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, affine={self.affine}"


def _instance_norm(layer: Layer, *, measure: bool) -> nn.Module:
    layer.ignore("momentum", "affine", "prev_batch_size", "bn", "prev_N", "running_mean", "running_var")
    features = layer.integer("nOutput") if layer.has("nOutput") else layer.tensor("weight").numel()
    eps, affine = layer.number("eps", 1e-5), layer.has("weight")
    if layer.flag("disabled", default=False):
        layer.ignore("weight", "bias")
        layer.traits(output="copy")
        return nn.Identity()
    module: nn.Module
    if measure:
        module = layer.make(nn.InstanceNorm2d, features, eps=eps, affine=affine)
    else:
        module = layer.make(PlaneAffine, features, eps=eps, affine=affine)
    if affine:
        layer.put_all(module, "weight", "bias")
    return module


@converts("nn.InstanceNormalization", traits=Traits(reads="numbers", keeps_size=True, picture="normalization"))
def instance_normalization(layer: Layer) -> nn.Module:
    """nn.InstanceNormalization(nOutput, [eps = 1e-5], [momentum = 0.1], [affine = true])

    Of jcjohnson/fast-neural-style, DmitryUlyanov/texture_nets, junyanz/CycleGAN and xunhuang1995/AdaIN-style. It runs a
    batch normalization on a batch of one, and the last nn passes such a batch through its fresh running statistics:
    each plane is only scaled. Models trained with an nn before that (2017) normalized each plane by its own statistics:
    convert these with --alias nn.InstanceNormalization=torchmigrate.InstanceNorm. If the file holds running statistics
    that were updated, which only that nn did, this happens by itself.
    """
    if not (is_fresh(layer.object) and is_fresh(layer.value("bn", None))):
        layer.note(
            "its running statistics were updated, which nn did only when it still normalized each plane by its own "
            "statistics (until 2017): so does the converted layer. The last Torch7 computes something else from this "
            "file, which depends on the size of the batch"
        )
        return _instance_norm(layer, measure=True)
    layer.note(
        "the last Torch7 only scales here, since its batch normalization passes a batch of one through its running "
        "statistics. If the model was trained before nn did so (2017), and normalizes each plane, convert it with "
        "--alias nn.InstanceNormalization=torchmigrate.InstanceNorm"
    )
    return _instance_norm(layer, measure=False)


@converts("torchmigrate.InstanceNorm", traits=Traits(unproven="it stands for an nn of before 2017"))
def instance_norm(layer: Layer) -> nn.Module:
    """--alias nn.InstanceNormalization=torchmigrate.InstanceNorm

    Each plane of each image is normalized by its own mean and variance, as fast-neural-style meant it.
    """
    return _instance_norm(layer, measure=True)


@converts("nn.Rectifier")
def rectifier(layer: Layer) -> nn.ReLU:
    """nn.Rectifier()

    deep-q-network's: (|x| + x) / 2, which is nn.ReLU, its gradient too.
    """
    return nn.ReLU()


class OneHot(nn.Module):
    """Rows with a one at a 1-based index and zeros elsewhere, whatever type the indices have.

    Args:
        depth: numbers of a row.
        number_type: of the rows; `float()`, `double()` and `to(dtype)` change it like that of a weight.
    """

    def __init__(self, depth: int, number_type: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.depth = depth
        self.number_type = number_type

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> OneHot:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.number_type = fn(torch.empty(0, dtype=self.number_type)).dtype
        return self

    def forward(self, x: torch.Tensor | float) -> torch.Tensor:
        indices = torch.as_tensor(x)
        numbers = torch.arange(1, self.depth + 1, device=indices.device)
        return (indices.long().unsqueeze(-1) == numbers).to(self.number_type)

    def extra_repr(self) -> str:
        return f"{self.depth}, number_type={self.number_type}"


@module_form("python", OneHot)
def _rows(module: OneHot, x: Variable) -> ast.expr | None:
    """As PyTorch has it."""
    name = {torch.float32: "float", torch.float64: "double"}.get(module.number_type)
    if name is None or not all(isinstance(value, torch.Tensor) for value in x.values):
        return None
    return python(f"nn.functional.one_hot(x.long() - 1, depth).{name}()", x=x, depth=module.depth)


@converts("OneHot", "nn.OneHot", traits=Traits(reads="indices"))
def one_hot(layer: Layer) -> OneHot:
    """nn.OneHot(outputSize), or char-rnn's OneHot(outputSize)

    Torch7 copies the rows into `output`, whose type is that of the model, and Double where nothing says another.
    """
    layer.ignore("_eye", "_input", "_single", "_longInput", "_ix", "_longInput2", "inputTensorType")
    depth = layer.integer("depth") if layer.has("depth") else layer.integer("outputSize")
    layer.ignore("depth", "outputSize")
    said = layer.text("_type", "torch.DoubleTensor")
    kept = [value.type for name in ("output", "gradInput") if isinstance(value := layer.object.get(name), Tensor)]
    return OneHot(depth, dtype_of([*kept, said][0]) or torch.float64)

"""Small layers of packages nnx and dpnn."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, converts_to
from ...model.traits import Traits
from ...t7 import LuaTable
from ..linear.linear import linear


class Minus(nn.Module):
    """Negates its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -x


converts_to(Minus, "nn.Minus", traits=Traits(safe_on_own_output=True))


class SaturatedLU(nn.Module):
    """Replaces what is below `lower` by `lower_value`, and what is then above `upper` by `upper_value`."""

    def __init__(self, lower: float, lower_value: float, upper: float, upper_value: float) -> None:
        super().__init__()
        self.lower = lower
        self.lower_value = lower_value
        self.upper = upper
        self.upper_value = upper_value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.where(x < self.lower, self.lower_value, x)
        return torch.where(x > self.upper, self.upper_value, x)

    def extra_repr(self) -> str:
        return f"{self.lower}, {self.lower_value}, {self.upper}, {self.upper_value}"


@converts("nn.SaturatedLU", traits=Traits(reuses="nothing", safe_on_own_output=True))
def saturated_lu(layer: Layer) -> SaturatedLU:
    """nn.SaturatedLU([lower = -1], [value = -1], [upper = 1], [value2 = 1])"""
    return SaturatedLU(*(layer.number(name) for name in ("threshold", "val", "threshold2", "val2")))


@converts("nn.MultiSoftMax", traits=Traits(safe_on_own_output=True, picture="activation"))
def multi_soft_max(layer: Layer) -> nn.Softmax:
    """nn.MultiSoftMax()"""
    return nn.Softmax(dim=-1)


@converts("nn.Probe")
def probe(layer: Layer) -> nn.Identity:
    """nn.Probe([name], [display])

    It prints statistics of its input in Torch7; here it passes the input on in silence.
    """
    layer.ignore("name", "display", "winf", "winb")
    return nn.Identity()


@converts("nnx.QDRiemaNNLinear", traits=Traits(reads="numbers", picture="weights"))
def qd_riemann_linear(layer: Layer) -> nn.Linear:
    """nnx.QDRiemaNNLinear(inputSize, outputSize, [gamma = 0.01], [qdFlag = true])

    Torch7 divides the gradients of weight and bias by a metric learnt in training; here they are the derivatives.
    """
    layer.ignore("gamma", "qdFlag", "matReg", "initMetric", "Mii", "M0i", "M00")
    layer.note("Torch7 preconditions the gradients of this layer's parameters; here they are the plain derivatives")
    return linear(layer)


class Balance(nn.Module):
    """In training, makes all classes of a softmax equally probable over the last `batches` batches."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches = batches
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x.clone()
        if self.seen and self.seen[0].shape != x.shape:
            self.seen = []
        self.seen = [*self.seen, x.detach()][-self.batches :]
        total = torch.cat(self.seen).sum(0)
        y = x / (total / total.sum())
        return y / y.sum(1, keepdim=True).detach()

    def extra_repr(self) -> str:
        return f"batches={self.batches}"


@converts("nn.Balance", traits=Traits(safe_on_own_output=True))
def balance(layer: Layer) -> Balance:
    """nn.Balance([nBatch = 10])"""
    layer.ignore("inputCache", "prob", "sum", "batchSize", "startIdx")
    return Balance(layer.integer("nBatch"))


class PushTable(nn.Module):
    """Takes one entry (0-based) out of its input list, for as many PullTables as there are to put it back in."""

    def __init__(self, index: int, pulls: int) -> None:
        super().__init__()
        self.index = index
        self.pulls = pulls
        self.held: list[Any] = []

    def forward(self, x: list[Any]) -> list[Any]:
        self.held = [x[self.index]] * self.pulls
        return [*x[: self.index], *x[self.index + 1 :]]

    def extra_repr(self) -> str:
        return f"index={self.index}, pulls={self.pulls}"


@converts("nn.PushTable", traits=Traits(output="pass", flow="push"))
def push_table(layer: Layer) -> PushTable:
    """nn.PushTable(index)"""
    layer.ignore("_gradInput", "_forward")
    return PushTable(layer.integer("_index") - 1, _count(layer))


def _count(layer: Layer) -> int:
    pulls = layer.value("_pulls")
    return len(pulls.list()) if isinstance(pulls, LuaTable) else 0


class PullTable(nn.Module):
    """Inserts what its PushTable took out into its input list, at `index` (0-based)."""

    def __init__(self, push: PushTable, index: int) -> None:
        super().__init__()
        self.push = push
        self.index = index

    def forward(self, x: Any) -> list[Any]:
        items = list(x) if isinstance(x, (list, tuple)) else [x]
        return [*items[: self.index], self.push.held.pop(), *items[self.index :]]

    def extra_repr(self) -> str:
        return f"index={self.index}"


@converts("nn.PullTable", traits=Traits(output="pass", flow="pull"))
def pull_table(layer: Layer) -> PullTable:
    """nn.PullTable(push, index)

    Made by the method `pull` of nn.PushTable.
    """
    layer.ignore("_output")
    push = layer.module("_push")
    if not isinstance(push, PushTable):
        layer.refuse("its _push is no nn.PushTable")
    return PullTable(push, layer.integer("_index") - 1)


class EntropyGradient(torch.autograd.Function):
    """Passes a batch of distributions on; its gradient also raises the entropy of their mean."""

    @staticmethod
    def forward(x: torch.Tensor, scale: float, minimum: float, average: bool) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, float, float, bool], output: torch.Tensor) -> None:
        x, ctx.scale, ctx.minimum, ctx.average = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        total = x.sum()
        p = x.sum(0) / total
        logarithm = torch.log(p + 0.000001)
        raising = ctx.scale * (logarithm + p / (p + 0.000001)) / total
        if ctx.average:
            raising = raising / x.shape[0]
        entropy = -(p * logarithm).sum()
        return grad + torch.where(entropy < ctx.minimum, raising, 0), None, None, None


class CategoricalEntropy(nn.Module):
    """Passes a batch of distributions (N, C) on; its gradient also raises the entropy of their mean.

    Args:
        scale: weight of that gradient.
        minimum: raise only entropies below.
        average: divide that gradient by the number of samples.
    """

    def __init__(self, scale: float = 1.0, minimum: float = float("inf"), average: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.minimum = minimum
        self.average = average

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = EntropyGradient.apply(x, self.scale, self.minimum, self.average)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"scale={self.scale}, minimum={self.minimum}, average={self.average}"


@converts("nn.CategoricalEntropy", traits=Traits(safe_on_own_output=True, output="pass"))
def categorical_entropy(layer: Layer) -> CategoricalEntropy:
    """nn.CategoricalEntropy([scale = 1], [minEntropy])"""
    layer.ignore("modules", "module", "_mul", "minusOne", "entropy")
    minimum = layer.number("minEntropy", float("inf"))
    return CategoricalEntropy(layer.number("scale"), minimum, layer.flag("sizeAverage"))

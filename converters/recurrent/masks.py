"""Package rnn: masks for sequences of different length, and small layers that recurrent modules are built of."""

from __future__ import annotations

import ast
from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.recurrent_state import Remembering
from ...model.registry import converts, converts_to, module_form
from ...model.traits import Traits
from ...source.expressions import Variable, python
from ..linear.linear import LINEAR
from ..tables.containers import only_child
from .steps import ignore_bookkeeping, remembered
from .zero_masks import batch_mask_zero


class MaskZero(nn.Module):
    """Runs a module; where the samples of its input (of its first tensor) are all zero, the output becomes zero.

    Args:
        module: what is run.
        input_dims: an input of one dimension more is a batch.
    """

    def __init__(self, module: nn.Module, input_dims: int) -> None:
        super().__init__()
        self.module = module
        self.input_dims = input_dims

    def forward(self, x: Any) -> Any:
        first = x
        while isinstance(first, (list, tuple)):
            first = first[0]
        start = first.dim() - self.input_dims
        kept = (first != 0).flatten(start).any(-1)
        return self.mask(self.module(x), kept)

    def mask(self, y: Any, kept: torch.Tensor) -> Any:
        if isinstance(y, torch.Tensor):
            return torch.where(kept.reshape(-1, *[1] * (y.dim() - 1)), y, torch.zeros_like(y))
        return [self.mask(item, kept) for item in y]

    def extra_repr(self) -> str:
        return f"input_dims={self.input_dims}"


@converts("nn.MaskZero", "nn.TrimZero")
def mask_zero(layer: Layer) -> nn.Module:
    """nn.MaskZero(module, nInputDim); nn.TrimZero(module, nInputDim)

    The gradient is that of the masked output. Torch7 gives the module's own parameters the gradient of masked rows too,
    and nn.TrimZero can't run backward there. torch/rnn's nn.MaskZero(module, [v1], [maskinput], [maskoutput]) is told
    by its fields.
    """
    if layer.has("maskoutput"):
        return batch_mask_zero(layer)
    layer.ignore("zeroMask", "_zeroMask", "batchmode", "gradOutput", "_maskbyte", "_maskindices", "temp", "gradTemp")
    return MaskZero(only_child(layer), layer.integer("nInputDim"))


class LookupTableMaskZero(nn.Module):
    """The rows of a table for whole-numbered indices; index 0 gives zeros, whatever row 0 holds.

    Args:
        rows: how many rows, with row 0.
        size: length of a row.
        padding: index whose row gets no gradient.
        max_norm: longer rows are scaled down in place before they are used.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide the gradient of a row by how often it is used.
    """

    def __init__(
        self,
        rows: int,
        size: int,
        padding: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
    ) -> None:
        super().__init__()
        self.rows = rows
        self.size = size
        self.padding = padding
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.weight = nn.Parameter(torch.empty(rows, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.embedding(
            x.long(), self.weight, self.padding, self.max_norm, self.norm_type, self.scale_grad_by_freq
        )
        return torch.where((x == 0).unsqueeze(-1), y - y.detach(), y)

    def extra_repr(self) -> str:
        return f"{self.rows}, {self.size}"


@converts("nn.LookupTableMaskZero", traits=Traits(reuses="rows", reads="indices", first_index=0, picture="weights"))
def lookup_table_mask_zero(layer: Layer) -> LookupTableMaskZero:
    """nn.LookupTableMaskZero(nIndex, nOutput)"""
    layer.ignore("__input", "_count", "_input", "copiedInput", "_sorted", "_indices")
    rows, size = layer.tensor("weight").shape
    padding = layer.integer("paddingValue", 0)  # counts the rows from 1; 0 is none
    module = layer.make(
        LookupTableMaskZero,
        rows,
        size,
        padding=padding - 1 if padding > 0 else None,
        max_norm=layer.number("maxNorm") if layer.has("maxNorm") else None,
        norm_type=layer.number("normType", 2.0),
        scale_grad_by_freq=layer.flag("shouldScaleGradByFreq", default=False),
    )
    return layer.put(module, "weight")


@converts("nn.LinearNoBias", "nn.LinearNB", "nn.Linear_wo_bias", traits=LINEAR)
def linear_no_bias(layer: Layer) -> nn.Linear:
    """nn.LinearNoBias(inputSize, outputSize)

    nn.LinearNB of facebook/MemNN and nn.Linear_wo_bias of HyeonwooNoh/DPPnet are the same.
    """
    layer.ignore("inputSize", "outputSize")
    out_features, in_features = layer.tensor("weight").shape
    return layer.put(layer.make(nn.Linear, in_features, out_features, bias=False), "weight")


converts_to(nn.Identity, "nn.CopyGrad", traits=Traits(reuses="nothing", safe_on_own_output=True, output="pass"))


class SAdd(nn.Module):
    """Adds a number; with `negate` changes the sign afterwards."""

    def __init__(self, addend: float, negate: bool = False) -> None:
        super().__init__()
        self.addend = addend
        self.negate = negate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -(x + self.addend) if self.negate else x + self.addend

    def extra_repr(self) -> str:
        return f"addend={self.addend}, negate={self.negate}"


@module_form("python", SAdd)
@module_form("python of any size", SAdd)
def _sum(module: SAdd, x: Variable) -> ast.expr:
    return python("n - x", x=x, n=-module.addend) if module.negate else python("x + n", x=x, n=module.addend)


module_form("cell part", SAdd)("function")


@converts("nn.SAdd", traits=Traits(reuses="unknown", keeps_size=True))
def s_add(layer: Layer) -> SAdd:
    """nn.SAdd(addend, [negate = false])"""
    return SAdd(layer.number("addend"), layer.flag("negate", default=False))


class ReverseSequence(nn.Module):
    """Reverses the order along a dimension (0-based)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


@converts("nn.SeqReverseSequence", traits=Traits(reuses="unknown"))
def seq_reverse_sequence(layer: Layer) -> ReverseSequence:
    """nn.SeqReverseSequence(dim)"""
    layer.ignore("outputIndices", "gradIndices")
    return ReverseSequence(layer.integer("dim") - 1)


class AddLoss(torch.autograd.Function):
    """The first input; on the way back the gradient of the second, a loss, is added."""

    @staticmethod
    def forward(x: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (loss,) = ctx.saved_tensors
        return grad, torch.ones_like(loss)


class NormStabilizer(Remembering):
    """Returns its input; in training the gradient gets that of `beta` (|x| - |x of the step before|)², averaged."""

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        norm = x.norm(2, 1)
        loss = norm.new_zeros(()) if self.state is None else self.beta * (norm - self.state).square().mean()
        self.state = norm
        y: torch.Tensor = AddLoss.apply(x, loss)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"beta={self.beta}"


@converts("nn.NormStabilizer", traits=Traits(reuses="nothing", safe_on_own_output=True, output="pass"))
def norm_stabilizer(layer: Layer) -> NormStabilizer:
    """nn.NormStabilizer([beta = 1])"""
    ignore_bookkeeping(layer)
    layer.trains()  # unless it is told otherwise
    layer.ignore("modules", "loss", "_normsum")
    module = NormStabilizer(layer.number("beta", 1.0))
    before = remembered(layer, "outputs")
    module.state = None if before is None else before.norm(2, 1)
    return module

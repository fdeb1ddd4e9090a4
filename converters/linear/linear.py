"""Linear layers, of whole vectors and of sparse ones, given as keys and values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...t7 import LuaObject, Tensor


def sizes_before_product(obj: LuaObject, output: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The sizes (N, inputs) that a matrix of the layer turned into `output`."""
    weight = obj.get("weight")
    if isinstance(weight, Tensor) and len(weight.size) == 2:
        yield (output[0], weight.size[1])


LINEAR = Traits(
    reads="numbers", most_dims=2, picture="weights", zeros_by_chance=True, sizes_before=sizes_before_product
)


@converts("nn.Linear", traits=LINEAR)
def linear(layer: Layer) -> nn.Linear:
    """nn.Linear(inputDimension, outputDimension, [bias = true])"""
    out_features, in_features = layer.tensor("weight").shape
    return layer.put_all(layer.make(nn.Linear, in_features, out_features, bias=layer.has("bias")), "weight", "bias")


class TransposedLinear(nn.Module):
    """A linear layer whose weight is the transpose of another layer's, which has the parameter: it is (in, out)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight.t(), self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


module_form("transposed", nn.Linear)(TransposedLinear)


class IndexLinear(nn.Module):
    """A linear layer of sparse samples: [keys, values] of one sample, [list of keys, list of values], or flat.

    Flat are [keys of all samples, their values, how many each sample has].

    Args:
        in_features, out_features: sizes.
        normalize: leading columns of the weight that hold, for each input, the largest value met, its inverse, a mark
            and a bias; 0 or 4. While training the largest values are updated.
        offset: what is added to the keys to make them 0-based.
    """

    def __init__(self, in_features: int, out_features: int, normalize: int = 0, offset: int = -1) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.normalize = normalize
        self.offset = offset
        self.weight = nn.Parameter(torch.empty(in_features, normalize + out_features))
        self.bias = nn.Parameter(torch.empty(out_features))

    def forward(self, x: Any) -> torch.Tensor:
        if len(x) == 3:
            sizes = [int(n) for n in x[2]] if isinstance(x[2], torch.Tensor) else [int(x[2])]
            pairs = zip(x[0].split(sizes), x[1].split(sizes), strict=True)
            return torch.stack([self.sample(keys, values) for keys, values in pairs])
        if isinstance(x[0], torch.Tensor):
            return self.sample(x[0], x[1])
        return torch.stack([self.sample(keys, values) for keys, values in zip(x[0], x[1], strict=True)])

    def sample(self, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """One sample."""
        rows = keys.long() + self.offset
        if self.normalize:
            values = self.normalized(rows, values)
        return self.bias + values @ self.weight[rows, self.normalize :]

    def normalized(self, rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Values between -1 and 1, plus the bias of their input."""
        size = values.detach().abs()
        if self.training:
            with torch.no_grad():
                largest = self.weight[rows, 0]
                grown = size > largest
                self.weight[rows, 0] = torch.where(grown, size, largest)
                self.weight[rows, 1] = torch.where(grown, 1 / size, self.weight[rows, 1])
                self.weight[rows, 2] = 1
        known = self.weight.detach()[rows]
        scaled = torch.where(size > known[:, 0], values.sign(), values * known[:, 1])
        return scaled + self.weight[rows, 3]

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, normalize={self.normalize}, offset={self.offset}"


#: What a forward leaves behind.
_BUFFERS = (
    "gradWeightBuffer", "sizesCache", "cumSumSizesCache", "running", "normalizedValues", "valuesBuffer", "lkeys",
    "lvalues", "keys", "isFlat", "values", "sizes", "cumSumSizes", "noBatch", "updateKeys",
    "updateKeysBuffer",
)  # fmt: skip


@converts("nn.IndexLinear", traits=Traits(reads="numbers", picture="weights"))
def index_linear(layer: Layer) -> IndexLinear:
    """nn.IndexLinear(inputSize, outputSize, [doGradInput], [keysOffset], [weight], [bias], [normalize])"""
    layer.ignore("doGradInput", "weightDecay", "inputSize", "outputSize", *_BUFFERS)
    inputs, columns = layer.tensor("weight").shape
    normalize = layer.integer("normalize", 0)
    module = layer.make(IndexLinear, inputs, columns - normalize, normalize, layer.integer("offset", -1))
    return layer.put_all(module, "weight", "bias")

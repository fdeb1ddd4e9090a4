"""Batch normalization."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits

ROWS = Traits(reads="numbers", keeps_size=True, picture="normalization", zeros_by_chance=True)
MAPS, VOLUMES = replace(ROWS, reads="images"), replace(ROWS, reads="volumes")


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalization as Torch7 does it: also of one sample without a batch, and of a batch of one in training.

    Args:
        num_features: number of features, or planes.
        dimensions: of a batched input: 2, 4 or 5.
        eps: added to the variance.
        momentum: weight of the new value in the running statistics.
        affine: is there a weight?
        bias: is there a bias?
        freeze_single: while training, normalize a batch of one with the running statistics, and keep these?
    """

    def __init__(
        self,
        num_features: int,
        dimensions: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        bias: bool = True,
        freeze_single: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine)
        if not bias:
            self.register_parameter("bias", None)
        self.dimensions = dimensions
        self.freeze_single = freeze_single

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() == self.dimensions - 1 and not self.training:
            x = x.unsqueeze(0)  # Torch7 keeps the batch dimension
        self._check_input_dim(x)
        if self.training and not self.freeze_single and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)  # as torch.nn counts
        updates = self.training and (x.shape[0] > 1 or not self.freeze_single)
        known = self.running_mean, self.running_var, self.weight, self.bias
        return F.batch_norm(x, *known, updates, self.momentum, self.eps)  # type: ignore[arg-type]

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002 - PyTorch's name
        if input.dim() != self.dimensions:
            raise ValueError(f"expected {self.dimensions} dimensions, a batch, and got {list(input.shape)}")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, dimensions={self.dimensions}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, freeze_single={self.freeze_single}"
        )


class BatchStatisticsNorm(BatchNorm):
    """Batch normalization by the statistics of each batch in evaluation too: evaluate() does not reach it in Torch7."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training or (self.freeze_single and x.shape[0] == 1):
            return super().forward(x)
        self._check_input_dim(x)
        others = [0, *range(2, x.dim())]
        away = x - x.mean(others, keepdim=True)
        y = away / (away.square().mean(others, keepdim=True) + self.eps).sqrt()
        sizes = [1, -1, *[1] * (x.dim() - 2)]
        if self.weight is not None:
            y = y * self.weight.reshape(sizes)
        return y if self.bias is None else y + self.bias.reshape(sizes)


class BatchNorm1d(nn.BatchNorm1d):  # noqa: D101 - it stands in generated source, where each line counts
    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - PyTorch's name
        updates = self.training and len(input) > 1  # Torch7 freezes it for one sample
        known = self.running_mean, self.running_var, self.weight, self.bias
        return nn.functional.batch_norm(input, *known, updates, self.momentum, self.eps)  # type: ignore[arg-type]


class BatchNorm2d(nn.BatchNorm2d):  # noqa: D101 - it stands in generated source, where each line counts
    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - PyTorch's name
        updates = self.training and len(input) > 1  # Torch7 freezes it for one sample
        known = self.running_mean, self.running_var, self.weight, self.bias
        return nn.functional.batch_norm(input, *known, updates, self.momentum, self.eps)  # type: ignore[arg-type]


class BatchNorm3d(nn.BatchNorm3d):  # noqa: D101 - it stands in generated source, where each line counts
    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - PyTorch's name
        updates = self.training and len(input) > 1  # Torch7 freezes it for one sample
        known = self.running_mean, self.running_var, self.weight, self.bias
        return nn.functional.batch_norm(input, *known, updates, self.momentum, self.eps)  # type: ignore[arg-type]


#: By the dimensions of a batch: those that treat a batch of one as Torch7 does while training, and PyTorch's own.
_FROZEN: dict[int, type[Any]] = {2: BatchNorm1d, 4: BatchNorm2d, 5: BatchNorm3d}
_STOCK: dict[int, type[Any]] = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


@module_form("stock", BatchNorm)
def _stock(module: BatchNorm, x: torch.Tensor) -> nn.Module | None:
    if x.dim() != module.dimensions or (module.weight is None) != (module.bias is None):
        return None
    cls = (_FROZEN if module.freeze_single else _STOCK)[module.dimensions]
    stock: nn.Module = cls(module.num_features, module.eps, module.momentum, module.affine)
    stock._parameters.update(module._parameters)
    stock._buffers.update(module._buffers)
    return stock


def _batch_norm(layer: Layer, dimensions: int) -> BatchNorm:
    # itayhubara/BinaryNet gives it a flag for eps, and Torch7 takes true for 1
    eps = 1.0 if layer.value("eps", None) is True else layer.number("eps", 1e-5)
    layer.ignore("affine", "nDim", "mode", "nBatch", "iSize", "oSize", "buffer2", "centered", "std", "normalized")
    weight, bias = layer.has("weight"), layer.has("bias")
    if bias and not weight:
        layer.refuse("it has a bias and no weight")
    module = layer.make(
        BatchNorm,
        layer.tensor("running_mean").numel(),
        dimensions,
        eps,
        layer.number("momentum", 0.1),
        affine=weight,
        bias=bias,
        # while training, cudnn takes the statistics of a batch of one too
        freeze_single=not layer.typename.startswith("cudnn."),
    )
    layer.put_all(module, "weight", "bias", "running_mean")
    if layer.has("running_var"):
        layer.put(module, "running_var")
    elif layer.has("running_std"):
        # before version 2 the inverse of the deviation was kept, under this name
        layer.put(module, "running_var", layer.tensor("running_std").pow(-2) - eps, field="running_std")
    else:
        layer.refuse("it has neither running_var nor running_std")
    module.num_batches_tracked = torch.tensor(0)
    return module


@converts("nn.BatchNormalization", "cudnn.BatchNormalization", traits=ROWS)
def batch_normalization(layer: Layer) -> BatchNorm:
    """nn.BatchNormalization(nOutput, [eps = 1e-5], [momentum = 0.1], [affine = true])

    While training, nn's (not cudnn's) batch normalization passes a batch of one through the running statistics.
    """
    return _batch_norm(layer, 2)


@converts("nn.SpatialBatchNormalization", "cudnn.SpatialBatchNormalization", traits=MAPS)
def spatial_batch_normalization(layer: Layer) -> BatchNorm:
    """nn.SpatialBatchNormalization(nOutput, [eps = 1e-5], [momentum = 0.1], [affine = true])"""
    return _batch_norm(layer, 4)


@converts("nn.VolumetricBatchNormalization", "cudnn.VolumetricBatchNormalization", traits=VOLUMES)
def volumetric_batch_normalization(layer: Layer) -> BatchNorm:
    """nn.VolumetricBatchNormalization(nOutput, [eps = 1e-5], [momentum = 0.1], [affine = true])"""
    return _batch_norm(layer, 5)

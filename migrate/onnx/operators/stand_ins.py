"""Modules that take the place of others while a model is exported, so that each becomes the ONNX operator of its name.

They compute nothing by themselves: only an export can run them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ...converters.images.fractional_pooling import FractionalMaxPool
from ...converters.images.normalization import LRN
from ...converters.images.unpooling import MaxUnpool, PairedMaxPool2d, PairedMaxPool3d, remembered
from ...converters.recurrent.cudnn import CudnnRNN
from ...converters.recurrent.sequencers import Sequencer
from ...converters.recurrent.sequences import SeqGRU, SeqLSTM
from ...converters.recurrent.steps import GRUStep, LSTMStep
from .cells import OnnxGRUStep, OnnxLSTMStep, OnnxSequencer, OnnxStep
from .recurrent import OnnxCudnnRNN, OnnxSeqGRU, OnnxSeqLSTM


def operator(name: str, inputs: Sequence[Any], attributes: dict[str, Any], like: torch.Tensor, shape: Any) -> Any:
    """One ONNX operator with one output, of the type of `like`."""
    return torch.onnx.ops.symbolic(name, inputs, attributes, dtype=like.dtype, shape=shape)


class OnnxLRN(LRN):
    """As `LRN`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = x if x.dim() == 4 else x.unsqueeze(0)
        attributes = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "bias": self.k}
        y: torch.Tensor = operator("LRN", (batch,), attributes, x, batch.shape)
        return y if x.dim() == 4 else y.squeeze(0)


def _each_axis(value: Any, axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else list(value)


def _window(pooling: Any, axes: int) -> tuple[list[int], list[int], list[int]]:
    """Size, stride and padding of a pooling, for each axis."""
    return tuple(_each_axis(n, axes) for n in (pooling.kernel_size, pooling.stride, pooling.padding))  # type: ignore[return-value]


def _pool_with_places(pooling: Any, x: torch.Tensor, axes: int) -> torch.Tensor:
    batch = x if x.dim() == axes + 2 else x.unsqueeze(0)
    pool = F.max_pool2d if axes == 2 else F.max_pool3d
    kernel, stride, padding = _window(pooling, axes)
    dilation = _each_axis(pooling.dilation, axes)
    shape = pool(batch, kernel, stride, padding, dilation, pooling.ceil_mode).shape
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": stride,
        "pads": padding * 2,
        "dilations": dilation,
        "ceil_mode": int(pooling.ceil_mode),
    }
    y, indices = torch.onnx.ops.symbolic_multi_out(
        "MaxPool", (batch,), attributes, dtypes=(x.dtype, torch.int64), shapes=(shape, shape)
    )
    places = remembered(pooling)
    places.indices, places.size = indices, batch  # type: ignore[assignment]
    return y if x.dim() == axes + 2 else y.squeeze(0)


class OnnxPairedMaxPool2d(PairedMaxPool2d):
    """As `PairedMaxPool2d`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _pool_with_places(self, x, 2)


class OnnxPairedMaxPool3d(PairedMaxPool3d):
    """As `PairedMaxPool3d`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _pool_with_places(self, x, 3)


class OnnxMaxUnpool(MaxUnpool):
    """As `MaxUnpool`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places: Any = getattr(self.pooling, "places", None)
        if places is None or places.indices is None:
            return super().forward(x)  # the file says where the maxima were
        whole: torch.Tensor = places.size
        axes = whole.dim() - 2
        batch = x if x.dim() == axes + 2 else x.unsqueeze(0)
        kernel, stride, padding = _window(self.pooling, axes)
        attributes = {"kernel_shape": kernel, "strides": stride}
        if any(padding):
            attributes["pads"] = padding * 2
        inputs = [batch, places.indices]
        followed = zip(batch.shape[2:], kernel, stride, padding, strict=True)
        if list(whole.shape[2:]) != [(n - 1) * s + k - 2 * p for n, k, s, p in followed]:
            inputs.append(torch.onnx.ops.symbolic("Shape", (whole,), dtype=torch.int64, shape=[whole.dim()]))
        y: torch.Tensor = operator("MaxUnpool", inputs, attributes, x, whole.shape)
        return y if x.dim() == axes + 2 else y.squeeze(0)


class OnnxFractionalMaxPool(FractionalMaxPool):
    """As `FractionalMaxPool` with fixed regions: their cells are gathered, then pooled."""

    values: torch.Tensor | None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = len(self.kernel_size)
        batch = x if x.dim() == axes + 2 else x.unsqueeze(0)
        if not self.fixed or self.values is None or self.values.shape[1:] != (batch.shape[1], axes):
            raise ValueError("its pooling regions are drawn anew at each run, and so no two runs agree")
        if self.values.shape[0] != batch.shape[0]:
            raise ValueError(f"its fixed pooling regions are those of a batch of {self.values.shape[0]}")
        y = batch
        for axis, kernel in enumerate(self.kernel_size):
            starts = self.starts(axis, batch.shape[2 + axis])
            cells = (starts.unsqueeze(-1) + torch.arange(kernel)).flatten(2)
            shape = [1] * y.dim()
            shape[:2], shape[2 + axis] = list(cells.shape[:2]), cells.shape[2]
            size = list(y.shape)
            size[2 + axis] = cells.shape[2]
            y = y.gather(2 + axis, cells.reshape(shape).expand(size))
        pool = F.max_pool2d if axes == 2 else F.max_pool3d
        y = pool(y, list(self.kernel_size), list(self.kernel_size))
        return y if x.dim() == axes + 2 else y.squeeze(0)

    def starts(self, axis: int, size: int) -> torch.Tensor:
        """Where the windows along an axis begin: (N, planes, windows)."""
        assert self.values is not None
        kernel = self.kernel_size[axis]
        count = self.output_size[axis] if self.output_size else int(size * (self.ratio or ())[axis])
        sample = self.values[..., self.column(axis)].unsqueeze(-1)
        if count == 1:
            return torch.full((*sample.shape[:-1], 1), size - kernel)
        step = (size - kernel) / torch.tensor(count - 1, dtype=sample.dtype)
        starts = ((torch.arange(count - 1) + sample) * step).trunc() - (sample * step).trunc()
        last = torch.full_like(sample, size - kernel)
        return torch.cat([starts, last], -1).long()

    def column(self, axis: int) -> int:
        """Which column of the samples belongs to an axis: an image's stand in the order width, height."""
        return 1 - axis if len(self.kernel_size) == 2 else axis


STAND_INS: dict[type[nn.Module], type[nn.Module]] = {
    LRN: OnnxLRN,
    PairedMaxPool2d: OnnxPairedMaxPool2d,
    PairedMaxPool3d: OnnxPairedMaxPool3d,
    MaxUnpool: OnnxMaxUnpool,
    FractionalMaxPool: OnnxFractionalMaxPool,
    CudnnRNN: OnnxCudnnRNN,
    SeqLSTM: OnnxSeqLSTM,
    SeqGRU: OnnxSeqGRU,
    LSTMStep: OnnxLSTMStep,
    GRUStep: OnnxGRUStep,
    Sequencer: OnnxSequencer,
}


def put_stand_ins(module: nn.Module) -> None:
    """Lets every part of `module` that has a stand-in become one; its name and its weights stay."""
    for part in list(module.modules()):
        stand_in = STAND_INS.get(type(part))
        if stand_in is None or (isinstance(part, LRN) and part.size % 2 == 0):
            continue  # of an even number of planes, ONNX and PyTorch take different ones
        part.__class__ = stand_in
        if isinstance(part, OnnxFractionalMaxPool):
            part.__dict__["values"] = part.samples
        elif isinstance(part, (OnnxCudnnRNN, OnnxSeqLSTM, OnnxSeqGRU, OnnxStep)):
            part.pack()

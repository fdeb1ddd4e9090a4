"""Modules of torch.nn that do the same as torchmigrate's own on the inputs that a model has."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from ..base.tensor_trees import apply
from ..converters.images.batch_norm import BatchNorm
from ..converters.images.normalization import LRN
from ..converters.images.unpooling import PairedMaxPool2d, PairedMaxPool3d
from ..converters.images.upsampling import LinearUpsample, NearestUpsample
from ..converters.linear.lookup import LookupTable
from ..converters.pointwise.softmax import InstanceSoftMax, LogSoftMax, SoftMax
from ..converters.recurrent.cudnn import CudnnRNN
from ..converters.recurrent.sequences import SeqLSTM
from ..converters.reshaping.shapes import Reshape, View
from ..converters.tables.containers import Bottle
from .check import same

_BATCH_NORMS: dict[int, Any] = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def substitute(module: nn.Module, inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> nn.Module:
    """A stock module with the same tensors that gives the same bits, else the module itself.

    Args:
        module: any module of a converted model, in evaluation mode.
        inputs: what it got, at two batch sizes or more.
        outputs: what it gave.
    """
    if len(inputs) < 2 or type(module).__module__.startswith("torch."):
        return module
    if not all(isinstance(x, torch.Tensor) for x in [*inputs, *outputs]):
        return module
    stock = _candidate(module, inputs[0])
    if stock is None:
        return module
    stock.eval()
    try:
        alike = all(same(stock(apply(x, torch.clone)), y) for x, y in zip(inputs, outputs, strict=True))
    except (RuntimeError, ValueError, IndexError):
        return module
    return stock if alike else module


def embedding_of(module: LookupTable) -> nn.Embedding | None:
    """The same table as PyTorch has it, if it has one."""
    if module.max_norm is not None or type(module) is not LookupTable:
        return None
    padding = module.padding_value - 1 if module.padding_value > 0 else None
    made = nn.Embedding(
        module.num_embeddings,
        module.embedding_dim,
        padding,
        scale_grad_by_freq=module.scale_grad_by_freq,
        _weight=module.weight.detach(),
    )
    made.weight = module.weight
    return made


def recurrent_of(module: nn.Module) -> nn.RNNBase | None:
    """The recurrent layer of torch.nn that does what this layer does, if there is one that starts from zeros."""
    if isinstance(module, SeqLSTM) and module.remember == "neither" and not (module.mask_zero or module.project):
        lstm: nn.RNNBase = copy.copy(module.lstm)
        lstm.batch_first = module.batch_first
        return lstm
    return module.rnn if isinstance(module, CudnnRNN) and not module.remember else None


def _candidate(module: nn.Module, x: torch.Tensor) -> nn.Module | None:
    if isinstance(module, BatchNorm):
        cls = _BATCH_NORMS.get(module.dimensions)
        if cls is None or x.dim() != module.dimensions or (module.weight is None) != (module.bias is None):
            return None
        return _with_tensors(cls(module.num_features, module.eps, module.momentum, module.affine), module)
    if isinstance(module, (View, Reshape)):
        if x.dim() < 2 or math.prod(x.shape[1:]) != abs(math.prod(module.size)):
            return None
        size = [n for n in module.size if n > 0]
        unflat = x.dim() == 2 and len(size) > 1 and math.prod(size) == x.shape[1]
        return nn.Unflatten(1, tuple(size)) if unflat else nn.Flatten()
    if isinstance(module, Bottle):
        inner = module.module
        if isinstance(inner, (LogSoftMax, SoftMax)):
            return nn.LogSoftmax(x.dim() - 1) if isinstance(inner, LogSoftMax) else nn.Softmax(x.dim() - 1)
        return inner if type(inner) is nn.Linear else None
    if isinstance(module, (LogSoftMax, SoftMax)):
        dim = 0 if x.dim() in (1, 3) else 1
        return nn.LogSoftmax(dim) if isinstance(module, LogSoftMax) else nn.Softmax(dim)
    if isinstance(module, InstanceSoftMax):
        return nn.LogSoftmax(1) if module.log else nn.Softmax(1)
    if isinstance(module, LRN):
        return nn.LocalResponseNorm(module.size, module.alpha, module.beta, module.k)
    if isinstance(module, NearestUpsample):
        return nn.Upsample(scale_factor=module.scale_factor)
    if isinstance(module, LinearUpsample) and x.dim() == 4 and isinstance(module.scale_factor, int):
        return nn.Upsample(scale_factor=module.scale_factor, mode="bilinear", align_corners=True)
    return _parent(module)


def _parent(module: nn.Module) -> nn.Module | None:
    """The same module without what its class adds to one of torch.nn."""
    base = type(module).__mro__[1]
    if isinstance(module, (PairedMaxPool2d, PairedMaxPool3d)):
        return None  # an unpooling asks it where the maxima were
    if not base.__module__.startswith("torch.nn.modules") or base in (nn.Module, nn.ModuleList, nn.Sequential):
        return None
    made = copy.copy(module)
    made.__class__ = base
    return made


def _with_tensors(made: nn.Module, module: nn.Module) -> nn.Module:
    """`made` with the very tensors of `module`."""
    for name, parameter in module._parameters.items():
        made._parameters[name] = parameter
    for name, buffer in module._buffers.items():
        made._buffers[name] = buffer
    return made

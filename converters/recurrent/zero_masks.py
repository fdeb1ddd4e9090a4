"""Package torch/rnn: masks of padding that are set before each batch, Torch7's setZeroMask, and what looks at them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.recurrent_state import Remembering
from ...model.registry import converts, converts_to
from ...model.traits import Traits
from ..tables.containers import only_child
from .sequencers import Sequencer

#: What is said of a layer that waits for a mask.
NEEDS_MASK = (
    "it zeroes padding by a mask that is set before each batch, in Torch7 with setZeroMask: here with "
    "torchmigrate.converters.recurrent_zero_masks.set_zero_mask(module, mask), or False where nothing is padding"
)


class ZeroMasked(nn.Module):
    """A module that zeroes padding, by a mask that `set_zero_mask` gave it."""

    #: ones where samples are padding; False: nothing is; None: it must be set before the next call
    zero_mask: torch.Tensor | bool | None = None
    #: which entry of the mask the next call takes; None: all of it
    mask_step: int | None = None

    def kept(self, x: torch.Tensor) -> torch.Tensor:
        """Where the samples of `x` are no padding; of the mask's dimensions and one more."""
        mask = self.zero_mask
        if mask is None:
            raise RuntimeError("set a mask of padding first, with set_zero_mask(module, mask), or False for none")
        if isinstance(mask, bool):
            return torch.ones_like(x[..., :1], dtype=torch.bool)
        if self.mask_step is not None:
            if self.mask_step >= mask.shape[0]:
                raise RuntimeError(f"the mask of padding is of {mask.shape[0]} steps, and more were asked for")
            mask = mask[self.mask_step]
            self.mask_step += 1
        if mask.shape != x.shape[: mask.dim()]:
            raise RuntimeError(f"the mask of padding has the shape {tuple(mask.shape)}, the input {tuple(x.shape)}")
        return (mask == 0).unsqueeze(-1)


def set_zero_mask(module: nn.Module, mask: torch.Tensor | bool | None, stepped: bool = False) -> None:
    """Says, for the next batch, where samples are padding: `mask` is of ones there, (T, N) for sequences.

    Args:
        module: a model; every part that masks padding is told.
        mask: False: nothing is padding; None: another mask must be set before the next call.
        stepped: `module` takes an entry of the sequence at a time.
    """
    if isinstance(module, ZeroMasked):
        module.zero_mask = mask
        module.mask_step = 0 if stepped else None
        return
    if isinstance(module, ReverseUnreverse) and isinstance(mask, torch.Tensor):
        mask = mask.flip(0)
    for child in module.children():
        set_zero_mask(child, mask, stepped or isinstance(module, (Sequencer, Remembering)))


def mask_kind(layer: Layer, *, always: bool = False) -> str:
    """How a layer finds padding: "" not at all; "input" where its input is all zero; "given" by a mask that is set."""
    layer.ignore("v2", "zeroMask")
    if not (always or layer.flag("maskzero", default=False)):
        return ""
    if layer.value("zeroMask", None) is False:
        layer.note("its mask of padding was switched off when the file was written")
        return ""
    if not layer.flag("v2", default=False):
        return "input"
    layer.note(NEEDS_MASK)
    return "given"


class BatchMaskZero(nn.Module):
    """Runs a module; where the samples of its input (of its first tensor) are all zero, the output becomes zero.

    Args:
        module: what is run, on batches.
        mask_input: zero the other tensors of the input there too.
        mask_output: zero the output.
    """

    def __init__(self, module: nn.Module, mask_input: bool = False, mask_output: bool = True) -> None:
        super().__init__()
        self.module = module
        self.mask_input = mask_input
        self.mask_output = mask_output

    def forward(self, x: Any) -> Any:
        first = x
        while isinstance(first, (list, tuple)):
            first = first[0]
        kept = self.kept(first)
        y = self.module(self.mask(x, kept) if self.mask_input else x)
        return self.mask(y, kept) if self.mask_output else y

    def kept(self, x: torch.Tensor) -> torch.Tensor:
        return (x != 0).reshape(x.shape[0], -1).any(1, keepdim=True)

    def mask(self, y: Any, kept: torch.Tensor) -> Any:
        if isinstance(y, torch.Tensor):
            shape = (*kept.shape[:-1], *[1] * (y.dim() - kept.dim() + 1))
            return torch.where(kept.reshape(shape), y, torch.zeros_like(y))
        return [self.mask(item, kept) for item in y]

    def extra_repr(self) -> str:
        return f"mask_input={self.mask_input}, mask_output={self.mask_output}"


class GivenMaskZero(ZeroMasked, BatchMaskZero):
    """Runs a module; where `set_zero_mask` said that samples are padding, the output becomes zero."""


def batch_mask_zero(layer: Layer) -> nn.Module:
    """The nn.MaskZero of torch/rnn."""
    layer.ignore("gradOutput", "maskinput", "maskoutput")
    module = only_child(layer)
    if not (mask := mask_kind(layer, always=True)):
        return module
    cls = GivenMaskZero if mask == "given" else BatchMaskZero
    return cls(module, layer.flag("maskinput", default=False), layer.flag("maskoutput", default=True))


class ReverseEntries(nn.Module):
    """Reverses the order of a list, or of a tensor along its first dimension."""

    def forward(self, x: Any) -> Any:
        return x.flip(0) if isinstance(x, torch.Tensor) else list(reversed(x))


converts_to(ReverseEntries, "nn.ReverseSequence", project="torch/rnn", ignore=("_range",), traits=Traits(output="pass"))


class ReverseUnreverse(nn.Module):
    """Runs a module that reverses a sequence, works on it, and reverses it again: its mask of padding is reversed."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        return self.module(x)


@converts("nn.ReverseUnreverse")
def reverse_unreverse(layer: Layer) -> ReverseUnreverse:
    """nn.ReverseUnreverse(sequencer), of torch/rnn"""
    layer.ignore("_range", "_zeroMask")
    return ReverseUnreverse(only_child(layer))


class VariableLength(nn.Module):
    """Runs a module on sequences of different length, a list of (T, D); returns the list of its outputs.

    The sequences are laid into the columns of one batch, short ones one below the other with padding between.

    Args:
        module: takes batches (T, N, D) with a mask of padding.
        last_only: return the last output of each sequence as one tensor (N, D).
    """

    def __init__(self, module: nn.Module, last_only: bool = False) -> None:
        super().__init__()
        self.module = module
        self.last_only = last_only

    def forward(self, x: list[torch.Tensor]) -> Any:
        columns = self.columns([len(entry) for entry in x])
        padded, mask = self.batch(x, columns)
        set_zero_mask(self.module, mask)
        y = self.module(padded)
        set_zero_mask(self.module, None)
        outputs = [y[:0]] * len(x)
        for i, column in enumerate(columns):
            for index, start in column:
                outputs[index] = y[start : start + len(x[index]), i]
        return torch.stack([output[-1] for output in outputs]) if self.last_only else outputs

    def columns(self, lengths: list[int]) -> list[list[tuple[int, int]]]:
        """For each column the sequences in it and where they start: the longest first, then each that still fits."""
        left = sorted(range(len(lengths)), key=lengths.__getitem__)[::-1]
        longest, columns = max(lengths, default=0), []
        while left:
            column, end = [], 0
            for index in list(left):
                if not left or end + lengths[left[-1]] > longest:  # not even the shortest fits
                    break
                if end + lengths[index] <= longest:
                    column.append((index, end))
                    left.remove(index)
                    end += lengths[index] + 1
            columns.append(column)
        return columns

    def batch(self, x: list[torch.Tensor], columns: list[list[tuple[int, int]]]) -> tuple[torch.Tensor, torch.Tensor]:
        """The padded batch and its mask."""
        longest = max(len(entry) for entry in x)
        gap, parts, masks = x[0].new_zeros(longest, *x[0].shape[1:]), [], []
        for column in columns:
            pieces, marks = [], []
            for index, _ in column:
                pieces += [x[index], gap[:1]]
                marks += [gap.new_zeros(len(x[index])), gap.new_ones(1)]
            parts.append(torch.cat([*pieces, gap])[:longest])
            masks.append(torch.cat([*marks, gap.new_ones(longest)])[:longest])
        return torch.stack(parts, 1), torch.stack(masks, 1)

    def extra_repr(self) -> str:
        return f"last_only={self.last_only}"


@converts("nn.VariableLength", traits=Traits(reuses="storage"))
def variable_length(layer: Layer) -> VariableLength:
    """nn.VariableLength(module, [lastOnly = false]), of torch/rnn"""
    layer.ignore("indexes", "mappedLengths", "_mask")
    return VariableLength(only_child(layer), layer.flag("lastOnly", default=False))

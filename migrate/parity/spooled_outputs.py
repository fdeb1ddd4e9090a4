"""Keeps the outputs of all layers of a network, most in a temporary file: memory does not grow with depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from mmap import ACCESS_COPY, ALLOCATIONGRANULARITY, mmap
from typing import IO, Any
from weakref import WeakValueDictionary

import torch

from ..base.tensor_memo import TensorMemo
from ..base.tensor_trees import apply
from .trace import LayerRun

#: Where a map may begin: at a multiple of it.
_PAGE = ALLOCATIONGRANULARITY

#: So many bytes stay in memory, which is faster; what comes behind them goes to the file.
IN_MEMORY = 1 << 27


@dataclass(frozen=True)
class _Stored:
    """Where a tensor lies: at an offset in the file, or in memory, at an offset below 0."""

    offset: int
    dtype: torch.dtype
    size: torch.Size
    stride: tuple[int, ...]


class Spool(Mapping[tuple[int, int], Any]):
    """Outputs by (index of the layer, run of it), in the order in which they were added.

    What is written twice, as the output of a layer and of the container around it, is stored once and stays one tensor.
    Tensors of the file are mapped when they are asked for, and given back with the last who uses them.

    Args:
        file: an empty file, open for reading and writing.
        in_memory: how many bytes are not written to it.
        single: keep float64 as float32, in which float32 is compared with it; not what has no such number.
    """

    def __init__(self, file: IO[bytes], in_memory: int | None = None, *, single: bool = False) -> None:
        self._file = file
        self._single = single
        self._end = 0
        self._left = IN_MEMORY if in_memory is None else in_memory
        self._held: list[torch.Tensor] = []
        self._outputs: dict[tuple[int, int], Any] = {}
        self._written: TensorMemo[_Stored] = TensorMemo()
        self._mapped: WeakValueDictionary[int, torch.Tensor] = WeakValueDictionary()

    def add(self, step: LayerRun) -> None:
        """Writes the output of a layer.

        Raises:
            OSError: the disk is full.
        """
        self._outputs[step.key] = apply(step.output, self._write)

    def _write(self, tensor: torch.Tensor) -> _Stored:
        """Writes the numbers as they lie in memory; not through a map, where a full disk kills the process."""
        found = self._written.get(tensor)
        if found is None:
            kept = self._rounded(tensor)
            packed = torch.empty_like(kept, device="meta").stride() == kept.stride()
            dense = kept if packed else kept.clone()
            numbers = dense.detach().as_strided((dense.numel(),), (1,)).view(torch.uint8)
            held = numbers.numel() <= self._left
            offset = ~len(self._held) if held else self._file.seek(self._end)
            found = _Stored(offset, dense.dtype, dense.shape, dense.stride())
            if held:
                self._held.append(numbers.clone() if dense is tensor else numbers)
                self._left -= numbers.numel()
            else:
                self._file.write(numbers.numpy().data)
                self._end += (numbers.numel() // _PAGE + 1) * _PAGE  # no two begin at one place
            self._written.note(tensor, found)
        return found

    def _rounded(self, tensor: torch.Tensor) -> torch.Tensor:
        if not self._single or tensor.dtype != torch.float64 or not tensor.numel():
            return tensor
        made = tensor.float()
        return made if all(bool(number.isfinite()) for number in made.aminmax()) else tensor

    def __getitem__(self, key: tuple[int, int]) -> Any:
        return apply(self._outputs[key], self._read, _Stored)

    def _read(self, stored: _Stored) -> torch.Tensor:
        found = self._mapped.get(stored.offset)
        if found is None:
            found = self._mapped[stored.offset] = self._map(stored)
        return found

    def _map(self, stored: _Stored) -> torch.Tensor:
        count = stored.size.numel() * stored.dtype.itemsize
        if not count:
            return torch.empty(stored.size, dtype=stored.dtype)
        if stored.offset < 0:
            return self._held[~stored.offset].view(stored.dtype).as_strided(stored.size, stored.stride)
        self._file.flush()
        mapped = mmap(self._file.fileno(), count, access=ACCESS_COPY, offset=stored.offset)
        return torch.frombuffer(mapped, dtype=stored.dtype).as_strided(stored.size, stored.stride)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

"""Numbers about the tensors of a file: smallest, largest, mean, deviation, and whether any is not a number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..model.contents.kinds import size_text
from ..t7 import Tensor, Value
from ..t7.tensors import distinct
from .walk import everything

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Elements that are looked at at a time, so that a large file does not fill the memory.
_BLOCK = 1 << 22


@dataclass
class Statistics:
    """What the elements of a tensor are like.

    Attributes:
        path: where it is in the file.
        type: such as "torch.FloatTensor".
        size: such as "16x3x3x3".
        min, max, mean, std: of the finite elements (std of the population); None where there are none.
        nan: how many elements are not a number.
        inf: how many are infinite.
        zeros: how many are zero.
    """

    path: str
    type: str
    size: str
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    nan: int
    inf: int
    zeros: int


def tensor_statistics(value: Value) -> list[Statistics]:
    """Every tensor of a file that is not empty, in the order of the file."""
    return [
        statistics_of(found.path, found.value)
        for found in everything(value)
        if isinstance(found.value, Tensor) and found.value.numel()
    ]


def statistics_of(path: str, tensor: Tensor) -> Statistics:
    """The statistics of one tensor, computed in double precision."""
    import numpy as np

    numbers, times = distinct(tensor.numpy())
    count = nan = inf = zeros = 0
    low, high, total = np.inf, -np.inf, 0.0
    for block in _blocks(numbers):
        finite = block[np.isfinite(block)]
        nan += int(np.isnan(block).sum())
        inf += int(np.isinf(block).sum())
        zeros += int((block == 0).sum())
        if finite.size:
            count += finite.size
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            total += float(finite.sum())
    size = size_text(tensor)
    counts = nan * times, inf * times, zeros * times
    if not count:
        return Statistics(path, tensor.type, size, None, None, None, None, *counts)
    mean = total / count
    squares = sum(float(((block[np.isfinite(block)] - mean) ** 2).sum()) for block in _blocks(numbers))
    return Statistics(path, tensor.type, size, low, high, mean, float(np.sqrt(squares / count)), *counts)


def _blocks(numbers: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.float64]]:
    import numpy as np

    for block in np.nditer(numbers, ["external_loop", "buffered"], order="C", buffersize=_BLOCK):
        yield np.asarray(block, "f8")

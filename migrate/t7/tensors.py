"""Which elements of its storage a tensor reaches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .faults import Fault
from .values import Tensor, Value

if TYPE_CHECKING:
    from .values import Array

#: Size, stride, lowest and highest element relative to the first one, number of elements.
Layout = tuple[tuple[int, ...], tuple[int, ...], int, int, int]


def layout_of(shape: tuple[int, ...]) -> Layout:
    """What follows from the sizes and the strides of a tensor, which are the two halves of `shape`.

    Raises:
        Fault: a size is negative, or too large for any machine.
    """
    dimensions = len(shape) // 2
    size, stride = shape[:dimensions], shape[dimensions:]
    lowest = highest = 0
    count = 1 if size else 0
    bytes_at_most = 8
    for extent, step in zip(size, stride, strict=True):
        if extent < 0:
            raise Fault(f"a tensor has the negative size {size}", hint="The file is damaged.")
        count *= extent
        bytes_at_most *= extent or 1
        reach = (extent - 1) * step
        if reach < 0:
            lowest += reach
        else:
            highest += reach
    if not count and bytes_at_most >= 1 << 63:
        raise Fault(f"a tensor without elements has the size {size}, more than 64 bits hold")
    return size, stride, lowest, highest, count


def outside(tensor: Tensor) -> str:
    """Says how a tensor goes beyond its storage, or "" if it doesn't."""
    size, stride, lowest, highest, count = layout_of(tensor.size + tensor.stride)
    available = 0 if tensor.storage is None else len(tensor.storage)
    lowest += tensor.offset
    highest += tensor.offset
    if count == 0 or (lowest >= 1 and highest <= available):
        return ""
    return (
        f"a tensor of size {size}, stride {stride} and offset {tensor.offset} reaches from element {lowest} "
        f"to {highest} of a storage that has {available}"
    )


class Views:
    """How many elements the different views in a file have together; those that are equal are expanded once.

    Args:
        values: what was read of the file.
    """

    def __init__(self, values: Iterable[Value]) -> None:
        self._counts = {_view(value): value.numel() for value in values if type(value) is Tensor}
        self._total = sum(self._counts.values())

    def add(self, tensor: Tensor, most: int) -> None:
        """Counts one more.

        Raises:
            Fault: they are more than `most`.
        """
        if _view(tensor) not in self._counts:
            self._counts[_view(tensor)] = tensor.numel()
            self._total += tensor.numel()
        if self._total > most:
            raise Fault(
                f"with this one of size {'x'.join(map(str, tensor.size))}, of a storage of "
                f"{0 if tensor.storage is None else len(tensor.storage)}, the tensors of the file expand to "
                f"{self._total} elements, more than Limits.expanded_elements = {most} of a file of this size",
                hint="If you trust the file, --max-elements (Limits.expanded_elements) allows more.",
                limit=True,
            )


def _view(tensor: Tensor) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    return id(tensor.storage), tensor.offset, tensor.size, tensor.stride


def distinct(numbers: Array) -> tuple[Array, int]:
    """The numbers without the repetitions of expanded dimensions, and how often each is there."""
    times = 1
    for axis, (extent, step) in enumerate(zip(numbers.shape, numbers.strides, strict=True)):
        if step == 0 and extent > 1:
            numbers = numbers[(slice(None),) * axis + (slice(0, 1),)]
            times *= extent
    return numbers, times

"""Which elements of its storage a tensor reaches."""

from __future__ import annotations

from .values import Tensor


def check_reach(tensor: Tensor) -> int:
    """Checks that the storage has every element that the tensor can reach.

    Returns:
        The number of elements of the tensor.

    Raises:
        ValueError: it reaches outside its storage, or has a negative size.
    """
    lowest = highest = tensor.offset
    count = 1 if tensor.size else 0
    for extent, stride in zip(tensor.size, tensor.stride, strict=True):
        if extent < 0:
            raise ValueError(f"a tensor has the negative size {tensor.size}")
        count *= extent
        reach = (extent - 1) * stride
        if reach < 0:
            lowest += reach
        else:
            highest += reach
    if count == 0:
        return 0
    available = 0 if tensor.storage is None else len(tensor.storage.data)
    if lowest < 1 or highest > available:
        raise ValueError(
            f"a tensor of size {tensor.size}, stride {tensor.stride} and offset {tensor.offset} reaches from element "
            f"{lowest} to {highest} of a storage that has {available}"
        )
    return count

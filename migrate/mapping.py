"""Memory that a mapped file takes."""

from __future__ import annotations

import mmap
from typing import Any

from .t7 import Tensor

#: Smaller tensors are not worth a system call.
_WORTH_IT = 1 << 20


def release_pages(tensor: Tensor) -> None:
    """Lets go of the mapped file that holds a large tensor; what is read of it again comes back from the disk."""
    if tensor.storage is None or tensor.storage.data.nbytes < _WORTH_IT or not hasattr(mmap, "MADV_DONTNEED"):
        return
    holder: Any = tensor.storage.data
    while holder is not None and not isinstance(holder, mmap.mmap):
        holder = holder.obj if isinstance(holder, memoryview) else getattr(holder, "base", None)
    if holder is not None:
        holder.madvise(mmap.MADV_DONTNEED)

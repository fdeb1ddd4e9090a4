"""Memory that a mapped file takes."""

from __future__ import annotations

from . import Tensor

#: Smaller tensors are not worth a system call.
_WORTH_IT = 1 << 20


def release_pages(tensor: Tensor) -> None:
    """Lets go of the mapped file that holds a large tensor; what is read of it again comes back from the disk."""
    storage = tensor.storage
    if storage is not None and len(storage) * storage.itemsize >= _WORTH_IT:
        storage.release()

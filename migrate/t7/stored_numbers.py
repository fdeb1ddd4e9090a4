"""The numbers of a storage that stay in the file until someone asks for them."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

from ..base.errors import T7Error

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


class Elements:
    """Where the numbers of a storage are.

    Attributes:
        buffer: the bytes of the file.
        offset: of the first number in it.
        count: number of numbers.
        stored: their type in the file, as numpy spells it: "<f4", ">f4" in a big-endian file, …
        wanted: the type that the storage has; the same but for big-endian files and longs of 4 bytes.
    """

    __slots__ = ("buffer", "count", "made", "offset", "stored", "wanted")

    def __init__(self, buffer: bytes | mmap.mmap, offset: int, count: int, stored: str, wanted: str) -> None:
        self.buffer = buffer
        self.offset = offset
        self.count = count
        self.stored = stored
        self.wanted = wanted
        self.made: Array | None = None

    def __len__(self) -> int:
        return self.count

    def array(self) -> Array:
        """The numbers, read-only: a view of the file, or a copy where the file has them in another type.

        Raises:
            T7Error: the mapped file has become shorter, so that these numbers are no longer there.
        """
        import numpy as np

        if isinstance(self.buffer, mmap.mmap):
            # to touch a page beyond the end of a mapped file would end the process
            size = self.buffer.size()
            if size < self.offset + self.count * np.dtype(self.stored).itemsize:
                raise T7Error(
                    f"The file was cut to {size} bytes after it was opened: these numbers are gone",
                    offset=self.offset,
                    hint="Read it again, when nobody writes to it any more.",
                )
        if self.made is None:
            stored = np.frombuffer(self.buffer, self.stored, self.count, self.offset)
            made = stored if self.stored == self.wanted else stored.astype(self.wanted)
            made.flags.writeable = False
            self.made = made
        return self.made

    def __reduce__(self) -> tuple[Any, ...]:
        # the file may be gone where it is unpickled
        return _as_they_are, (self.array(),)

    def release(self) -> None:
        """Gives the memory back in which the mapped file stands; whoever looks again gets it from the file again."""
        if isinstance(self.buffer, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") and self.count:
            start = self.offset - self.offset % mmap.PAGESIZE
            end = min(self.offset + self.count * int(self.stored[-1]), len(self.buffer))
            self.buffer.madvise(mmap.MADV_DONTNEED, start, end - start)


def _as_they_are(numbers: Array) -> Array:
    """Numbers that were pickled: no longer a view of the file."""
    numbers.flags.writeable = False
    return numbers

"""How much a file may ask for."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..base.errors import UsageError

#: A large file may hold the same numbers in many views, as the clones of a recurrent network are.
_ELEMENTS_PER_BYTE = 16


@dataclass(frozen=True)
class Limits:
    """Bounds on what reading a file may need, so that a hostile one can't take the machine down.

    Every size in a file is checked against the bytes that are left before anything is allocated, so these bound what
    a file can ask for beyond its own size. The defaults are far above any real model.

    Attributes:
        depth: objects nested in each other; Torch7 itself can't write more than some thousands.
        objects: tables, Torch objects and functions in the file.
        entries: entries of one table.
        string_bytes: bytes of one string or one function.
        dimensions: dimensions of one tensor; numpy has no more than 32 in its older versions.
        elements: elements of all tensors together, an expanded tensor counted as large as it looks.
        expanded_elements: elements of all different views together (a stride of 0 costs no bytes), which are also
            those of one value that a layer computes; a large file may have 16 for each of its bytes.
        runs: runs of layers that one run of the model consists of; a container that is shared may run many times.
            The tables that they give may hold as many tensors together, since each takes as long as a run.
        unpacked_bytes: bytes that an archive around a file may hold, with those of archives in it.
    """

    depth: int = 10_000
    objects: int = 20_000_000
    entries: int = 50_000_000
    string_bytes: int = 2**30
    dimensions: int = 32
    elements: int = 2**34
    expanded_elements: int = 2**28
    runs: int = 100_000
    unpacked_bytes: int = 2**32

    def expanded_of(self, size: int) -> int:
        """To how many elements the views in a file of `size` bytes may expand."""
        return max(self.expanded_elements, _ELEMENTS_PER_BYTE * size)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise UsageError(f"Limits.{field.name} must be a whole number above 0, not {value!r}")


DEFAULT_LIMITS = Limits()

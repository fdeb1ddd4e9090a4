"""How each class writes what follows its name: nearly all write one table of fields; here are the others.

A class can have its own `write` in Lua, and nothing in the file says so: a reader that doesn't know it loses its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

from ..base.errors import UsageError
from .values import ELEMENT_CODES

_Form = Literal["objects", "fields", "hash", "vec", "raw", "tensor", "storage"]


class Field(NamedTuple):
    """A field that is written at its place, without its name.

    Attributes:
        name: the name that it has in Lua.
        kind: "object"; "i" an int, "l" a long, "d" a double, "b" a boolean; "t" an int that is there only if the field
            `kernel` is a table; "@" a table of all fields.
    """

    name: str
    kind: str


@dataclass(frozen=True)
class Body:
    """What follows the name of a class.

    Attributes:
        form: "objects": `count` objects one after the other; "hash": a long n, then n keys and values; "vec": a long
            n, then n values; "raw": `count` bytes; "fields": `fields` one after the other; "tensor" and "storage":
            those of Torch.
        count: number of objects or bytes.
        since: objects of a version below this have the usual body, one table.
        count_long4: number of bytes of a raw body where longs have 4 bytes, if it differs.
        dtype: element type of a storage, as numpy spells it.
        storage: class of a tensor's storage.
        fields: the fields of a body that has no table of them.
    """

    form: _Form = "objects"
    count: int = 1
    since: int = 0
    count_long4: int | None = None
    dtype: str | None = None
    storage: str = ""
    fields: tuple[Field, ...] = ()

    def of(self, version: int) -> Body:
        """The body of an object of this version."""
        return self if version >= self.since else ONE_TABLE

    def raw_bytes(self, long_size: int) -> int:
        """Number of bytes of a raw body where longs have `long_size` bytes."""
        return self.count_long4 if long_size == 4 and self.count_long4 is not None else self.count

    def __post_init__(self) -> None:
        if self.form not in get_args(_Form) or self.count < 0 or self.since < 0:
            raise UsageError(f"a class has no such body: {self.form!r}, count={self.count}, since={self.since}")
        if (self.form == "fields") != bool(self.fields):
            raise UsageError("a body of the form 'fields' has fields, and no other has any")
        if (self.form == "storage") != (self.dtype is not None) or (self.form == "tensor") != bool(self.storage):
            raise UsageError("a storage has a dtype, a tensor the class of its storage, and other bodies neither")


ONE_TABLE = Body()


def _standard_bodies() -> dict[str, Body]:
    bodies = {
        # a list {type, device}, then the fields
        "nn.GPU": Body(count=2),
        # the list of GPUs, then the fields
        "nn.DataParallelTable": Body(count=2, since=2),
        "torch.Timer": Body(count=0),
        # the memory of a C struct; it holds longs
        "torch.Generator": Body("raw", 5048, count_long4=2544),
        "tds.Hash": Body("hash"),
        "tds_hash": Body("hash"),
        "tds.Vec": Body("vec"),
    }
    for kind, dtype in ELEMENT_CODES.items():
        storage = f"torch.{kind}Storage"
        bodies[storage] = Body("storage", dtype=dtype)
        bodies[f"torch.{kind}Tensor"] = Body("tensor", storage=storage)
    return bodies


#: The classes whose body is not one table.
BODIES: Mapping[str, Body] = MappingProxyType(_standard_bodies())


def with_standard(bodies: Mapping[str, Body] | None) -> Mapping[str, Body]:
    """The known bodies, and those of a caller over them."""
    return {**BODIES, **bodies} if bodies else BODIES

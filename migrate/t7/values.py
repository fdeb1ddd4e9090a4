"""What a `.t7` file holds, as plain Python values.

nil is None, a boolean bool, a number float, a string str (bytes where it is not UTF-8). Everything with an identity in
Lua has one here: a shared table, object, tensor, storage or function is the same Python object wherever it is met.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from ..base.errors import T7Error
from .display import Displayed
from .keys import BoolKey, table_key
from .stored_numbers import Elements

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    ELEMENT_TYPES: dict[str, np.dtype[Any]]

#: A value read from a `.t7` file. (Recursive: tables and objects hold values.)
Value = Any

#: Element type of each storage as numpy spells it; GPU types are read as their CPU twins.
ELEMENT_CODES: dict[str, str] = {
    "Byte": "<u1",
    "Char": "<i1",
    "Short": "<i2",
    "Int": "<i4",
    "Long": "<i8",
    "Float": "<f4",
    "Double": "<f8",
    "Half": "<f2",
    "CudaByte": "<u1",
    "CudaChar": "<i1",
    "CudaShort": "<i2",
    "CudaInt": "<i4",
    "CudaLong": "<i8",
    "Cuda": "<f4",
    "CudaDouble": "<f8",
    "CudaHalf": "<f2",
}


def __getattr__(name: str) -> Any:
    # numpy is as slow to import as all else together, and much can be told of a file without it
    if name == "ELEMENT_TYPES":
        return _element_types()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _element_types() -> dict[str, np.dtype[Any]]:
    """Element type of each storage, without the `torch.` and `Storage`, as numpy's."""
    import numpy as np

    return {kind: np.dtype(code) for kind, code in ELEMENT_CODES.items()}


#: Bytes that are copied at a time from a mapped file.
_BLOCK = 1 << 24


class LuaTable(Displayed):
    """A Lua table: an ordered mapping that compares by identity, as in Lua.

    Keys are text (str, or bytes where not UTF-8), numbers (float; an int finds it too), booleans (kept apart from 1
    and 0) and objects (by identity). The order is that of the file.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Iterable[tuple[Value, Value]] = ()) -> None:
        self._entries: dict[Value, Value] = {}
        for key, value in entries:
            self[key] = value

    @classmethod
    def from_list(cls, values: Iterable[Value]) -> LuaTable:
        """A list-like table: the values under the keys 1, 2, 3, …"""
        return cls((float(i), value) for i, value in enumerate(values, 1))

    def __setitem__(self, key: Value, value: Value) -> None:
        self._entries[table_key(key)] = value

    def get(self, key: Value, default: Value = None) -> Value:
        """The value under `key`, or `default`."""
        if type(key) is bool or type(key) is bytes:
            key = table_key(key)
        return self._entries.get(key, default)

    def __getitem__(self, key: Value) -> Value:
        found = self.get(key, _MISSING)
        if found is _MISSING:
            raise KeyError(key)
        return found

    def __contains__(self, key: Value) -> bool:
        return self.get(key, _MISSING) is not _MISSING

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> list[tuple[Value, Value]]:
        """The (key, value) pairs in the order of the file."""
        return [(k.value if type(k) is BoolKey else k, v) for k, v in self._entries.items()]

    def keys(self) -> list[Value]:
        """The keys in the order of the file."""
        return [k.value if type(k) is BoolKey else k for k in self._entries]

    def values(self) -> list[Value]:
        """The values in the order of the file."""
        return list(self._entries.values())

    def __iter__(self) -> Iterator[Value]:
        return iter(self.keys())

    @property
    def is_list(self) -> bool:
        """Are the keys exactly 1, 2, … len? (True for the empty table.)"""
        entries = self._entries
        return all(map(entries.__contains__, map(float, range(1, len(entries) + 1))))

    def list(self) -> list[Value]:
        """The values under 1, 2, … up to the first that is missing (Lua's `ipairs`)."""
        found = []
        entries = self._entries
        index = 1.0
        while (value := entries.get(index, _MISSING)) is not _MISSING:
            found.append(value)
            index += 1.0
        return found

    def __repr__(self) -> str:
        kind = "list" if self.is_list else "table"
        return f"<Lua {kind} of {len(self)}>"


_MISSING: Any = object()


class LuaObject(Displayed):
    """An object of a Torch7 class: its class name, version and what its body holds.

    Attributes:
        typename: the class, such as `nn.Linear`.
        version: the n of the record "V n"; 0 for files older than the version records.
        parts: the objects that make up the body. One table of fields for almost every class; `nn.GPU` and
            `nn.DataParallelTable` write another before it; `torch.Timer` writes none.
        versioned: was there a "V n" record at all? (A version of 0 can be written either way.)
    """

    __slots__ = ("parts", "typename", "version", "versioned")

    def __init__(
        self,
        typename: str,
        fields: Value = None,
        *,
        version: int = 1,
        parts: list[Value] | None = None,
        versioned: bool = True,
    ) -> None:
        self.typename = typename
        self.version = version
        self.versioned = versioned
        self.parts: list[Value] = parts if parts is not None else [fields if fields is not None else LuaTable()]

    @property
    def fields(self) -> LuaTable:
        """The table of fields: the last part of the body that is a table (an empty one if there is none)."""
        for part in reversed(self.parts):
            if isinstance(part, LuaTable):
                return part
        return LuaTable()

    def get(self, key: Value, default: Value = None) -> Value:
        """The field `key`, or `default`."""
        return self.fields.get(key, default)

    def __getitem__(self, key: Value) -> Value:
        return self.fields[key]

    def __contains__(self, key: Value) -> bool:
        return key in self.fields

    def __len__(self) -> int:
        return len(self.fields)

    def items(self) -> list[tuple[Value, Value]]:
        """The (name, value) pairs of the fields in the order of the file."""
        return self.fields.items()

    def __repr__(self) -> str:
        return f"<{self.typename} with {len(self)} fields>"


class Storage:
    """A torch storage: a flat array of numbers that tensors are views of.

    Attributes:
        typename: `torch.FloatStorage`, `torch.CudaStorage`, …
        version: the n of the record "V n".
        versioned: was there such a record?
    """

    __slots__ = ("_held", "typename", "version", "versioned")

    _held: Array | Elements

    def __init__(self, typename: str, data: Array, *, version: int = 1, versioned: bool = True) -> None:
        self.typename = typename
        self._held = data
        self.version = version
        self.versioned = versioned

    @property
    def data(self) -> Array:
        """The elements, 1-D; a read-only view of the mapped file where it could be mapped.

        Raises:
            T7Error: the mapped file has become shorter since it was read.
        """
        held = self._held
        return held.array() if isinstance(held, Elements) else held

    @data.setter
    def data(self, data: Array) -> None:
        self._held = data

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        held = self._held
        return int(held.wanted[-1]) if isinstance(held, Elements) else held.itemsize

    def release(self) -> None:
        """Gives the memory back that looking at a mapped file takes; the elements can be looked at again."""
        if isinstance(self._held, Elements):
            self._held.release()

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"<{self.typename} of {len(self)}>"


class Tensor:
    """A torch tensor: a strided view of a storage.

    Attributes:
        type: `torch.FloatTensor`, `torch.CudaTensor`, …
        size: the extent of each dimension; () for an empty tensor (Torch7 has no 0-dimensional ones).
        stride: in elements, one for each dimension.
        offset: index of the first element in the storage, 1-based as in Lua.
        storage: what it is a view of; the same object for tensors that share it; None for a fresh empty tensor.
        version: the n of the record "V n".
        versioned: was there such a record?
    """

    __slots__ = ("offset", "size", "storage", "stride", "type", "version", "versioned")

    def __init__(
        self,
        type: str,  # noqa: A002 - Torch7's own word
        size: tuple[int, ...],
        stride: tuple[int, ...],
        offset: int,
        storage: Storage | None,
        *,
        version: int = 1,
        versioned: bool = True,
    ) -> None:
        self.type = type
        self.size = size
        self.stride = stride
        self.offset = offset
        self.storage = storage
        self.version = version
        self.versioned = versioned

    @classmethod
    def from_numpy(cls, array: Array, kind: str | None = None) -> Tensor:
        """A tensor with a storage of its own that holds a contiguous copy of `array`.

        Args:
            array: of a dtype that Torch7 has; 0-dimensional arrays become tensors of one element.
            kind: "Float", "CudaHalf", …; by default the CPU type of the dtype.
        """
        import numpy as np

        if kind is None:
            dtype = array.dtype.newbyteorder("<")
            kind = next((name for name, element in _element_types().items() if element == dtype), None)
            if kind is None:
                raise TypeError(f"Torch7 has no tensor type for numpy's {array.dtype}")
        data = np.ascontiguousarray(np.atleast_1d(array), dtype=_element_types()[kind])
        if data.size == 0:
            return cls(f"torch.{kind}Tensor", (), (), 1, None)
        stride = tuple(step // data.itemsize for step in data.strides)
        return cls(
            f"torch.{kind}Tensor", data.shape, stride, 1, Storage(f"torch.{kind}Storage", data.reshape(-1).copy())
        )

    @property
    def kind(self) -> str:
        """The element type: "Float", "CudaHalf", …"""
        return self.type.removeprefix("torch.").removesuffix("Tensor")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type as numpy's."""
        return _element_types()[self.kind]

    def numel(self) -> int:
        """Number of elements; 0 for an empty tensor."""
        if not self.size:
            return 0
        count = 1
        for extent in self.size:
            count *= extent
        return count

    @property
    def nbytes(self) -> int:
        """Bytes of its elements, told without numpy."""
        return self.numel() * int(ELEMENT_CODES[self.kind][-1])

    def numpy(self) -> Array:
        """A read-only view of the elements, of shape `size` (shape (0,) for an empty tensor).

        Raises:
            T7Error: it reaches beyond its storage, as no tensor of a file does, but one that was made or changed may.
        """
        try:
            view = self._view()
        except (ValueError, TypeError, OverflowError) as error:
            held = 0 if self.storage is None else len(self.storage)
            raise T7Error(
                f"A tensor of size {self.size}, stride {self.stride} and offset {self.offset} is no view of a storage "
                f"of {held} elements: {error}"
            ) from error
        view.flags.writeable = False
        return view

    def _view(self) -> Array:
        import numpy as np

        if self.storage is None or not self.numel():
            return np.empty(self.size or 0, self.dtype)
        data = self.storage.data
        step = data.itemsize
        # the stride of a dimension of one element means nothing, and may be too large for a C long
        strides = [s * step if n > 1 else 0 for n, s in zip(self.size, self.stride, strict=True)]
        # numpy checks that all of it lies inside the buffer, unlike as_strided
        return np.ndarray(self.size, data.dtype, data, (self.offset - 1) * step, strides)

    def copy(self) -> Array:
        """The elements in memory of their own, contiguous; of a mapped file little more than that is in memory."""
        import numpy as np

        view = self.numpy()
        made = np.empty_like(view, order="C", subok=False)
        rows = max(1, _BLOCK * len(view) // max(view.nbytes, 1))
        for start in range(0, len(view), rows):
            made[start : start + rows] = view[start : start + rows]
            if self.storage is not None and view.nbytes > _BLOCK:
                self.storage.release()
        return made

    def __repr__(self) -> str:
        return f"<{self.type} of size {'x'.join(map(str, self.size)) or 'nothing'}>"


class LuaFunction:
    """A Lua function: bytecode that is never run, and the values that it closes over.

    Attributes:
        bytecode: what `string.dump` gave.
        upvalues: the object written after it, usually a list of {name, id, value}.
        tag: 6, 7 or 8, the form in which it was written.
    """

    __slots__ = ("bytecode", "tag", "upvalues")

    def __init__(self, bytecode: bytes, upvalues: Value = None, tag: int = 8) -> None:
        self.bytecode = bytecode
        self.upvalues = upvalues
        self.tag = tag

    def __repr__(self) -> str:
        return f"<Lua function, {len(self.bytecode)} bytes of bytecode>"

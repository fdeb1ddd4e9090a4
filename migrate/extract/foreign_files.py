"""Files of PyTorch, HDF5 files, tables of numbers and pictures as values of Lua, for pack()."""

from __future__ import annotations

import csv
import io
import math
import pickle
import warnings
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import UsageError
from ..base.messages import cut
from ..t7 import LuaTable, Tensor, Value
from ..t7.limits import DEFAULT_LIMITS
from .as_tensor import as_tensor

#: Deeper than any state; it bounds the walk.
_MAX_DEPTH = 200


def read_torch(path: Path, notes: list[str]) -> Value:
    """What `torch.load(weights_only=True)` gives: tensors, numbers and text in lists and dicts.

    Raises:
        UsageError: it holds other objects, or what Lua has nothing like.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old files, and of those of TorchScript
            value = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, TypeError, AttributeError, LookupError) as error:
        said = cut(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__, 200)
        raise UsageError(
            f"it holds more than tensors, numbers and text in lists and dicts, or is damaged ({said}); in Python, "
            "torch.save(model.state_dict(), file) saves the weights alone"
        ) from error
    return _TorchValues(notes).value(value, "")


class _TorchValues:
    """Values of Python as those of Lua; what is there twice stays one."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes
        self._made: dict[int, tuple[Any, Value]] = {}
        self._views: dict[tuple[object, ...], Tensor] = {}
        self._storages: dict[int, str] = {}

    def value(self, item: Any, place: str, depth: int = 0) -> Value:
        import torch

        if depth > _MAX_DEPTH:
            raise UsageError(f"it is nested deeper than {_MAX_DEPTH}")
        if isinstance(item, torch.Tensor):
            return self._tensor(item, place)
        if isinstance(item, (bool, str, bytes)):
            return item
        if isinstance(item, (int, float)):
            return _number(item, place)
        if isinstance(item, np.ndarray):
            return as_tensor(item, place or "it", self._notes)
        if not isinstance(item, (list, tuple, dict)):
            raise UsageError(f"{place or 'it'} is {cut(repr(item), 60)}, a {type(item).__name__}, which Lua has not")
        if id(item) in self._made:
            return self._made[id(item)][1]
        table = LuaTable()
        self._made[id(item)] = item, table
        pairs = item.items() if isinstance(item, dict) else enumerate(item, 1)
        for key, part in pairs:
            where = f"{place}.{key}" if place else str(key)
            if not isinstance(key, (str, bool, int, float)):
                raise UsageError(f"{place or 'it'} has the key {cut(repr(key), 60)}, a {type(key).__name__}")
            if part is None and isinstance(item, dict):
                self._notes.append(f"{where} is None, and left out: a table of Lua has no such entry")
                continue
            table[key if isinstance(key, (str, bool)) else _number(key, where)] = self.value(part, where, depth + 1)
        return table

    def _tensor(self, tensor: Any, place: str) -> Tensor:
        import torch

        name = place or "it"
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise UsageError(f"{name} is sparse, quantized or without numbers; make it a plain tensor first")
        if tensor.dtype == torch.bfloat16:
            raise UsageError(f"{name} is of bfloat16, which Torch7 has not; make it float32 first")
        plain = tensor.detach().resolve_conj().resolve_neg()
        memory = plain.untyped_storage().data_ptr()
        view = (memory, plain.dtype, plain.storage_offset(), tuple(plain.shape), plain.stride())
        if view not in self._views or not plain.numel():
            if plain.numel() and memory in self._storages:
                self._notes.append(f"{name} shares memory with {self._storages[memory]}; in the file each has its own")
            self._storages.setdefault(memory, name)
            self._views[view] = as_tensor(plain.numpy(), name, self._notes)
        return self._views[view]


def _number(item: float, place: str) -> float:
    if isinstance(item, int) and (abs(item) >= 2**1023 or int(float(item)) != item):
        raise UsageError(f"{place or 'it'} is {cut(str(item), 60)}, which no Lua number equals")
    return float(item)


def read_numbers(path: Path, notes: list[str]) -> Value:
    """A table of numbers in text, a row a line: a tensor rows x columns, or of one dimension where a line has one.

    Columns are separated by commas, else semicolons, else tabs or spaces. Lines that begin with # are left out, and so
    is a first line of names; both are noted.

    Raises:
        UsageError: something is no number, or lines differ in length.
    """
    text = path.read_text("utf-8-sig")
    numbers = array("d")
    columns = rows = 0
    commented = 0
    for line, cells in _cells(text):
        if cells[0].startswith("#"):
            commented += 1
            continue
        try:
            found = [_parsed(cell) for cell in cells]
        except ValueError as error:
            if not rows and not columns and all(cell[:1].isalpha() for cell in cells):
                columns = len(cells)
                notes.append(f"the first line of {path.name} is taken for names and left out: {cut(str(cells), 120)}")
                continue
            raise UsageError(f"line {line}: {error}; a .json file holds text") from error
        if columns and len(found) != columns:
            raise UsageError(f"line {line} has {len(found)} columns, those above {columns}")
        columns = len(found)
        rows += 1
        numbers.extend(found)
    if not rows:
        raise UsageError("it holds no numbers")
    if commented:
        notes.append(f"{commented} lines of {path.name} begin with # and are left out")
    if columns == 1:
        notes.append(f"{path.name} has one number a line: a tensor of one dimension")
    made = np.frombuffer(numbers, np.float64)
    return Tensor.from_numpy(made if columns == 1 else made.reshape(rows, columns))


def _cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """The number of each line that says something, and its columns."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    separator = next((sign for sign in (",", ";") if lines and sign in lines[0]), None)
    if separator is None:
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield number, line.split()
        return
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise UsageError(f"line {reader.line_num}: {error}") from error


def _parsed(cell: str) -> float:
    """The number that a column says.

    Raises:
        ValueError: it says none, or one that no double equals.
    """
    if not cell:
        raise ValueError("a column is empty")
    try:
        number = float(cell.replace("_", "?"))  # float() takes 1_000
    except ValueError:
        raise ValueError(f"{cut(cell, 40)!r} is no number") from None
    if cell.lstrip("+-").isdecimal() and len(cell) < 400 and math.isfinite(number) and int(number) != int(cell):
        raise ValueError(f"{cut(cell, 40)} is a whole number that no double equals")
    if math.isinf(number) and not cell.lstrip("+-").lower().startswith("inf"):
        raise ValueError(f"{cut(cell, 40)} is more than a double holds")
    return number


def read_pixels(path: Path, notes: list[str]) -> Value:
    """A picture as `image.load(file, depth, 'byte')` of Torch7 gives it: channels x height x width, 0 to 255.

    Raises:
        UsageError: it can't be read, has colours of another kind, or Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise UsageError("pictures need Pillow: pip install pillow") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                if getattr(opened, "n_frames", 1) > 1:
                    notes.append(f"{path.name} has {opened.n_frames} pictures; this is the first")  # type: ignore[attr-defined]
                if opened.getexif().get(0x0112, 1) != 1:
                    notes.append(f"{path.name} says in its EXIF how it is to be turned, which is not done")
                picture: Any = opened
                if picture.mode in ("P", "PA"):
                    picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
                if picture.mode not in ("1", "L", "LA", "RGB", "RGBA"):
                    raise UsageError(f"its pixels are of the kind {picture.mode}; save it with 8 bits, in RGB or grey")
                pixels = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
                names = {"1": "grey", "L": "grey", "LA": "grey, alpha", "RGB": "red, green, blue"}
                channels = names.get(picture.mode, "red, green, blue, alpha")
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UsageError(f"it can't be read as a picture: {error}") from error
    notes.append(f"{path.name} is bytes of 0 to 255 ({channels}); image.load of Torch7 gives them divided by 255")
    return Tensor.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def read_hdf5(path: Path, notes: list[str]) -> Value:
    """An HDF5 file: groups as tables, data sets as tensors, text as strings.

    Raises:
        UsageError: it names other files, or holds what Torch7 has no type for; or h5py is missing.
    """
    try:
        import h5py
    except ImportError as error:
        raise UsageError("HDF5 files need h5py: pip install h5py") from error
    most = DEFAULT_LIMITS.expanded_of(path.stat().st_size)
    count = 0
    groups: set[int] = set()

    def table(group: Any, place: str, depth: int) -> LuaTable:
        nonlocal count
        address = h5py.h5o.get_info(group.id).addr
        if address in groups or depth > _MAX_DEPTH:
            raise UsageError(f"the group {place or '/'} is in itself, or in two places")
        groups.add(address)
        made = LuaTable()
        for name in group:
            where = f"{place}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise UsageError(f"{where} is a link, which may lead into another file; it is not followed")
            item = group[name]
            if len(item.attrs):
                notes.append(f"{len(item.attrs)} attributes of {where} are left out")
            if isinstance(item, h5py.Group):
                made[name] = table(item, where, depth + 1)
                continue
            if not isinstance(item, h5py.Dataset) or item.shape is None:
                raise UsageError(f"{where} is no table of numbers")
            if item.is_virtual or item.external:
                raise UsageError(f"{where} is in another file, which is not opened")
            count += item.size
            if count > most:
                raise UsageError(f"with {where} it unpacks to {count:,} numbers, more than {most:,} for its size")
            made[name] = _dataset(item, where, notes)
        return made

    try:
        with h5py.File(path, "r") as file:
            if len(file.attrs):
                notes.append(f"{len(file.attrs)} attributes of {path.name} are left out")
            return table(file, "", 0)
    except (RuntimeError, KeyError, TypeError) as error:
        raise UsageError(f"it is damaged: {error}") from error


def _dataset(item: Any, place: str, notes: list[str]) -> Value:
    import h5py

    if h5py.check_string_dtype(item.dtype) is None:
        return as_tensor(np.asarray(item[()]), place, notes)
    text = item.asstr()[()]
    if not isinstance(text, np.ndarray):
        return str(text)
    if text.ndim != 1:
        raise UsageError(f"{place} is text in {text.ndim} dimensions; Lua has lists of it")
    return LuaTable.from_list(map(str, text))

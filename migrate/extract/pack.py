"""pack(): arrays, tables, pictures and JSON as .t7 files, so that inputs and weights can travel to an old Torch."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..base.errors import UsageError
from ..base.files import PICTURES
from ..base.json_values import JsonValues
from ..base.messages import why_not_opened
from ..base.output_file import check_file, whole_file
from ..model.contents.kinds import summary
from ..t7 import LuaTable, Value
from ..t7.as_json import from_json
from ..t7.writing.dump import dump
from .as_tensor import as_tensor
from .foreign_files import read_hdf5, read_numbers, read_pixels, read_torch


@dataclass
class PackedFile(JsonValues):
    """What was written.

    Attributes:
        output: the .t7 file.
        size: in bytes.
        what: one line about its content.
        entries: name -> one line, for a table.
        notes: remarks worth knowing.
    """

    output: str
    size: int
    what: str
    entries: dict[str, str]
    notes: list[str] = field(default_factory=list)


def pack(
    sources: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    ascii: bool = False,  # noqa: A002 - Torch7's own word
    long_size: int = 8,
    force: bool = False,
) -> PackedFile:
    """Writes a .t7 file that Torch7 loads with `torch.load`.

    An array keeps its type: float32 becomes a FloatTensor, uint8 a ByteTensor, … A `.npz` or `.safetensors` file
    becomes a table of tensors, JSON what it is in Lua, a table of numbers (`.csv`, `.txt`) a DoubleTensor of its rows,
    a picture a ByteTensor of channels, height and width. Of `.pt` and `.pth` no code is run. Several files become a
    table, each under its name without ending, or under the one given as `NAME=FILE`.

    Args:
        sources: `.npy`, `.npz`, `.safetensors`, `.json`, `.pt`, `.pth`, `.h5`, `.csv` and `.txt` files, and pictures.
        output: the file to write.
        ascii: write text.
        long_size: bytes of a C long: 4 for a Torch7 on Windows or 32 bits.
        force: replace an existing file.

    Raises:
        UsageError: a file can't be read, or holds what Torch7 has no type for.
        T7Error: the file can't be written.
    """
    inputs = [*sources, *(_named(os.fspath(source))[1] for source in sources)]
    check_file(Path(output), force=force, inputs=inputs)
    notes: list[str] = []
    if not sources:
        raise UsageError(
            "Which file? Give one or more .npy, .npz, .safetensors, .json, .pt, .csv or .h5 files, or pictures."
        )
    if len(sources) == 1 and "=" not in Path(sources[0]).name:
        value = _read(Path(sources[0]), notes)
    else:
        value = LuaTable()
        for source in sources:
            name, path = _named(os.fspath(source))
            if name in value:
                raise UsageError(f"Two files would have the name {name!r}; give them others with NAME=FILE.")
            value[name] = _read(path, notes)
    with whole_file(output, force=force, inputs=inputs) as part:
        dump(value, part, ascii=ascii, long_size=long_size)
    entries = {str(key): summary(item) for key, item in value.items()} if isinstance(value, LuaTable) else {}
    return PackedFile(os.fspath(output), Path(output).stat().st_size, summary(value), entries, notes)


def _named(source: str) -> tuple[str, Path]:
    """The name in the table, and the file: `NAME=FILE`, or a file whose name says it."""
    name, equals, path = source.partition("=")
    if equals and name and not Path(source).exists():
        return name, Path(path)
    return Path(source).stem, Path(source)


def _read(path: Path, notes: list[str]) -> Value:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(name for name in _READERS if name not in PICTURES)
        raise UsageError(f"{path.name} should end in {known}, or as pictures do: that says what it holds.")
    try:
        return reader(path, notes)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} can't be read: {why_not_opened(path, error)}.") from error


def _npy(path: Path, notes: list[str]) -> Value:
    with path.open("rb") as stream:
        return as_tensor(np.load(stream, allow_pickle=False), path.name, notes)


def _npz(path: Path, notes: list[str]) -> Value:
    with path.open("rb") as stream:
        archive = np.load(stream, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UsageError("this is no .npz file")
        return LuaTable((name, as_tensor(archive[name], name, notes)) for name in archive.files)


def _safetensors(path: Path, notes: list[str]) -> Value:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return LuaTable((name, as_tensor(file.get_tensor(name), name, notes)) for name in file.keys())  # noqa: SIM118
    except (SafetensorError, TypeError, AttributeError) as error:
        raise UsageError(f"it can't be read with numpy ({error}); store bfloat16 tensors as float32") from error


def _json(path: Path, notes: list[str]) -> Value:
    return from_json(path.read_text("utf-8"))


_READERS: dict[str, Callable[[Path, list[str]], Value]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".json": _json,
    ".pt": read_torch,
    ".pth": read_torch,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".csv": read_numbers,
    ".txt": read_numbers,
    **dict.fromkeys(PICTURES, read_pixels),
}

"""extract(): a part of a .t7 file as JSON, arrays, a table of numbers, or a .t7 file of its own."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..base.errors import UsageError
from ..base.json_values import JsonValues
from ..base.output_file import Inputs, check_file, whole_file
from ..base.output_folder import check_folder, output_folder
from ..model.contents.kinds import size_text, summary
from ..model.locate import follow
from ..t7 import LuaObject, LuaTable, Storage, Tensor, Value, load_file
from ..t7.as_json import ToJson, json_text
from ..t7.keys import join
from ..t7.limits import DEFAULT_LIMITS, Limits
from ..t7.writing.dump import dump
from .data_sets import data_sets
from .entry_names import entry_name

Array = np.ndarray[Any, np.dtype[Any]]

#: Elements that are written at a time.
_BLOCK = 1 << 18

#: What the marker of a folder of pictures says.
_PICTURES = "pictures"

#: Deeper than any checkpoint; it bounds the walk.
_MAX_DEPTH = 200


@dataclass
class Extraction(JsonValues):
    """What was taken out of a file.

    Attributes:
        key: where it was; "" is the top.
        what: one line about it.
        output: the file that was written, or None.
        size: of that file, in bytes.
        tensors: name in the file -> type and size, for files of tensors.
        left_out: what the file does not hold, and why.
        notes: remarks worth knowing.
        preview: the picture that was written, or None.
        value: as JSON, where no file was asked for.
    """

    key: str
    what: str
    output: str | None = None
    size: int = 0
    tensors: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    preview: str | None = None
    value: Any = None


def extract(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    key: str | None = None,
    full: bool = False,
    preview: str | os.PathLike[str] | None = None,
    force: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Extraction:
    """Takes a part out of a .t7 file.

    Args:
        source: the file.
        output: where to write: `.json`, `.npz`, `.npy`, `.safetensors`, `.h5`, `.csv`, `.txt` or `.t7`;
            None writes nothing and gives JSON.
        key: dotted path of keys, such as "opt" or "model.modules.1.weight"; None takes everything.
        full: JSON with the numbers of every tensor and the fields of every module.
        preview: a PNG file to write, with the first image or images found; or a folder (a name that does not end in
            .png) for one file of each image.
        force: replace existing files.
        limits: how much the file may ask for.

    Raises:
        T7Error: the file can't be read.
        ModelNotFound: `key` leads nowhere.
        UsageError: what is there can't be written in that form, or a file exists.
    """
    targets = [Path(path) for path in (output, preview) if path is not None]
    for target in targets:
        check_target(target, force=force, inputs=[source], picture=target is targets[-1] and preview is not None)
    if len({os.path.realpath(target) for target in targets}) < len(targets):
        raise UsageError(f"{output} can't be the picture too; give --png (preview=) another name.")
    writer = None if output is None else _writer(Path(output))
    file = load_file(source, limits=limits)
    top = file.objects[0] if file.objects else None
    value = follow(top, key) if key else top
    found = Extraction(key or "", summary(value))
    if len(file.objects) > 1:
        found.notes.append(f"the file holds {len(file.objects)} objects one after the other; this is from the first")
    if preview is not None:
        from .preview import write_pictures, write_preview

        if is_folder(Path(preview)):
            with output_folder(preview, _PICTURES, force=force, inputs=[source]) as folder:
                found.notes += write_pictures(dict(tensors(value)), folder)
        else:
            found.notes += write_preview(dict(tensors(value)), Path(preview), force=force)
        found.preview = str(preview)
    found.notes += data_sets(value, key or "")
    if output is not None and writer is not None:
        with whole_file(Path(output), force=force) as part:
            writer(value, part, found, full)
        found.output, found.size = str(output), Path(output).stat().st_size
    elif preview is None:
        found.value = _as_json(value, found, full)
    return found


def is_folder(preview: Path) -> bool:
    """Does --png name a folder, for one file of each image?"""
    return preview.suffix.lower() != ".png"


def check_target(target: Path, *, force: bool, inputs: Inputs, picture: bool) -> None:
    """Stops before work is done for nothing; `picture`: is it that of --png?

    Raises:
        UsageError: it may not be written.
    """
    if picture and is_folder(target):
        check_folder(target, force=force, inputs=inputs)
    else:
        check_file(target, force=force, inputs=inputs)


def _writer(output: Path) -> Callable[[Value, Path, Extraction, bool], None]:
    writers = {
        ".json": _json,
        ".npz": _npz,
        ".npy": _npy,
        ".safetensors": _safetensors,
        ".h5": _hdf5,
        ".csv": _csv,
        ".txt": _txt,
        ".t7": _t7,
    }
    if output.suffix.lower() not in writers:
        raise UsageError(f"{output.name} should end in {', '.join(writers)}: that says in which form to write.")
    return writers[output.suffix.lower()]


def tensors(value: Value, path: str = "", depth: int = 0, seen: set[int] | None = None) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a value with its path, each once, in the order of the file; storages as tensors."""
    seen = set() if seen is None else seen
    if isinstance(value, (Tensor, Storage, LuaTable, LuaObject)):
        if id(value) in seen or depth > _MAX_DEPTH:
            return
        seen.add(id(value))
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Storage):
        kind = value.typename.removesuffix("Storage")
        yield path, Tensor(f"{kind}Tensor", (len(value),) if len(value) else (), (1,) if len(value) else (), 1, value)
    elif isinstance(value, (LuaTable, LuaObject)):
        for key, item in value.items():
            if isinstance(key, (str, float)):
                yield from tensors(item, join(path, key), depth + 1, seen)


def _as_json(value: Value, found: Extraction, full: bool) -> Any:
    converter = ToJson(full=full)
    made = converter.convert(value)
    found.left_out = converter.left_out
    return made


def _json(value: Value, part: Path, found: Extraction, full: bool) -> None:
    part.write_text(json_text(_as_json(value, found, full)) + "\n", encoding="utf-8")


def _t7(value: Value, part: Path, found: Extraction, full: bool) -> None:
    if isinstance(value, Tensor) and value.storage is not None and value.numel() < len(value.storage):
        found.notes.append(f"a part of a storage of {len(value.storage)} numbers, written with its own alone")
        value = Tensor.from_numpy(value.numpy(), value.kind)
    dump(value, part)


def _npy(value: Value, part: Path, found: Extraction, full: bool) -> None:
    array = _one_array(value, found, ".npy")
    found.tensors = {found.key: _described(array)}
    with part.open("wb") as stream:
        _write_npy(stream, array)


def _csv(value: Value, part: Path, found: Extraction, full: bool) -> None:
    _rows(value, part, found, ".csv", ",")


def _txt(value: Value, part: Path, found: Extraction, full: bool) -> None:
    _rows(value, part, found, ".txt", " ")


def _rows(value: Value, part: Path, found: Extraction, ending: str, separator: str) -> None:
    """A row a line; each number with all digits that tell it from every other double."""
    array = _one_array(value, found, ending)
    if array.ndim not in (1, 2) or not array.size:
        raise UsageError(
            f"A {ending} file holds one or two dimensions, and here is {found.what}; .npy and .npz files hold all."
        )
    found.tensors = {found.key: _described(array)}
    with part.open("w", encoding="ascii", newline="\n") as stream:
        for row in array if array.ndim == 2 else array[:, None]:
            stream.write(separator.join(map(repr, row.tolist())) + "\n")


def _hdf5(value: Value, part: Path, found: Extraction, full: bool) -> None:
    try:
        import h5py
    except ImportError as error:
        raise UsageError("HDF5 files need h5py: pip install h5py.") from error
    arrays = _arrays(value, found)
    with h5py.File(part, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


def _one_array(value: Value, found: Extraction, ending: str) -> Array:
    """The one tensor, or list of numbers, that there is."""
    if isinstance(value, LuaTable) and len(value) and value.is_list and all(isinstance(x, float) for x in value.list()):
        return np.array(value.list(), np.float64)
    if isinstance(value, (Tensor, Storage)):
        return np.asarray(next(tensors(value))[1].numpy())
    inside = [f"{name or 'the top'} ({size_text(tensor)})" for name, tensor in tensors(value)][:8]
    there = f"; --key chooses one: {', '.join(inside)}" if inside else ""
    raise UsageError(f"A {ending} file holds one tensor, and here is {found.what}{there}. A .npz file holds several.")


def _write_npy(stream: IO[bytes], array: Array) -> None:
    """Writes an array in C order, block by block: views may be larger than what they are views of."""
    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(stream, header)
    if array.size:
        for block in np.nditer(array, ["external_loop", "buffered"], order="C", buffersize=_BLOCK):
            stream.write(np.asarray(block).tobytes())


def _npz(value: Value, part: Path, found: Extraction, full: bool) -> None:
    arrays = _arrays(value, found)
    with zipfile.ZipFile(part, "w") as archive:
        for name, array in arrays.items():
            # an entry without a time of day, so that two runs write the same bytes
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
                _write_npy(stream, array)


def _safetensors(value: Value, part: Path, found: Extraction, full: bool) -> None:
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in _arrays(value, found).items()}, part)
    part.chmod(0o644)  # safetensors leaves it to its owner alone


def _arrays(value: Value, found: Extraction) -> dict[str, Array]:
    """The tensors of a value under names that are safe as names of files."""
    arrays: dict[str, Array] = {}
    for path, tensor in tensors(value):
        name = entry_name(path or "value")
        if name in arrays:
            raise UsageError(f"Two tensors would have the name {name}; extract them one by one with --key.")
        arrays[name] = tensor.numpy()
    if not arrays:
        raise UsageError(f"There is no tensor in {found.what}; a .json file holds it.")
    found.tensors = {name: _described(array) for name, array in arrays.items()}
    found.left_out = list(_not_tensors(value))
    return arrays


def _described(array: Array) -> str:
    return f"{array.dtype} {'x'.join(map(str, array.shape)) or 'number'}"


def _not_tensors(value: Value, path: str = "", depth: int = 0, seen: dict[int, str] | None = None) -> Iterator[str]:
    """What a file of tensors does not hold: one line for each."""
    seen = {} if seen is None else seen
    if isinstance(value, (Tensor, Storage, LuaTable, LuaObject)):
        if id(value) in seen:
            yield f"{path}: the same as {seen[id(value)] or 'the top'}"
            return
        seen[id(value)] = path
    if isinstance(value, (Tensor, Storage)):
        return
    if isinstance(value, (LuaTable, LuaObject)) and len(value) and depth < _MAX_DEPTH:
        for key, item in value.items():
            yield from _not_tensors(
                item, join(path, key if isinstance(key, (str, float)) else repr(key)), depth + 1, seen
            )
    else:
        yield f"{path or 'the top'}: {summary(value)}"

"""What is in a .t7 file, without converting it and without torch: format, origin, models, contents, tensors."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..model.locate import candidates, is_criterion, locate
from ..model.preprocessing import Preprocessing, find_preprocessing
from ..t7 import Loss, T7File, load_file
from ..t7.limits import DEFAULT_LIMITS, Limits
from .byte_sizes import Sizes, sizes_of
from .contents import Content, contents_of, shown_models, to_json
from .functions import FunctionFound, functions_of
from .origin import Origin, origin_of
from .statistics import Statistics, tensor_statistics
from .tree import Model, read_model


@dataclass
class Inspection:
    """What is in a file.

    Attributes:
        file: its name.
        size: in bytes.
        format: "binary", "ascii", or "json" for a list of layers.
        long_size: bytes of a C long in it; None if it made no difference.
        objects: how many objects stand one after the other.
        functions: how many Lua functions it holds; they are never run.
        lua_functions: where they are, and who compiled them.
        origin: when and with which Torch it was likely written.
        sizes: where its bytes are.
        contents: key -> what is there, for a table at the top; the content of anything else under "".
        models: the models in it.
        preprocessing: what it says of the data; None if it holds no network.
        tensors: statistics of every tensor; None unless they were asked for.
        remarks: what is unusual about the file as a whole.
        error: why it was not read to its end (only with `salvage`); None if it was.
        lost: what is not whole because of that.
    """

    file: str
    size: int
    format: str
    long_size: int | None
    objects: int
    functions: int
    lua_functions: list[FunctionFound]
    origin: Origin
    sizes: Sizes
    contents: dict[str, Content]
    models: list[Model]
    preprocessing: Preprocessing | None = None
    tensors: list[Statistics] | None = None
    remarks: list[str] = field(default_factory=list)
    error: str | None = None
    lost: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        known = None if self.preprocessing is None else self.preprocessing.to_json()
        return {**asdict(self), "contents": to_json(self.contents), "preprocessing": known}


def inspect_file(
    path: str | os.PathLike[str],
    known: Collection[str],
    key: str | None = None,
    *,
    tensors: bool = False,
    salvage: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Inspection:
    """Looks into a file.

    Args:
        path: of the file; "-" is standard input.
        known: classes that have a converter.
        key: show only the model at this key.
        tensors: compute statistics of every tensor.
        salvage: look at what can be read of a torn or damaged file.
        limits: how much the file may ask for.

    Raises:
        T7Error: the file can't be read.
        ModelNotFound: there is no model at `key`.
    """
    file = load_file(path, salvage=salvage, limits=limits)
    value = file.objects[0] if file.objects else None
    tops = [locate(value, key, known)] if key else candidates(value, known)
    found = tops if key else shown_models(value, known)
    nets = [candidate.object for candidate in found if not is_criterion(candidate.object.typename)]
    return Inspection(
        file=Path(path).name,
        size=file.size,
        format=file.format,
        long_size=file.long_size,
        objects=len(file.objects),
        functions=file.functions,
        lua_functions=functions_of(file),
        origin=origin_of(replace(file, objects=()) if file.format == "json" else file),
        sizes=sizes_of(value, file.size, binary=file.format == "binary"),
        contents=contents_of(value, known),
        models=[replace(read_model(c.key, c.object, known), held=i >= len(tops)) for i, c in enumerate(found)],
        preprocessing=find_preprocessing(value, nets[0]) if nets else None,
        tensors=tensor_statistics(value) if tensors else None,
        remarks=_remarks(file),
        error=None if file.error is None else str(file.error),
        lost=[_loss(loss) for loss in file.losses],
    )


def _remarks(file: T7File) -> list[str]:
    """What few files are: packed, of another machine or time, made of several, or with something after the end."""
    found = []
    if file.remark:
        found.append(file.remark)
    if file.packed:
        found.append(f"unpacked from {file.packed}; sizes are those after unpacking")
    if file.big_endian:
        found.append("big-endian: written on a machine such as a PowerPC")
    if file.form:
        found.append(f"classes write {file.form}")
    if file.parts > 1:
        found.append(f"{file.parts} files appended to each other")
    if file.trailing:
        found.append(f"{file.trailing} bytes after the last object are not Torch7's")
    return found


def _loss(loss: Loss) -> str:
    where = loss.path or "the top"
    what = {"": "a table", "?": "something"}.get(loss.typename, loss.typename)
    if loss.of is None:
        return f"{where}: {what}, lost"
    return f"{where}: {what}, {loss.read} of {loss.of} entries are there"

"""What a converted model is compared with."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..build import LayerRecord
from ..conversion import Conversion
from ..converting import sha256, to_torch
from ..errors import UsageError
from ..nested import apply, leaves, moved
from ..shapes import Guess, run
from ..t7 import LuaTable, Value, load
from .trace import watched


@dataclass(frozen=True)
class Summary:
    """What a reference keeps of an output that was too large to be stored.

    Attributes:
        size: of the tensor.
        mean, std: of all its elements (std with Bessel's correction).
        head: its first elements in row-major order.
    """

    size: tuple[int, ...]
    mean: float
    std: float
    head: torch.Tensor


@dataclass(frozen=True)
class Reference:
    """Numbers to compare with.

    Attributes:
        kind: "dump" (written by the user's Torch7) or "self" (the converted model in float64).
        proves: what agreement with it shows, in words.
        input: what the model was fed; a tensor or a nested list.
        output: what it answered.
        dtype: type of the coarsest tensor in it.
        file: name of the file, or None.
        sha256: of that file, or None.
        layers: output by (index of the converted layer, run of it), 1-based; a `Summary` for large ones.
        notes: what is known about it.
    """

    kind: str
    proves: str
    input: Any
    output: Any
    dtype: torch.dtype
    file: str | None = None
    sha256: str | None = None
    layers: Mapping[tuple[int, int], Any] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()


def read_dump(conv: Conversion, file: Path) -> Reference:
    """A reference file that dump_reference.lua wrote.

    Raises:
        T7Error: it can't be read.
        UsageError: it is no reference, or one of another model.
    """
    value = load(file)
    if not isinstance(value, LuaTable) or "input" not in value or "output" not in value:
        raise UsageError(f"{file} is no reference: dump_reference.lua writes one (see `torchmigrate reference`).")
    given, output = to_torch(value["input"]), to_torch(value["output"])
    notes: list[str] = []
    layers = _layers(conv, value.get("layers"), notes)
    found = [tensor.dtype for _, tensor in leaves(output) if tensor.is_floating_point()]
    dtype = torch.float32 if torch.float32 in found else torch.float64
    return Reference(
        "dump",
        "the converted model computes what Torch7 computed, on this input",
        given,
        output,
        dtype,
        file.name,
        sha256(file),
        layers,
        tuple(notes),
    )


def _layers(conv: Conversion, recorded: Value, notes: list[str]) -> dict[tuple[int, int], Any]:
    by_path = {path: i for i, record in enumerate(conv.layers) for path in record.paths}
    found: dict[tuple[int, int], Any] = {}
    unknown = 0
    for entry in recorded.list() if isinstance(recorded, LuaTable) else []:
        path = entry.get("path")
        index = by_path.get(path)
        if index is None:
            unknown += 1
            continue
        typename = conv.layers[index].typename
        if entry.get("class") != typename:
            raise UsageError(
                f"The reference is of another model: it has a {entry.get('class')} at {path or 'the top'}, "
                f"the model a {typename}."
            )
        found[index, int(entry.get("call", 1.0))] = _output_of(entry)
    if unknown:
        notes.append(f"{unknown} outputs in the reference belong to modules that have no converted layer of their own")
    return found


def _output_of(entry: LuaTable) -> Any:
    if "size" in entry:
        size = to_torch(entry["size"])
        sizes = tuple(int(n) for n in (entry["size"].data if hasattr(entry["size"], "data") else size))
        return Summary(sizes, float(entry["mean"]), float(entry["std"]), to_torch(entry["head"]))
    return to_torch(entry["output"]) if "output" in entry else None


def compute_self(conv: Conversion, guess: Guess) -> Reference:
    """The converted model in float64 on the CPU, with the output of every layer."""
    memo: dict[int, Any] = {}
    module = copy.deepcopy(conv.module, memo).double().eval()
    copies = [copy_record(record, memo) for record in conv.layers]
    index = {id(record.module): i for i, record in enumerate(copies)}
    layers: dict[tuple[int, int], Any] = {}

    def keep(record: LayerRecord, call: int, output: Any) -> None:
        layers[index[id(record.module)], call] = moved(output)

    with torch.no_grad(), watched(copies, module, keep):
        output = run(module, moved(guess.value, torch.float64))
    return Reference(
        "self",
        "rounding only: the converted model in float64 is compared with itself, so a wrong mapping would not show",
        guess.value,
        moved(output),
        torch.float64,
        layers=layers,
        notes=(guess.reason,),
    )


def copy_record(record: LayerRecord, memo: dict[int, Any]) -> LayerRecord:
    """The record of the same layer in a deep copy of the network that was made with `memo`."""
    made = copy.copy(record)
    made.module = memo.get(id(record.module), record.module)
    return made


def fits(value: Any, other: Any) -> bool:
    """Do two nested values have the same tensors of the same sizes?"""
    return [(p, tuple(t.shape)) for p, t in leaves(value)] == [(p, tuple(t.shape)) for p, t in leaves(other)]


def cast_like(reference: Any, output: Any) -> Any:
    """The reference's values with the type and device of `output`, or None where the structure differs."""
    if not fits(reference, output):
        return None
    like = iter([tensor for _, tensor in leaves(output)])

    def cast(tensor: torch.Tensor) -> torch.Tensor:
        other = next(like)
        return tensor.to(device=other.device, dtype=other.dtype, copy=True)

    return apply(reference, cast)

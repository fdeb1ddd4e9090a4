"""The strongest reference: a file that dump_reference.lua wrote on the user's own Torch7."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...base.errors import UsageError
from ...base.tensor_trees import leaves, moved
from ...model.conversion import ConvertedModel
from ...model.convert import sha256, to_torch
from ...model.layer_record import LayerRecord
from ...shapes.dry_run import dry_run
from ...t7 import LuaTable, Storage, Value, load
from ..network_copies import copy_network
from ..reference_numbers import GradientEntry, Gradients, Reference, TensorSummary
from ..run_pairing import pair_runs
from .changed_input import changed_by
from .old_exponential import without_approximation

PROVES = "the converted model computes what Torch7 computed, on this input"


def read_dump(conv: ConvertedModel, file: Path, kind: str = "dump", notes: tuple[str, ...] = ()) -> Reference:
    """Reads a reference file.

    Args:
        conv: the converted model that it is about.
        file: what dump_reference.lua wrote.
        kind: what to call it: "dump" or "live".
        notes: what else is known of it.

    Raises:
        T7Error: it can't be read.
        UsageError: it is no reference, or one of another model.
    """
    return reference_of(conv, file, load_dump(file), kind, notes)


def reference_of(
    conv: ConvertedModel, file: Path, value: LuaTable, kind: str = "dump", notes: tuple[str, ...] = ()
) -> Reference:
    """The reference that a file holds, as `read_dump` gives it.

    Args:
        conv: the converted model that it is about.
        file: what dump_reference.lua wrote.
        value: what `load_dump` read of it.
        kind: what to call it: "dump" or "live".
        notes: what else is known of it.

    Raises:
        UsageError: it is one of another model, or damaged.
    """
    try:
        return _reference(conv, file, value, kind, notes)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(
            f"{file} is no reference that dump_reference.lua wrote, or damaged: {type(error).__name__}: {error}"
        ) from error


def _reference(conv: ConvertedModel, file: Path, value: LuaTable, kind: str, notes: tuple[str, ...]) -> Reference:
    given, output = to_torch(value["input"]), to_torch(value["output"])
    found = list(notes)
    layers = _layers(conv, file, given, value.get("layers"), found)
    if changed := changed_by(conv, given, layers):
        raise UsageError(
            f"{file} holds its input as {changed} left it, which works in place: older scripts stored the input after "
            "the run. Make the reference again with `torchmigrate reference --script`."
        )
    dtypes = [tensor.dtype for _, tensor in leaves(output) if tensor.is_floating_point()]
    meta = value.get("meta")
    if isinstance(meta, LuaTable) and meta.get("mode") == "training":
        raise UsageError(
            f"{file} was made in training mode (--training), in which layers are random; make one without that option."
        )
    said = meta.get("notes") if isinstance(meta, LuaTable) else None
    if isinstance(said, LuaTable) and said.is_list:
        found += [f"Torch7 noted: {' '.join(str(note).split())}" for note in said.list()]
    made = Reference(
        kind,
        PROVES,
        given,
        output,
        torch.float32 if torch.float32 in dtypes else torch.float64,
        file.name,
        sha256(file),
        layers,
        tuple(found),
        coarse=isinstance(meta, LuaTable) and meta.get("device") == "gpu",
        gradients=_gradients(value),
    )
    return without_approximation(conv, made)


def load_dump(file: Path) -> LuaTable:
    """What dump_reference.lua wrote: a table with input and output, among others.

    Raises:
        T7Error: it can't be read.
        UsageError: it is no reference.
    """
    value = load(file)
    if not isinstance(value, LuaTable) or "input" not in value or "output" not in value:
        raise UsageError(f"{file} is no reference: dump_reference.lua writes one (see `torchmigrate reference`).")
    return value


def _layers(
    conv: ConvertedModel, file: Path, given: Any, recorded: Value, notes: list[str]
) -> dict[tuple[int, int], Any]:
    by_path = {path: i for i, record in enumerate(conv.layers) for path in record.paths}
    ran: list[int] = []
    outputs = []
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
                f"{file} is a reference of another model: it has a {entry.get('class')} at {path or 'the top'}, "
                f"the model a {typename}."
            )
        ran.append(index)
        outputs.append(_output_of(entry))
    if unknown:
        notes.append(f"{unknown} outputs in the reference belong to modules that have no converted layer of their own")
    runs = pair_runs(conv.layers, ran, _order(conv, given) or ran) if ran else []
    if untold := sum(run is None for run in runs):
        notes.append(f"{untold} outputs in the reference are left out: Torch7 ran their layers another number of times")
    return {(index, run + 1): output for index, run, output in zip(ran, runs, outputs, strict=True) if run is not None}


def _order(conv: ConvertedModel, given: Any) -> list[int]:
    """The converted layers, by number, in the order in which their runs end; empty where the model does not run."""
    network = copy_network(conv)  # a run may change what a module remembers
    numbers = {id(record): i for i, record in enumerate(network.layers)}
    found: list[int] = []

    def visit(record: LayerRecord, _output: Any) -> None:
        found.append(numbers[id(record)])

    copied = replace(conv, module=network.module, layers=list(network.layers))
    failed = dry_run(copied, moved(given, network.dtype), visit)
    return [] if failed else found


def _output_of(entry: LuaTable) -> Any:
    if "size" in entry:
        return _summary(entry)
    if "elements" in entry:
        return _summaries(entry["elements"])
    return to_torch(entry["output"]) if "output" in entry else None


def _summaries(value: Value) -> Any:
    """The summaries of a table of tensors, nested as the tensors were."""
    if isinstance(value, LuaTable) and "size" in value:
        return _summary(value)
    return [_summaries(item) for item in value.list()] if isinstance(value, LuaTable) and value.is_list else None


def _summary(entry: LuaTable) -> TensorSummary:
    size = entry["size"]
    sizes = size.data.tolist() if isinstance(size, Storage) else to_torch(size)
    return TensorSummary(
        tuple(int(n) for n in sizes), float(entry["mean"]), float(entry["std"]), to_torch(entry["head"])
    )


def _gradients(value: LuaTable) -> Gradients | None:
    if "gradOutput" not in value:
        return None
    entries = []
    for entry in to_torch(value["gradParameters"]) if "gradParameters" in value else []:
        fields = {name: item for name, item in entry.items() if isinstance(item, torch.Tensor)}
        entries.append(GradientEntry(entry["path"], entry["class"], fields))
    given = to_torch(value["gradInput"]) if "gradInput" in value else None
    return Gradients(to_torch(value["gradOutput"]), given, tuple(entries))

"""Runs that are saved on one machine and compared with on another, such as one with a GPU."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...base.errors import UsageError
from ...base.output_file import whole_file
from ...base.tensor_trees import leaves, put
from ...model.conversion import ConvertedModel
from ...model.convert import sha256
from ..network_copies import copy_network
from ..reference_numbers import Reference
from ..trace import LayerRun, trace

FORMAT, VERSION = "torchmigrate-run", 1


def save_run(conv: ConvertedModel, reference: Reference, verdict: str, file: Path, *, force: bool) -> None:
    """Runs the model on the CPU and saves its input, its output and that of every layer, one array at a time.

    Args:
        conv: the converted model.
        reference: whose input is used.
        verdict: what the report on this machine says of the model.
        file: an .npz file.
        force: replace an existing file.
    """
    network = copy_network(conv)
    with whole_file(file, force=force) as made, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        places = {"input": _write(archive, "input", reference.input)}
        layers: list[dict[str, Any]] = []

        def write(step: LayerRun) -> None:
            record = network.layers[step.index]
            name = f"layer/{len(layers)}"
            kept = {"path": record.path, "class": record.typename, "call": step.call}
            layers.append({**kept, "places": _write(archive, name, step.output)})

        output = trace(network, network.taken(reference.input), write)
        places["output"] = _write(archive, "output", output)
        meta = {
            "format": FORMAT,
            "format_version": VERSION,
            "source_sha256": conv.provenance.sha256,
            "key": conv.key,
            "dtype": str(network.dtype).removeprefix("torch."),
            "torch": torch.__version__,
            "verdict": verdict,
            **places,
            "layers": layers,
        }
        archive.writestr(_entry("meta.json"), json.dumps(meta, indent=1))


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def _write(archive: zipfile.ZipFile, name: str, value: Any) -> list[list[int]]:
    places = []
    for place, tensor in leaves(value):
        with archive.open(_entry(_member(name, place)), "w", force_zip64=True) as stream:
            np.lib.format.write_array(stream, tensor.detach().cpu().numpy(), allow_pickle=False)
        places.append(list(place))
    return places


def _member(name: str, place: Iterable[int]) -> str:
    return "/".join([name, *map(str, place)]) + ".npy"


def read_run(conv: ConvertedModel, file: Path) -> Reference:
    """The reference that `save_run` wrote.

    Raises:
        UsageError: it is no such file, or one of another model.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            meta = json.loads(archive.read("meta.json"))
            if not isinstance(meta, dict) or meta.get("format") != FORMAT or meta.get("format_version") != VERSION:
                raise UsageError(f"{file} is no run that this torchmigrate saved (--save-run).")
            return _reference(conv, file, archive, meta)
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{file} is no run that torchmigrate saved (--save-run): {error}") from error


def _reference(conv: ConvertedModel, file: Path, archive: zipfile.ZipFile, meta: dict[str, Any]) -> Reference:
    ours, theirs = conv.provenance.sha256, meta["source_sha256"]
    if ours != theirs or conv.key != meta["key"]:
        raise UsageError(f"{file} is a run of another model: its file has the SHA-256 {theirs}, this one {ours}.")
    by_path = {path: i for i, record in enumerate(conv.layers) for path in record.paths}
    layers = {}
    for number, entry in enumerate(meta["layers"]):
        index = by_path.get(entry["path"])
        if index is not None and conv.layers[index].typename == entry["class"]:
            layers[index, int(entry["call"])] = _read(archive, f"layer/{number}", entry["places"])
    return Reference(
        "run",
        "this machine computes what PyTorch computed on the CPU of another, from the same conversion",
        _read(archive, "input", meta["input"]),
        _read(archive, "output", meta["output"]),
        torch.float64 if meta["dtype"] == "float64" else torch.float32,
        file.name,
        sha256(file),
        layers,
        (f"the report of that machine said: {meta['verdict']}",),
    )


def _read(archive: zipfile.ZipFile, name: str, places: list[list[int]]) -> Any:
    root: list[Any] = []
    for place in places:
        with archive.open(_member(name, place)) as stream:
            tensor = torch.from_numpy(np.lib.format.read_array(stream, allow_pickle=False))
        put(root, place, tensor)
        if not place:
            return tensor
    return root

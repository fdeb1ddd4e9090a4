"""A folder that `convert` wrote, seen as the conversion that it came from, without the .t7 file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..base.errors import UsageError
from ..base.folder_files import ONNX, PARITY, read_config
from ..model.build import Build
from ..model.conversion import ConvertedModel, Provenance
from ..model.convert import convert_model
from ..model.layer_record import LayerRecord
from ..model.preprocessing import Preprocessing, is_size
from ..model.registry import traits_of
from ..shapes.parse import parse_shape
from ..t7 import LuaObject, LuaTable, Tensor
from ..t7.limits import DEFAULT_LIMITS, Limits
from .config_schema import wrong
from .from_lua import provided_by
from .load_converted import load_converted


def open_model(
    path: Path,
    *,
    key: str | None = None,
    plugins: Iterable[Path] = (),
    aliases: Mapping[str, str] | None = None,
    lua: Iterable[Path] = (),
    lua_first: Iterable[str] = (),
    run_lua: Iterable[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> ConvertedModel:
    """The model of a .t7 file, which is converted, or of a folder that `convert` wrote.

    Raises:
        TorchMigrateError: of any kind; of a folder `UsageError`, also where an option is for .t7 files only.
    """
    if not path.is_dir():
        provided = provided_by(lua, lua_first, run_lua)
        return convert_model(path, key=key, plugins=plugins, aliases=aliases, provided=provided, limits=limits)
    given = (("--key", key), ("--alias", aliases), ("--lua", [*lua, *lua_first]), ("--run-lua", list(run_lua)))
    for name, value in given:
        if value:
            raise UsageError(f"{name} is for .t7 files; {path} is a folder, whose model is chosen already.")
    return open_folder(path, plugins, limits)


def open_folder(folder: Path, plugins: Iterable[Path] = (), limits: Limits = DEFAULT_LIMITS) -> ConvertedModel:
    """The conversion that a folder was written from, as far as the folder tells: no recorded activations, no fields.

    Raises:
        UsageError: it is no such folder.
    """
    plugins = list(plugins)
    config = read_config(folder)
    module = load_converted(folder, plugins=plugins, limits=limits)
    source = config["source"]
    return ConvertedModel(
        module=module,
        value=None,
        key=source["key"],
        layers=[_record(module, entry) for entry in config["layers"] if entry["module"] is not None],
        notes=[(path, text) for path, text in config["notes"]],
        refusals=[],
        provenance=Provenance(
            source["file"], source["sha256"], source["format"], source["long_size"], source["lua_functions"]
        ),
        build=Build(),
        limits=limits,
        preprocessing=_preprocessing(config.get("preprocessing", {})),
    )


def _preprocessing(held: Any) -> Preprocessing:
    """What config.json says of the data; old folders say nothing."""
    if not isinstance(held, dict):
        raise wrong("preprocessing", "an object")
    known: dict[str, Any] = {}
    for name, kind in (("mean", float), ("std", float), ("labels", str), ("mean_image", int), ("crop_size", int)):
        value = held.get(name)
        kinds = (int, float) if kind is float else (kind,)
        if value is not None:
            if not isinstance(value, list) or any(type(item) not in kinds for item in value):
                raise wrong(f"preprocessing.{name}", "a list of texts" if kind is str else "a list of numbers")
            known[name] = tuple(map(kind, value))
    for name, forms in (("scale", (int, float)), ("channel_order", (str,)), ("scale_size", (int,)), ("found", (dict,))):
        if held.get(name) is not None:
            if type(held[name]) not in forms:
                raise wrong(f"preprocessing.{name}", "a number, a text or an object as torchmigrate writes it")
            known[name] = held[name]
    if not is_size(known.get("scale_size", 256)) or not all(map(is_size, known.get("crop_size", ()))):
        raise wrong("preprocessing.scale_size and crop_size", "sides of pictures")
    if len(known.get("crop_size", (0, 0))) != 2:
        raise wrong("preprocessing.crop_size", "a height and a width")
    return Preprocessing(**known)


def _record(module: nn.Module, entry: Mapping[str, Any]) -> LayerRecord:
    try:
        made = module.get_submodule(entry["module"])
    except AttributeError as error:
        raise wrong("layers", f"layers whose modules are there, and not {entry['module']}") from error
    fields = LuaTable()
    weight = getattr(made, "weight", None)
    traits = traits_of(entry["class"])
    if isinstance(weight, torch.Tensor) and traits.reads == "indices":
        fields = LuaTable([("weight", Tensor.from_numpy(weight.detach().numpy()))])  # tells how many rows there are
    path = entry["path"]
    return LayerRecord(path, entry["class"], made, False, [], [], [path], LuaObject(entry["class"], fields), traits)


def shape_of_folder(folder: Path) -> Any:
    """The sizes of an input of the model, as parity.json or model.onnx know them; None if neither does."""
    try:
        return parse_shape(json.loads((folder / PARITY).read_text())["reference"]["input"])
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        pass
    if not (folder / ONNX).is_file():
        return None
    import onnx

    inputs = onnx.load(folder / ONNX, load_external_data=False).graph.input
    sizes = [tuple(size.dim_value or 2 for size in value.type.tensor_type.shape.dim) for value in inputs]
    return sizes[0] if len(sizes) == 1 else sizes or None

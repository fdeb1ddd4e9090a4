"""torchmigrate convert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..option_groups import GroupedCommand, in_group
from . import definition
from .options import (
    ALIASES,
    DATA,
    DEVICES,
    DTYPE,
    JSON,
    KEY,
    LICENSE,
    LIMITS,
    LUA,
    MAX_DOWNLOAD,
    NO_PLUGINS,
    OPSET,
    PLUGINS,
    PROOF,
    QUIET,
    REFERENCE,
    RUN_LUA,
    SEVERAL_FILES,
    SHAPE,
    STATEFUL,
    TOLERANCES,
    VERBOSE,
    ZOO,
    with_model_options,
)
from .sources import max_download, opened, target_folder, without_ending

if TYPE_CHECKING:
    from ...folder.run import ConvertOptions


@click.command(cls=GroupedCommand)
@SEVERAL_FILES
@in_group(
    "The model",
    KEY,
    click.option("--all-keys", is_flag=True, help="Convert every model of the file, each into a folder below -o."),
    LUA,
    RUN_LUA,
    PLUGINS,
    NO_PLUGINS,
    ALIASES,
    click.option(
        "--allow-unsupported", is_flag=True, help="Convert the rest; what is not converted raises when it is run."
    ),
    SHAPE,
)
@in_group(
    "What is written",
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), help="Folder to write; default: the file's name without .t7."
    ),
    click.option("--force", is_flag=True, help="Replace an existing folder."),
    click.option("--source-only", is_flag=True, help="Write only model.py, the source."),
    click.option(
        "--hub", is_flag=True, help="Let the class of model.py extend PyTorchModelHubMixin of huggingface_hub."
    ),
    LICENSE,
    click.option("--no-onnx", is_flag=True, help="Write no model.onnx."),
    OPSET,
    DTYPE,
    STATEFUL,
)
@in_group(
    "Comparison",
    REFERENCE,
    DEVICES,
    TOLERANCES,
    PROOF,
    click.option("--no-verify", is_flag=True, help="Write no parity.json."),
)
@in_group("Data that the model was trained with", DATA)
@in_group("Many files", ZOO)
@in_group("Parameters in a file of their own", definition.lua_options)
@in_group("Limits", LIMITS, MAX_DOWNLOAD)
@JSON
@QUIET
@VERBOSE
def convert(
    files: tuple[str, ...],
    output: Path | None,
    all_keys: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Convert .t7 files into folders with PyTorch weights, an ONNX file and a parity report.

    A FILE is a path or a URL (https://…, s3://…, hf://…, with #sha256=… its content is checked). Several files, or a
    folder that holds some, are converted each into a folder of its own below -o, where a second run goes on.

    A .lua file is the definition of a network, whose parameters --weights holds: it runs in a process of its own that
    reaches nothing but the files below its folder (extra "lua"). With --weights the network of a .t7 gets other
    parameters, a flat vector or a list of tensors, as Torch7's getParameters() would copy them.

    \b
    torchmigrate convert resnet.t7
    torchmigrate convert checkpoint.t7 --key model --input-shape 2x3x224x224
    torchmigrate convert style.t7 --plugin my_layers.py --reference answers.t7
    torchmigrate convert agent.t7 --all-keys -o agent
    torchmigrate convert model.t7 --lua MyLayer.lua
    torchmigrate convert *.t7 -o out --jobs 4
    torchmigrate convert model.lua --weights params.t7 --opt depth=18
    torchmigrate convert plan.t7 --weights flat.t7 --weights-key params
    """
    from ...base.download import is_url
    from ...folder.run import ConvertOptions

    lua = definition.taken(options)
    source = lua.get("torch7_source")
    several = {name: options.pop(name) for name in ("lists", "jobs", "ray", "shard", "timeout")}
    settings = ConvertOptions(**with_model_options(options), max_download=max_download(), torch7_source=source)
    if definition.is_definition(files) and not any(several.values()):
        if all_keys:
            raise click.UsageError("--all-keys takes a .t7 file, whose models it converts.")
        return _convert_definition(files[0], lua, output, settings, as_json, quiet)
    lua.pop("torch7_source", None)
    if definition.is_filled(files, lua):
        if all_keys or any(several.values()):
            raise click.UsageError("--weights is for one network; --key chooses it.")
        return _convert_filled(files[0], lua, output, settings, as_json, quiet)
    single = len(files) == 1 and not any(several.values())
    if single and (is_url(files[0]) or not Path(files[0]).is_dir()):
        return _convert_one(files[0], output, settings, as_json, quiet, all_keys=all_keys)
    if all_keys:
        raise click.UsageError("--all-keys takes one file, whose models it converts.")
    return _convert_all(files, output, settings, as_json, quiet, **several)


def _convert_one(
    source: str, output: Path | None, settings: ConvertOptions, as_json: bool, quiet: bool, *, all_keys: bool
) -> int:
    from ...folder.run import ConvertedFolder, convert_file
    from ...folder.run_all_keys import ConvertedKeys, convert_all_keys
    from ..printing import terminal as console
    from ..printing.results import show_keys, show_result

    target = target_folder(source, output, settings, members=all_keys)
    with console.progress(silent=as_json or quiet) as step, opened(source, step) as file:
        result: ConvertedFolder | ConvertedKeys
        result = (convert_all_keys if all_keys else convert_file)(file, target, settings, step)
    if as_json:
        console.print_json(result.to_json())
    elif isinstance(result, ConvertedKeys):
        show_keys(result, quiet=quiet)
    elif not quiet:
        show_result(result)
    return result.exit_code


def _convert_definition(
    file: str, lua: dict[str, Any], output: Path | None, settings: ConvertOptions, as_json: bool, quiet: bool
) -> int:
    from tempfile import TemporaryDirectory

    from ...folder.run import convert_file
    from ...t7.writing.dump import dump
    from ..printing import terminal as console
    from ..printing.results import show_definition, show_result

    target = target_folder(file, output, settings, inputs=definition.inputs(Path(file).parent, lua))
    with console.progress(silent=as_json or quiet) as step, TemporaryDirectory() as folder:
        step("running the definition")
        found = definition.defined(file, lua)
        written = Path(folder) / Path(file).with_suffix(".t7").name
        dump(found.model, written)
        notes = [definition.origin(Path(file), lua, found.found)]
        settings = definition.with_own_classes(found, settings)
        result = convert_file(written, target, settings, step, notes=notes)
    if as_json:
        console.print_json(result.to_json() | {"definition": found.to_json()})
    elif not quiet:
        show_definition(file, found)
        show_result(result)
    return result.exit_code


def _convert_filled(
    source: str, given: dict[str, Any], output: Path | None, settings: ConvertOptions, as_json: bool, quiet: bool
) -> int:
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from ...folder.run import convert_file
    from ...t7.writing.dump import dump
    from ..printing import terminal as console
    from ..printing.results import show_filled, show_result

    target = target_folder(source, output, settings, inputs=definition.inputs(Path(), given))
    with (
        console.progress(silent=as_json or quiet) as step,
        opened(source, step) as file,
        TemporaryDirectory() as folder,
    ):
        step("filling the network")
        found = definition.filled(file, given, settings)
        written = Path(folder) / f"{without_ending(file.name) or 'model'}.t7"
        dump(found.model, written)
        notes = [definition.origin(file, given), *found.notes]
        result = convert_file(written, target, replace(settings, key=None), step, notes=notes)
    if as_json:
        console.print_json(result.to_json() | {"filled": found.to_json()})
    elif not quiet:
        show_filled(source, found)
        show_result(result)
    return result.exit_code


def _convert_all(
    files: tuple[str, ...],
    output: Path | None,
    settings: ConvertOptions,
    as_json: bool,
    quiet: bool,
    *,
    lists: tuple[Path, ...],
    shard: str | None,
    **workers: Any,
) -> int:
    from ...zoo import convert_all as zoo
    from ..printing import terminal as console
    from ..printing.zoo import show_summary, zoo_progress

    if not files and not lists:
        raise click.UsageError("Which file? Give a .t7 file, or several.")
    if output is None:
        raise click.UsageError("Several files need a folder to write to: -o out")
    if "-" in files:
        raise click.UsageError("- is standard input, one file, which is converted by itself.")
    sources = zoo.listed(files, lists)
    part = zoo.Shard.parse(shard) if shard else None
    with zoo_progress(silent=as_json or quiet) as watch:
        summary = zoo.convert_all(sources, output, settings, shard=part, lists=lists, watch=watch, **workers)
    if as_json:
        console.print_json(summary.to_json())
    elif not quiet:
        show_summary(summary, output)
    return summary.exit_code

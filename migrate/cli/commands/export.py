"""torchmigrate export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...base.errors import EXIT_OK
from .options import CONVERSION, DTYPE, JSON, OPSET, QUIET, SHAPE, STATEFUL, VERBOSE, with_model_options
from .sources import file_name, local_path, opened, without_ending

DYNAMIC = click.option(
    "--dynamic",
    metavar="AXES",
    help="Axes of free size: of batch,time,height,width, or none. Default: those that the layers leave free.",
)


@click.command()
@CONVERSION
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="ONNX file to write; default: the file's name with .onnx."
)
@SHAPE
@DYNAMIC
@OPSET
@DTYPE
@click.option("--input-names", metavar="NAMES", help="Names of the inputs, such as image or tokens,state.")
@click.option("--output-names", metavar="NAMES", help="Names of the outputs.")
@click.option("--outputs", metavar="PATHS", help="Give what these layers give, by Torch7 paths such as 7,9.2.")
@click.option(
    "--external-data/--one-file", default=None, help="Weights in a second file or not; default: only above 256 MB."
)
@click.option("--simplify", is_flag=True, help="Run onnxslim too: pip install onnxslim.")
@click.option(
    "--int8", is_flag=True, help="Write a dynamically quantized .int8.onnx beside, and say how far it is off."
)
@STATEFUL
@click.option("--force", is_flag=True, help="Replace existing files.")
@JSON
@QUIET
@VERBOSE
def export(file: str, output: Path | None, as_json: bool, quiet: bool, **options: Any) -> int:
    """Write only an ONNX file, checked against PyTorch at two sizes or more of every dynamic axis.

    FILE may be a folder that `convert` wrote.

    \b
    torchmigrate export model.t7 -o model.onnx --input-shape 2x3x224x224
    torchmigrate export model -o small.onnx --dynamic none
    torchmigrate export style.t7 --dynamic batch,height,width
    torchmigrate export lm.t7 --dynamic batch,time --input-names tokens
    torchmigrate export lm.t7 --key model --stateful --dynamic batch,time
    torchmigrate export model.t7 --dtype float16 --opset 21 --simplify
    """
    from ...base.output_file import check_file
    from ...folder.open_folder import open_model, shape_of_folder
    from ...onnx.export.export import export_onnx
    from ..printing import terminal as console
    from ..printing.results import show_export

    if output is None and file == "-":
        raise click.UsageError("A file from standard input has no name; give the file to write with -o.")
    target = output or Path(f"{without_ending(file_name(file)) or 'model'}.onnx")
    given = with_model_options(options)
    check_file(target, force=options["force"], inputs=[local_path(file), *options["plugins"], *options["lua"]])
    with console.progress(silent=as_json or quiet) as step, opened(file, step) as path:
        step("reading and converting")
        taken = {name: given.pop(name) for name in ("key", "plugins", "aliases", "lua", "lua_first", "limits")}
        conversion = open_model(path, **taken)
        if path.is_dir() and given["input_shape"] is None:
            given["input_shape"] = shape_of_folder(path)
        step("exporting to ONNX")
        exported = export_onnx(conversion, target, **{name: _value(name, value) for name, value in given.items()})
    if as_json:
        console.print_json(exported.to_json())
    elif not quiet:
        show_export(exported)
    return EXIT_OK


def _value(name: str, value: Any) -> Any:
    """Lists as the API takes them."""
    if name not in ("dynamic", "input_names", "output_names", "outputs") or value is None:
        return value
    return () if (name, value) == ("dynamic", "none") else tuple(word.strip() for word in value.split(","))

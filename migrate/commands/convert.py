"""torchmigrate convert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import EXIT_OK, EXIT_PARITY
from .options import CONVERSION, DEVICES, DTYPE, JSON, OPSET, QUIET, REFERENCE, SHAPE, TOLERANCES, with_aliases


@click.command()
@CONVERSION
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder to write; default: the file's name without .t7."
)
@click.option("--force", is_flag=True, help="Replace an existing folder.")
@click.option(
    "--allow-unsupported", is_flag=True, help="Convert the rest; what is not converted raises when it is run."
)
@click.option("--no-onnx", is_flag=True, help="Write no model.onnx.")
@click.option("--source-only", is_flag=True, help="Write only model.py, the source.")
@click.option("--no-verify", is_flag=True, help="Write no parity.json.")
@SHAPE
@OPSET
@DTYPE
@REFERENCE
@DEVICES
@TOLERANCES
@JSON
@QUIET
def convert(file: Path, output: Path | None, as_json: bool, quiet: bool, **options: Any) -> int:
    """Convert a .t7 file into a folder with PyTorch weights, an ONNX file and a parity report.

    \b
    torchmigrate convert resnet.t7
    torchmigrate convert checkpoint.t7 --key model -o resnet --input-shape 2x3x224x224
    torchmigrate convert style.t7 --plugin my_layers.py --reference style.reference.t7
    """
    from .. import console
    from ..console.results import show_result
    from ..workflow import Options, convert_file

    target = output or Path(file.name.removesuffix(".gz")).with_suffix("")
    with console.progress(silent=as_json or quiet) as step:
        result = convert_file(file, target, Options(**with_aliases(options)), step)
    if as_json:
        console.print_json(result.to_json())
    elif not quiet:
        show_result(result)
    return EXIT_OK if result.passed else EXIT_PARITY

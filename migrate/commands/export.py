"""torchmigrate export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import EXIT_OK
from .options import CONVERSION, DTYPE, JSON, OPSET, SHAPE, with_aliases


@click.command()
@CONVERSION
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="ONNX file to write; default: the file's name with .onnx."
)
@SHAPE
@OPSET
@DTYPE
@JSON
def export(file: Path, output: Path | None, as_json: bool, **options: Any) -> int:
    """Write only an ONNX file.

    \b
    torchmigrate export model.t7 -o model.onnx --input-shape 2x3x224x224
    """
    from .. import console
    from ..console.results import show_export
    from ..workflow import export_file

    target = output or Path(file.name).with_suffix(".onnx")
    exported = export_file(file, target, **with_aliases(options))
    if as_json:
        console.print_json(exported.to_json())
    else:
        show_export(exported)
    return EXIT_OK

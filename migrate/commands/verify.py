"""torchmigrate verify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import EXIT_OK, EXIT_PARITY
from .options import CONVERSION, DEVICES, JSON, REFERENCE, SHAPE, TOLERANCES, with_aliases


@click.command()
@CONVERSION
@REFERENCE
@click.option("--onnx", type=click.Path(path_type=Path), help="An exported ONNX file to compare too.")
@SHAPE
@DEVICES
@TOLERANCES
@JSON
def verify(file: Path, as_json: bool, **options: Any) -> int:
    """Compare a converted model with what Torch7 answered, end to end and layer by layer. Exits 1 on a difference.

    FILE is a .t7 file, which is converted first.

    \b
    torchmigrate verify model.t7 --reference model.reference.t7
    torchmigrate verify model.t7 --reference model.reference.t7 --device cpu --device cuda
    """
    from .. import console
    from ..console.reports import show_report
    from ..workflow import verify_file

    report = verify_file(file, **with_aliases(options))
    if as_json:
        console.print_json(report.to_json())
    else:
        show_report(report)
    return EXIT_OK if report else EXIT_PARITY

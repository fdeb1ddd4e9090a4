"""torchmigrate inspect."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import EXIT_OK
from .options import FILE, JSON, KEY


@click.command()
@FILE
@KEY
@click.option("--depth", type=int, help="Show the tree down to this depth.")
@JSON
def inspect(file: Path, key: str | None, depth: int | None, as_json: bool) -> int:
    """Show what is in a .t7 file: models, classes, parameters, and whether they can be converted.

    \b
    torchmigrate inspect checkpoint.t7
    torchmigrate inspect checkpoint.t7 --key model --depth 2
    """
    from .. import console
    from ..console.inspections import show_inspection
    from ..inspection import inspect_file
    from ..support import table

    found = inspect_file(file, table().keys(), key)
    if as_json:
        console.print_json(found.to_json())
    else:
        show_inspection(found, depth)
    return EXIT_OK

"""torchmigrate examples."""

from __future__ import annotations

from pathlib import Path

import click

from ...base.errors import EXIT_OK
from .options import JSON, QUIET


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("examples"),
    help="Folder to write.",
    show_default=True,
)
@click.option("--force", is_flag=True, help="Replace a folder that torchmigrate wrote.")
@JSON
@QUIET
def examples(output: Path, force: bool, as_json: bool, quiet: bool) -> int:
    """Write a small folder of example files, which the pages of the documents use.

    \b
    torchmigrate examples
    torchmigrate convert examples/model.t7 -o model
    """
    from ...folder.examples import write_examples
    from ..printing import terminal as console
    from ..printing.extractions import show_examples

    written = write_examples(output, force=force)
    if as_json:
        console.print_json({"folder": str(output), "files": written})
    elif not quiet:
        show_examples(str(output), written)
    return EXIT_OK

"""torchmigrate layers."""

from __future__ import annotations

import click

from ...base.errors import EXIT_OK
from .options import JSON


@click.command()
@click.argument("words", nargs=-1)
@JSON
def layers(words: tuple[str, ...], as_json: bool) -> int:
    """List the Torch7 classes that can be converted; WORDS filter the list.

    \b
    torchmigrate layers
    torchmigrate layers Spatial Pooling
    """
    from dataclasses import asdict

    from ...model.supported_classes import table
    from ..printing import terminal as console
    from ..printing.inspections import show_layers

    rows = [row for name, row in table().items() if all(word.lower() in name.lower() for word in words)]
    if as_json:
        console.print_json([asdict(row) for row in rows])
    else:
        show_layers(rows)
    return EXIT_OK

"""torchmigrate layers."""

from __future__ import annotations

import click

from ..errors import EXIT_OK
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

    from .. import console
    from ..console.layers import show_layers
    from ..support import table

    rows = [row for name, row in table().items() if all(word.lower() in name.lower() for word in words)]
    if as_json:
        console.print_json([asdict(row) for row in rows])
    else:
        show_layers(rows)
    return EXIT_OK

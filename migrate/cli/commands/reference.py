"""torchmigrate reference."""

from __future__ import annotations

import click

from ...base.errors import EXIT_OK
from .options import JSON


@click.command()
@click.option("--script", is_flag=True, help="Print the Lua script.")
@JSON
def reference(script: bool, as_json: bool) -> int:
    """Tell how to record what an old Torch7 answers, to verify a conversion against it.

    \b
    torchmigrate reference --script > dump_reference.lua
    th dump_reference.lua model.t7 --size 2x3x224x224 --layers model.reference.t7
    torchmigrate verify model.t7 --reference model.reference.t7
    """
    from importlib.resources import files

    from ..printing import terminal as console

    text = files("torchmigrate").joinpath("data/dump_reference.lua").read_text("utf-8")
    if as_json:
        console.print_json({"script": text})
    elif script:
        click.echo(text, nl=False)
    else:
        click.echo(click.get_current_context().get_help())
    return EXIT_OK

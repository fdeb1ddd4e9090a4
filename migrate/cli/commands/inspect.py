"""torchmigrate inspect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ...base.errors import EXIT_OK
from .options import FILE, JSON, KEY, LIMITS, LUA, NO_PLUGINS, QUIET, SHAPE, VERBOSE, limits_of
from .sources import fetched, local_path


@click.command()
@FILE
@KEY
@click.option("--depth", type=click.IntRange(min=0), help="Show the tree and the contents down to this depth.")
@click.option("--tensors", is_flag=True, help="Show the statistics of every tensor.")
@click.option("--shapes", is_flag=True, help="Run the model, and show the output of every module (slower).")
@click.option("--salvage", is_flag=True, help="Of a torn or damaged file, show what can be read, and what is lost.")
@SHAPE
@click.option("--svg", type=click.Path(path_type=Path), help="Write a picture of the network.")
@NO_PLUGINS
@LUA
@LIMITS
@click.option("--force", is_flag=True, help="Replace an existing picture.")
@JSON
@QUIET
@VERBOSE
def inspect(
    file: str,
    key: str | None,
    depth: int | None,
    tensors: bool,
    shapes: bool,
    salvage: bool,
    input_shape: str | None,
    svg: Path | None,
    lua: Sequence[Path],
    lua_first: Sequence[str],
    max_elements: int | None,
    max_runs: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Show what is in a .t7 file: its origin, models, classes, parameters, and whether they can be converted.

    \b
    torchmigrate inspect checkpoint.t7
    torchmigrate inspect checkpoint.t7 --key model --depth 2
    torchmigrate inspect torn.t7 --salvage
    torchmigrate inspect model.t7 --lua MyLayer.lua
    ssh host cat model.t7.gz | torchmigrate inspect -
    torchmigrate inspect resnet.t7 --input-shape 2x3x224x224 --svg resnet.svg
    """
    from ...base.output_file import check_file
    from ...inspection.inspect import inspect_file
    from ...model.supported_classes import table
    from ..printing import terminal as console
    from ..printing.inspections import show_inspection

    if file == "-" and (shapes or input_shape or svg):
        raise click.UsageError(
            "--shapes, --input-shape and --svg read the file twice: standard input can be read once."
        )
    limits = limits_of(max_elements, max_runs)
    if svg is not None:
        check_file(svg, force=force, inputs=[local_path(file), *lua])
    with console.progress(silent=as_json or quiet) as step:
        path = fetched(file, step)
        step("reading")
        known = [*table().keys(), *_defined(lua, lua_first)]
        found = inspect_file(path, known, key, tensors=tensors, salvage=salvage, limits=limits)
        if shapes or input_shape:
            from ...inspection.run_shapes import add_shapes

            step("finding the input and running the models")
            add_shapes(found, path, input_shape, limits)
        if svg is not None:
            from ...picture.draw import draw_file

            step("drawing")
            draw_file(path, svg, key, found, depth, limits, force=force)
    if as_json:
        console.print_json(found.to_json())
    elif not quiet:
        show_inspection(found, depth, file)
        if svg is not None:
            click.echo(f"{svg} shows the network")
    return EXIT_OK


def _defined(lua: Sequence[Path], first: Sequence[str]) -> list[str]:
    """The classes that Lua files define; nothing of Lua, or of PyTorch, is loaded where there are none."""
    if not lua and not first:
        return []
    from ...folder.from_lua import provided_by

    return list(provided_by(lua, first))

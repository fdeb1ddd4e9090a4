"""torchmigrate match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...base.errors import EXIT_OK
from .options import CONVERSION, JSON, QUIET, SHAPE, VERBOSE, with_model_options
from .sources import local_path, opened


@click.command()
@CONVERSION
@click.option(
    "--into",
    required=True,
    metavar="MODULE:NAME",
    help="What makes your network: package.module:callable or file.py:Class. It is imported and called.",
)
@click.option(
    "--kwargs", "arguments", multiple=True, metavar="NAME=VALUE", help="Argument of that call, as JSON or text."
)
@click.option(
    "--except",
    "exclude",
    multiple=True,
    metavar="NAME",
    help="Leave a part of your network out, such as fc; repeatable.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write, .safetensors, .pt or .pth; beside it NAME.pairs.tsv. Without it nothing is written.",
)
@SHAPE
@click.option("--force", is_flag=True, help="Replace existing files.")
@JSON
@QUIET
@VERBOSE
def match(file: str, output: Path | None, as_json: bool, quiet: bool, force: bool, **options: Any) -> int:
    """Put the weights into a network of your own, and prove that both compute the same.

    Exit code 1: they do not; it says where they part.

    \b
    torchmigrate match resnet18.t7 --into torchvision.models:resnet18 -o new.pt
    torchmigrate match resnet18.t7 --into torchvision.models:resnet18 \\
        --kwargs num_classes=7 --except fc -o seven.pt
    torchmigrate match crnn.t7 --into model.py:CRNN --kwargs hidden=256
    """
    from ...base.output_file import check_file
    from ...folder.from_lua import provided_by
    from ...matching.load_target import load_target
    from ...matching.match import match as match_networks
    from ...model.convert import convert_model
    from ..printing import terminal as console
    from ..printing.matches import show_match

    given = with_model_options(options)
    into, arguments = given.pop("into"), given.pop("arguments")
    inputs = [local_path(file), *given["plugins"], *given["lua"], into.rpartition(":")[0]]
    if output is not None:
        check_file(output, force=force, inputs=inputs)
    with console.progress(silent=as_json or quiet) as step, opened(file, step) as path:
        target = load_target(into, arguments)
        step("reading and converting")
        exclude, shape = given.pop("exclude"), given.pop("input_shape")
        conversion = convert_model(path, provided=provided_by(given.pop("lua"), given.pop("lua_first")), **given)
        step("running both networks")
        found = match_networks(conversion, target, exclude=exclude, input_shape=shape)
        written = found.save(output, force=force, inputs=inputs) if output is not None else []
    if as_json:
        console.print_json({**found.to_json(), "files": [str(each) for each in written]})
    elif not quiet:
        show_match(file, into, found, written)
    return EXIT_OK

"""torchmigrate extract."""

from __future__ import annotations

from pathlib import Path

import click

from ...base.errors import EXIT_OK
from .options import FILE, JSON, MAX_ELEMENTS, QUIET, limits_of
from .sources import fetched, local_path


@click.command()
@FILE
@click.option("--key", help="What to take, such as opt, dataset.data or model.modules.1.weight. Default: everything.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write: .json, .npz, .npy, .safetensors, .h5, .csv, .txt or .t7. Default: JSON on standard output.",
)
@click.option("--full", is_flag=True, help="JSON with the numbers of every tensor and the fields of every module.")
@click.option(
    "--png",
    type=click.Path(path_type=Path),
    help="Write the images, HxW or 3xHxW: FILE.png with the first of them, or a folder with a file of each (Pillow).",
)
@click.option("--force", is_flag=True, help="Replace existing files.")
@MAX_ELEMENTS
@JSON
@QUIET
def extract(
    file: str,
    key: str | None,
    output: Path | None,
    full: bool,
    png: Path | None,
    force: bool,
    max_elements: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Take options, a vocabulary, tensors or a data set out of a .t7 file.

    \b
    torchmigrate extract checkpoint.t7 --key opt -o opt.json
    torchmigrate extract train.t7 -o train.npz --png train.png
    torchmigrate extract checkpoint.t7 --key model.modules.1.weight -o weight.npy
    torchmigrate extract checkpoint.t7 --key model -o model.t7
    """
    from ...extract.extract import check_target
    from ...extract.extract import extract as take
    from ...t7.as_json import json_text
    from ..printing import terminal as console
    from ..printing.extractions import show_extraction, show_left_out

    limits = limits_of(max_elements)
    for target in (output, png):
        if target is not None:
            check_target(target, force=force, inputs=[local_path(file)], picture=target is png)
    with console.progress(silent=as_json or quiet) as step:
        path = fetched(file, step)
        step("reading")
        found = take(path, output, key=key, full=full, preview=png, force=force, limits=limits)
    if as_json:
        console.print_json(found.to_json())
    elif output is None and png is None:
        click.echo(json_text(found.value))
        if not quiet:
            show_left_out(found)
    elif not quiet:
        show_extraction(found)
    return EXIT_OK

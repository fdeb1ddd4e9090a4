"""torchmigrate pack."""

from __future__ import annotations

from pathlib import Path

import click

from ...base.errors import EXIT_OK
from .options import JSON, QUIET


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The .t7 file to write.")
@click.option("--ascii", "as_text", is_flag=True, help="Write text, as torch.save(file, value, 'ascii') does.")
@click.option("--32-bit", "narrow", is_flag=True, help="For a Torch7 on Windows or 32 bits, whose longs have 4 bytes.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@JSON
@QUIET
def pack(
    files: tuple[str, ...], output: Path, as_text: bool, narrow: bool, force: bool, as_json: bool, quiet: bool
) -> int:
    """Write arrays, tables, pictures or JSON as a .t7 file that Torch7 loads.

    FILE is .npy, .npz, .safetensors, .json, .pt or .pth (no code of it is run), .h5, .csv, .txt or a picture; several
    become a table, under their names or those given as NAME=FILE.

    \b
    torchmigrate pack input.npy -o input.t7
    torchmigrate pack weights.safetensors -o weights.t7
    torchmigrate pack state_dict.pth -o weights.t7
    torchmigrate pack input=x.npy target=y.npy options.json -o batch.t7
    """
    from ...extract.pack import pack as write
    from ..printing import terminal as console
    from ..printing.extractions import show_packed

    packed = write(files, output, ascii=as_text, long_size=4 if narrow else 8, force=force)
    if as_json:
        console.print_json(packed.to_json())
    elif not quiet:
        show_packed(packed)
    return EXIT_OK

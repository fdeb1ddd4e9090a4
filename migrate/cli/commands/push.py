"""torchmigrate push."""

from __future__ import annotations

from pathlib import Path

import click

from ...base.errors import EXIT_OK
from .options import JSON, QUIET, VERBOSE


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("repository", metavar="USER/NAME")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--message", help="Of the commit.")
@click.option(
    "--force", is_flag=True, help="Replace files of the same names, and bring a model that failed its comparison."
)
@JSON
@QUIET
@VERBOSE
def push(
    folder: Path, repository: str, private: bool, message: str | None, force: bool, as_json: bool, quiet: bool
) -> int:
    """Bring a folder that `convert` wrote to the Hugging Face Hub.

    Only what torchmigrate wrote is brought, and nothing is asked. The token is that of `hf auth login` or HF_TOKEN,
    the server may be named by HF_ENDPOINT (extra "remote"). With `convert --hub`, Model.from_pretrained("USER/NAME")
    loads it from there.

    \b
    torchmigrate convert resnet.t7 -o resnet --hub --license bsd-3-clause
    torchmigrate push resnet user/resnet
    torchmigrate push resnet user/resnet --private --message "Second run"
    """
    from ...folder.use.push import push as push_folder
    from ..printing import terminal as console
    from ..printing.terminal import bytes_text, printable, text_console

    with console.progress(silent=as_json or quiet) as step:
        step("uploading")
        found = push_folder(folder, repository, private=private, message=message, force=force)
    if as_json:
        console.print_json(found.to_json())
    elif not quiet:
        shown = text_console()
        shown.print(f"{printable(found.url)}: {len(found.files)} files, {bytes_text(sum(found.files.values()))}")
        if found.left_out:
            shown.print(f"  left out, since torchmigrate did not write them: {printable(', '.join(found.left_out))}")
    return EXIT_OK

"""torchmigrate optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...base.errors import EXIT_OK
from .options import CONVERSION, JSON, QUIET, VERBOSE, with_model_options
from .sources import local_path, opened


@click.command()
@CONVERSION
@click.option("--state", type=click.Path(path_type=Path), help="File that holds the state, if FILE does not.")
@click.option("--state-key", help="Where the state is in its file, such as optimState. Default: found by itself.")
@click.option("--config-key", help="Where its options are, if they are a table of their own.")
@click.option("--method", help="The optimizer, such as sgd or adam. Default: told by the fields of the state.")
@click.option("--exact", is_flag=True, help="Take Torch7's own rule where that of torch.optim differs.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to write: new, or one of `convert`.")
@click.option("--force", is_flag=True, help="Replace a state that the folder holds already.")
@JSON
@QUIET
@VERBOSE
def optimizer(
    file: str,
    state: Path | None,
    state_key: str | None,
    config_key: str | None,
    method: str | None,
    exact: bool,
    output: Path | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Convert the state of the optimizer beside a model, so that training goes on in PyTorch.

    FILE holds the model. Without -o, only what would be written is shown.

    \b
    torchmigrate optimizer checkpoint.t7
    torchmigrate optimizer checkpoint.t7 --exact -o model --force
    torchmigrate optimizer model_90.t7 --state optimState_90.t7 --method sgd
    """
    from ...folder.from_lua import provided_by
    from ...model.convert import convert_model
    from ...optim.convert import convert_optimizer
    from ...optim.files import check_optimizer_folder, save_optimizer
    from ..printing import terminal as console
    from ..printing.optimizers import optimizer_json, show_optimizer

    if output is not None:
        check_optimizer_folder(
            output, force=force, inputs=[local_path(file), state, *options["plugins"], *options["lua"]]
        )
    with console.progress(silent=as_json or quiet) as step, opened(file, step) as path:
        step("reading and converting")
        provided = provided_by(options.pop("lua"), options.pop("lua_first"))
        conversion = convert_model(path, provided=provided, **with_model_options(options))
        step("converting the state of the optimizer")
        found = convert_optimizer(conversion, state, key=state_key, config=config_key, method=method, exact=exact)
        found.optimizer()  # says now whether the options fit together
    files = save_optimizer(found, output, conversion, force=force) if output is not None else []
    if as_json:
        console.print_json(optimizer_json(found, output, files))
    elif not quiet:
        show_optimizer(found, output, files)
    return EXIT_OK

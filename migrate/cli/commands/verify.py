"""torchmigrate verify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..option_groups import GroupedCommand, in_group
from .options import (
    ALIASES,
    DEVICES,
    JSON,
    KEY,
    LIMITS,
    LUA,
    MAX_DOWNLOAD,
    MEAN,
    NO_PLUGINS,
    ONE_FILE,
    PLUGINS,
    PROOF,
    QUIET,
    REFERENCE,
    RUN_LUA,
    SHAPE,
    STD,
    TOLERANCES,
    TORCH7_SOURCE,
    VERBOSE,
    with_model_options,
)
from .sources import local_path, opened

_PATH = click.Path(path_type=Path)

REFERENCES = in_group(
    "Reference",
    REFERENCE,
    TORCH7_SOURCE,
    click.option("--torch7", metavar="COMMAND", help="Ask a Torch7 of this machine, such as th. For files you trust."),
    click.option(
        "--require",
        multiple=True,
        metavar="FILE|MODULE",
        help="Lua that --torch7 loads first: classes of your own.",
    ),
    click.option("--compare-run", type=_PATH, help="Compare with a run that --save-run saved, on another machine."),
)
INPUTS = in_group(
    "Input",
    click.option(
        "--input",
        multiple=True,
        type=_PATH,
        help="A .t7, .npy, .npz, .safetensors file or a picture; several make a table.",
    ),
    click.option(
        "--expect",
        multiple=True,
        type=_PATH,
        help="What Torch7 answered to --input, saved by any means: a .t7, .npy, .npz or .safetensors file; several "
        "make a table. Compared end to end.",
    ),
    MEAN,
    STD,
    SHAPE,
    click.option("--seed", type=int, default=0, show_default=True, help="Of random input."),
)
COMPARISON = in_group(
    "Comparison",
    click.option("--onnx", type=_PATH, help="An exported ONNX file to compare too."),
    DEVICES,
    TOLERANCES,
    PROOF,
    click.option("--layers/--no-layers", default=True, show_default=True, help="Compare every layer."),
    click.option("--gradients", is_flag=True, help="Compare gradients too, where the reference has them."),
)
RESULTS = in_group(
    "What is written",
    click.option("--report", type=_PATH, help="Folder for parity.json and report.html."),
    click.option("--markdown", type=_PATH, help="File for a summary, such as for a pull request."),
    click.option("--save-run", type=_PATH, help="Save a CPU run as .npz, for --compare-run elsewhere."),
    click.option("--bisect", type=_PATH, help="Write the smallest part that fails, with a script, into this folder."),
    click.option("--force", is_flag=True, help="Replace existing files, and the folder of --bisect."),
)


@click.command(cls=GroupedCommand)
@ONE_FILE
@in_group("The model", KEY, LUA, RUN_LUA, PLUGINS, NO_PLUGINS, ALIASES)
@REFERENCES
@INPUTS
@COMPARISON
@RESULTS
@in_group("Limits", LIMITS, MAX_DOWNLOAD)
@JSON
@QUIET
@VERBOSE
def verify(file: str, as_json: bool, quiet: bool, **options: Any) -> int:
    """Compare a converted model with what Torch7 answered, end to end and layer by layer. Exits 1 on a difference.

    FILE is a .t7 file, which is converted first, or a folder that `convert` wrote.

    \b
    torchmigrate verify model.t7
    torchmigrate verify model.t7 --reference model.reference.t7 --bisect failing
    torchmigrate verify model.t7 --torch7 th --gradients
    torchmigrate verify model.t7 --reference lua --torch7-source ~/torch/extra
    torchmigrate verify model.t7 --input cat.jpg --mean 0.5 --std 0.25
    torchmigrate verify model.t7 --input x.npy --expect y.npy
    torchmigrate verify folder --device cuda
    torchmigrate verify model.t7 --save-run cpu.npz
    torchmigrate verify folder --compare-run cpu.npz --device cuda
    """
    from ...folder.verify_folder import VerifyOptions, check_outputs, verify_path
    from ..printing import terminal as console
    from ..printing.reports import show_verified

    given = VerifyOptions(**with_model_options(options))
    check_outputs(local_path(file), given)
    with console.progress(silent=as_json or quiet) as step, opened(file, step) as path:
        step("converting and comparing")
        verified = verify_path(path, given)
    if as_json:
        from ...parity.report.report import finite

        console.print_json(finite(verified.to_json()))
    elif not quiet:
        show_verified(verified, bisect=options["bisect"] is not None)
    return verified.exit_code

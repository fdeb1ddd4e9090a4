"""Options that several commands share."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ...base.files import AUTO
from ...t7.limits import Limits
from ..context import MAX_DOWNLOAD_KEY, VERBOSE_KEY
from .sources import PathOrUrl

F = TypeVar("F", bound=Callable[..., Any])


class PositiveNumber(click.FloatRange):
    """A number above 0, and neither NaN nor Inf."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{found} is no finite number.", param, ctx)
        return found


def _keep_max_download(context: click.Context, _option: click.Parameter, value: float | None) -> None:
    context.meta[MAX_DOWNLOAD_KEY] = value


MAX_DOWNLOAD = click.option(
    "--max-download",
    type=PositiveNumber(),
    metavar="GB",
    is_eager=True,
    expose_value=False,
    callback=_keep_max_download,
    help="How large the file of an address may be; default: 20 GB.",
)


JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON only, also on failure.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")


def _keep(context: click.Context, _option: click.Parameter, value: bool) -> None:
    context.meta[VERBOSE_KEY] = value


VERBOSE = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_keep,
    help="Say each step with its time; on an error, say where it came from.",
)
KEY = click.option("--key", help="Where the model is inside a checkpoint, such as model or protos.rnn.")
PLUGINS = click.option(
    "--plugin", "plugins", multiple=True, type=click.Path(path_type=Path), help="Python file that adds converters."
)


def _leave_out(_context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        os.environ["TORCHMIGRATE_NO_PLUGINS"] = "1"  # workers are to leave them out too


NO_PLUGINS = click.option(
    "--no-plugins",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_leave_out,
    help="Leave out the converters of other installed packages.",
)
ALIASES = click.option(
    "--alias",
    "aliases",
    multiple=True,
    metavar="CLASS=CLASS",
    help="Convert a class as another, such as my.ReLU=nn.ReLU.",
)
SHAPE = click.option(
    "--input-shape", "input_shape", help="Such as 2x3x224x224; {2x10,2x20} for a table. Default: found by itself."
)
STATEFUL = click.option(
    "--stateful", is_flag=True, help="Make inputs and outputs of the states that recurrent layers keep between calls."
)
OPSET = click.option("--opset", type=int, default=20, show_default=True, help="ONNX opset.")
DTYPE = click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "keep"]),
    default="float32",
    show_default=True,
    help="Numbers in the ONNX file; keep: those of the model.",
)


def _reference(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    return None if value == AUTO else value


REFERENCE = click.option(
    "--reference",
    metavar="FILE|auto|recorded|lua|self",
    callback=_reference,
    help="What Torch7 answered (see `torchmigrate reference`); recorded: the activations in the file; lua: what "
    "Torch7's own Lua answers on PyTorch's kernels; self: the model in float64. Default, auto: model.reference.t7 "
    "beside model.t7, or else the strongest that there is.",
)
TORCH7_SOURCE = click.option(
    "--torch7-source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with your checkouts of Torch7's nn, nngraph, rnn …: their Lua runs the model as its .t7 holds it, "
    "with PyTorch's kernels (--reference lua), and makes the layers of a .lua definition.",
)
PROOF = click.option(
    "--require-proof",
    is_flag=True,
    help="Exit 1 unless the verdict is PASSED: Torch7's own numbers, and every layer with weights judged by them.",
)


LICENSE = click.option(
    "--license", metavar="NAME", help="Of the weights, for README.md as the Hub names it, such as mit or cc-by-nc-4.0."
)


def _check_devices(context: click.Context, _option: click.Parameter, devices: tuple[str, ...]) -> tuple[str, ...]:
    for device in devices:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
            raise click.BadParameter(f"{device!r} is none of cpu, cuda, cuda:1, …")
    return devices


DEVICES = click.option(
    "--device",
    "devices",
    multiple=True,
    default=("cpu",),
    show_default=True,
    callback=_check_devices,
    help="cpu or cuda; may be repeated.",
)


def _numbers(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"numbers with commas between, such as 0.485,0.456,0.406; not {text!r}") from error


MEAN = click.option("--mean", callback=_numbers, help="Of a picture's channels, such as 0.485,0.456,0.406.")
STD = click.option("--std", callback=_numbers, help="Of a picture's channels, such as 0.229,0.224,0.225.")
LABELS = click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="File with the names of the classes or words: a line each, a JSON list, or a .t7 file.",
)
CHANNEL_ORDER = click.option(
    "--channel-order", type=click.Choice(["rgb", "bgr", "yuv", "gray", "y"]), help="Of the pictures that it takes."
)
ATOL = click.option(
    "--atol",
    multiple=True,
    metavar="[OUTPUT=]NUMBER",
    help="Absolute tolerance, of all outputs or one; default: from dtype and depth.",
)
RTOL = click.option("--rtol", multiple=True, metavar="[OUTPUT=]NUMBER", help="Relative tolerance, likewise.")


def options(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several click options as one decorator."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


ONE_FILE = click.argument("file", type=PathOrUrl(readable=False))
SEVERAL_FILES = click.argument("files", metavar="FILE...", nargs=-1)
FILE = options(ONE_FILE, MAX_DOWNLOAD)
MAX_ELEMENTS = click.option(
    "--max-elements",
    type=click.IntRange(min=1),
    help="To how many numbers the tensors of a file may expand, and a value in a run; default: 2^28, or 16 a byte.",
)
MAX_RUNS = click.option(
    "--max-runs", type=click.IntRange(min=1), help="How many layers one run of the model may run; default: 100,000."
)
LIMITS = options(MAX_ELEMENTS, MAX_RUNS)
LUA = options(
    click.option(
        "--lua",
        multiple=True,
        type=click.Path(path_type=Path),
        help="The author's Lua file with classes of layers that are not known; repeatable.",
    ),
    click.option(
        "--lua-first",
        multiple=True,
        metavar="CLASS",
        help="A class that is converted from its Lua though a converter knows it; repeatable.",
    ),
)
RUN_LUA = click.option(
    "--run-lua",
    "run_lua",
    metavar="CLASS",
    multiple=True,
    help="A class of --lua whose layers stay in Lua and run it, in a process of their own; repeatable.",
)
CONVERSION = options(FILE, KEY, PLUGINS, NO_PLUGINS, ALIASES, LUA, LIMITS)
TOLERANCES = options(ATOL, RTOL)
DATA = options(MEAN, STD, LABELS, CHANNEL_ORDER)
ZOO = options(
    click.option(
        "--files-from",
        "lists",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Text file with one path or URL a line, in addition to FILE.",
    ),
    click.option("--jobs", type=click.IntRange(min=1), help="How many files are converted at once, each in a process."),
    click.option("--ray", metavar="ADDRESS", help="Convert on Ray: local starts one; auto, ray://… is one that runs."),
    click.option("--shard", metavar="K/N", help="Convert the K-th of N parts of the list: one part per machine."),
    click.option("--timeout", type=PositiveNumber(), metavar="SECONDS", help="Seconds that a file may take."),
)


def limits_of(max_elements: int | None = None, max_runs: int | None = None) -> Limits:
    """The limits that a command was given."""
    given = {"expanded_elements": max_elements, "runs": max_runs}
    return Limits(**{name: value for name, value in given.items() if value is not None})


def with_model_options(options: dict[str, Any]) -> dict[str, Any]:
    """The same options, with the values of --alias as a mapping, and the limits as one.

    Raises:
        click.UsageError: one is not of the form CLASS=CLASS.
    """
    pairs = {}
    for alias in options.pop("aliases"):
        name, equals, stand_in = alias.partition("=")
        if not equals or not name or not stand_in:
            raise click.UsageError(f"--alias takes CLASS=CLASS, such as my.ReLU=nn.ReLU, not {alias!r}")
        pairs[name] = stand_in
    limits = limits_of(options.pop("max_elements"), options.pop("max_runs"))
    return {**options, "aliases": pairs, "limits": limits}

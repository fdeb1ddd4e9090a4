"""The command line. Only this file and `console.py` print, and only this file exits."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from .errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, EXIT_PARITY, EXIT_USAGE, TorchMigrateError

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.argument("file", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON only, also on failure.")
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
_KEY = click.option("--key", help="Where the model is inside a checkpoint, such as model or protos.rnn.")
_PLUGINS = click.option(
    "--plugin", "plugins", multiple=True, type=click.Path(path_type=Path), help="Python file that adds converters."
)
_ALIASES = click.option(
    "--alias",
    "aliases",
    multiple=True,
    metavar="CLASS=CLASS",
    help="Convert a class as another, such as my.ReLU=nn.ReLU.",
)
_SHAPE = click.option(
    "--input-shape", "input_shape", help="Such as 2x3x224x224; {2x10,2x20} for a table. Default: found by itself."
)
_OPSET = click.option("--opset", type=int, default=20, show_default=True, help="ONNX opset.")
_DTYPE = click.option(
    "--dtype",
    type=click.Choice(["float32", "keep"]),
    default="float32",
    show_default=True,
    help="Numbers in the ONNX file.",
)
_REFERENCE = click.option(
    "--reference", type=click.Path(path_type=Path), help="What Torch7 answered: see `torchmigrate reference`."
)
_DEVICES = click.option(
    "--device", "devices", multiple=True, default=("cpu",), show_default=True, help="cpu or cuda; may be repeated."
)
_ATOL = click.option("--atol", type=float, help="Absolute tolerance; default: from dtype and depth.")
_RTOL = click.option("--rtol", type=float, help="Relative tolerance; default: from dtype and depth.")


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_CONVERSION = _options(_FILE, _KEY, _PLUGINS, _ALIASES)
_TOLERANCES = _options(_ATOL, _RTOL)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 parity failed, 2 usage, 3 unreadable input, 4 unsupported layers, 5 export failed.",
)
@click.version_option(package_name="torchmigrate")
def cli() -> None:
    """Bring Lua Torch7 models (.t7) back to life: PyTorch, safetensors and ONNX, with proof of numeric parity.

    \b
    torchmigrate inspect model.t7                     what is in the file
    torchmigrate convert model.t7 -o model            PyTorch weights, ONNX, parity
    torchmigrate verify model.t7 --reference ref.t7   compare with what Torch7 answered
    """


@cli.command()
@_CONVERSION
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder to write; default: the file's name without .t7."
)
@click.option("--force", is_flag=True, help="Replace an existing folder.")
@click.option(
    "--allow-unsupported", is_flag=True, help="Convert the rest; what is not converted raises when it is run."
)
@click.option("--no-onnx", is_flag=True, help="Write no model.onnx.")
@click.option("--no-verify", is_flag=True, help="Write no parity.json.")
@_SHAPE
@_OPSET
@_DTYPE
@_REFERENCE
@_DEVICES
@_TOLERANCES
@_JSON
@_QUIET
def convert(file: Path, output: Path | None, as_json: bool, quiet: bool, **options: Any) -> int:
    """Convert a .t7 file into a folder with PyTorch weights, an ONNX file and a parity report.

    \b
    torchmigrate convert resnet.t7
    torchmigrate convert checkpoint.t7 --key model -o resnet --input-shape 2x3x224x224
    torchmigrate convert style.t7 --plugin my_layers.py --reference style.reference.t7
    """
    from . import console
    from .workflow import Options, convert_file

    target = output or Path(file.name.removesuffix(".gz")).with_suffix("")
    with console.progress(silent=as_json or quiet) as step:
        result = convert_file(file, target, Options(**_with_aliases(options)), step)
    if as_json:
        console.print_json(result.to_json())
    elif not quiet:
        console.show_result(result)
    return EXIT_OK if result.passed else EXIT_PARITY


@cli.command()
@_FILE
@_KEY
@click.option("--depth", type=int, help="Show the tree down to this depth.")
@_JSON
def inspect(file: Path, key: str | None, depth: int | None, as_json: bool) -> int:
    """Show what is in a .t7 file: models, classes, parameters, and whether they can be converted.

    \b
    torchmigrate inspect checkpoint.t7
    torchmigrate inspect checkpoint.t7 --key model --depth 2
    """
    from . import console
    from .inspection import inspect_file
    from .support import table

    found = inspect_file(file, table().keys(), key)
    if as_json:
        console.print_json(found.to_json())
    else:
        console.show_inspection(found, depth)
    return EXIT_OK


@cli.command()
@_CONVERSION
@_REFERENCE
@click.option("--onnx", type=click.Path(path_type=Path), help="An exported ONNX file to compare too.")
@_SHAPE
@_DEVICES
@_TOLERANCES
@_JSON
def verify(file: Path, as_json: bool, **options: Any) -> int:
    """Compare a converted model with what Torch7 answered, end to end and layer by layer. Exits 1 on a difference.

    FILE is a .t7 file, which is converted first.

    \b
    torchmigrate verify model.t7 --reference model.reference.t7
    torchmigrate verify model.t7 --reference model.reference.t7 --device cpu --device cuda
    """
    from . import console
    from .workflow import verify_file

    report = verify_file(file, **_with_aliases(options))
    if as_json:
        console.print_json(report.to_json())
    else:
        console.show_report(report)
    return EXIT_OK if report else EXIT_PARITY


@cli.command()
@_CONVERSION
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="ONNX file to write; default: the file's name with .onnx."
)
@_SHAPE
@_OPSET
@_DTYPE
@_JSON
def export(file: Path, output: Path | None, as_json: bool, **options: Any) -> int:
    """Write only an ONNX file.

    \b
    torchmigrate export model.t7 -o model.onnx --input-shape 2x3x224x224
    """
    from . import console
    from .workflow import export_file

    target = output or Path(file.name).with_suffix(".onnx")
    exported = export_file(file, target, **_with_aliases(options))
    if as_json:
        console.print_json(exported.to_json())
    else:
        console.show_export(exported)
    return EXIT_OK


@cli.command()
@click.argument("words", nargs=-1)
@_JSON
def layers(words: tuple[str, ...], as_json: bool) -> int:
    """List the Torch7 classes that can be converted; WORDS filter the list.

    \b
    torchmigrate layers
    torchmigrate layers Spatial Pooling
    """
    from dataclasses import asdict

    from . import console
    from .support import table

    rows = [row for name, row in table().items() if all(word.lower() in name.lower() for word in words)]
    if as_json:
        console.print_json([asdict(row) for row in rows])
    else:
        console.show_layers(rows)
    return EXIT_OK


@cli.command()
@click.option("--script", is_flag=True, help="Print the Lua script.")
@_JSON
def reference(script: bool, as_json: bool) -> int:
    """Tell how to record what an old Torch7 answers, to verify a conversion against it.

    \b
    torchmigrate reference --script > dump_reference.lua
    th dump_reference.lua model.t7 --size 2x3x224x224 --layers model.reference.t7
    torchmigrate verify model.t7 --reference model.reference.t7
    """
    from importlib.resources import files

    from . import console

    text = files(__package__).joinpath("data/dump_reference.lua").read_text("utf-8")
    if as_json:
        console.print_json({"script": text})
    elif script:
        click.echo(text, nl=False)
    else:
        click.echo(click.get_current_context().get_help())
    return EXIT_OK


def _with_aliases(options: dict[str, Any]) -> dict[str, Any]:
    pairs = {}
    for alias in options.pop("aliases"):
        name, equals, stand_in = alias.partition("=")
        if not equals or not name or not stand_in:
            raise click.UsageError(f"--alias takes CLASS=CLASS, such as my.ReLU=nn.ReLU, not {alias!r}")
        pairs[name] = stand_in
    return {**options, "aliases": pairs}


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line and exits with the code of errors.py."""
    words = sys.argv[1:] if arguments is None else arguments
    sys.exit(_run(words))


def _run(words: list[str]) -> int:
    as_json = "--json" in words
    try:
        code = cli.main(words, prog_name="torchmigrate", standalone_mode=False)
        return code if isinstance(code, int) else EXIT_OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EXIT_OK
    except click.ClickException as error:
        return _fail(error.format_message(), EXIT_USAGE, as_json, error)
    except TorchMigrateError as error:
        return _fail(str(error), error.exit_code, as_json, error)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", EXIT_INTERRUPTED, as_json, None)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has closed it
        return EXIT_OK
    except Exception as error:
        import traceback

        traceback.print_exc()
        text = (
            f"{type(error).__name__}: {error}\nThis is a fault of torchmigrate: please report it with the lines above."
        )
        return _fail(text, EXIT_BUG, as_json, error)


def _fail(message: str, code: int, as_json: bool, error: Exception | None) -> int:
    if as_json:
        kind = type(error).__name__ if error is not None else "Interrupted"
        click.echo(json.dumps({"error": {"type": kind, "message": message}, "exit_code": code}, indent=1))
    else:
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(message, err=True)
    return code

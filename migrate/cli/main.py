"""The command line. Only `commands/` and `printing/` print, and only this file exits."""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from types import FrameType
from typing import NoReturn, Self

import click

from ..base.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, TorchMigrateError
from ..base.messages import shell_words, visible
from .streams import flush_output, prepare_streams

#: The commands, as `--help` lists them; each is a file in `commands/`, imported when it is needed.
COMMANDS = (
    "inspect",
    "convert",
    "verify",
    "export",
    "match",
    "run",
    "push",
    "optimizer",
    "extract",
    "pack",
    "reference",
    "layers",
    "examples",
    "doctor",
)

#: When Python looks for garbage: after so many new objects; a wider search after so many narrower ones, twice.
_COLLECTIONS = (10_000, 20, 20)


class Commands(click.Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if near := get_close_matches(args[0], COMMANDS, 1):
                raise click.UsageError(f"{error.format_message()} Did you mean {near[0]}?", ctx) from error
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each command with the whole first sentence of its help, where click would cut it to one line."""
        known = {name: command for name in COMMANDS if (command := self.get_command(ctx, name)) is not None}
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(1000)) for name, command in known.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f".commands.{cmd_name}", __package__), cmd_name)
        return command if isinstance(command, click.Command) else None


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`torchmigrate COMMAND --help` has examples. Exit codes: 0 ok, 1 parity failed, 2 usage, 3 unreadable "
    "input or no model in it, 4 unsupported layers, 5 export failed, 70 a fault of torchmigrate, 130 interrupted.",
)
@click.version_option(package_name="torchmigrate")
def cli() -> None:
    """Bring Lua Torch7 models (.t7) back to life: PyTorch, safetensors and ONNX, with proof of numeric parity.

    \b
    torchmigrate inspect model.t7                    what is in the file
    torchmigrate convert model.t7 -o model           PyTorch, ONNX, parity
    torchmigrate convert *.t7 -o models --jobs 4     a whole collection
    torchmigrate verify model.t7 --reference ref.t7  compare with Torch7's answers
    torchmigrate match model.t7 --into net.py:Net    the weights in your own class
    torchmigrate run model cat.jpg                   labels, a picture, text
    torchmigrate push model user/model               to the Hugging Face Hub
    torchmigrate optimizer checkpoint.t7 -o model    go on training
    torchmigrate extract checkpoint.t7 --key opt     options, words, data sets
    torchmigrate pack input.npy -o input.t7          back to Torch7
    torchmigrate examples                            files to try all this with
    torchmigrate doctor                              what this machine has
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line and exits with the code of errors.py."""
    prepare_streams()
    words = sys.argv[1:] if arguments is None else arguments
    with _rare_collections(), _Interrupts() as interrupts:
        code = _run(words, interrupts)
    if reason := flush_output():
        code = _fail(f"What was found can't be printed: {reason}.", code or EXIT_USAGE, as_json=False, error=None)
    if arguments is None:
        gc.freeze()  # the process ends: Python need not look for garbage in all that is left, which takes a second
    sys.exit(code)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Looks for garbage less often: half a million objects that stay are made by imports and exporters."""
    usual = gc.get_threshold()
    gc.set_threshold(*_COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


class _Interrupts:
    """Notes Ctrl-C, since libraries swallow it while they are imported, or make another error of it."""

    seen = False

    def __enter__(self) -> Self:
        with suppress(ValueError):  # not in the main thread
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> NoReturn:
        self.seen = True
        raise KeyboardInterrupt


def _run(words: list[str], interrupts: _Interrupts | None = None) -> int:
    as_json = "--json" in words
    try:
        return _command(words)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", EXIT_INTERRUPTED, as_json, None)
    except Exception as error:
        if interrupts is not None and interrupts.seen:
            return _fail("interrupted", EXIT_INTERRUPTED, as_json, None)
        return _failed(error, words)


def _command(words: list[str]) -> int:
    try:
        code = cli.main(words, prog_name="torchmigrate", standalone_mode=False)
        return code if isinstance(code, int) else EXIT_OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EXIT_OK


def _failed(error: Exception, words: list[str]) -> int:
    """Says what an error was; its exit code."""
    as_json = "--json" in words
    if isinstance(error, click.ClickException):
        return _fail(error.format_message(), EXIT_USAGE, as_json, error)
    if isinstance(error, TorchMigrateError):
        if {"-v", "--verbose"} & set(words):
            traceback.print_exception(error)
        return _fail(str(error), error.exit_code, as_json, error)
    from ..base.files import disk_refusal, no_temporary_folder, surroundings
    from ..base.memory import memory_refusal

    if refusal := memory_refusal(error):
        return _fail(str(refusal), refusal.exit_code, as_json, refusal)
    if reason := disk_refusal(error):
        return _fail(f"It can't be written: {reason}. Nothing half-written was left.", EXIT_USAGE, as_json, error)
    if reason := surroundings(error) or no_temporary_folder():
        return _fail(reason, EXIT_USAGE, as_json, error)
    traceback.print_exception(error)
    text = f"{type(error).__name__}: {error}\nThis is a fault of torchmigrate: please report it with the lines above."
    return _fail(text, EXIT_BUG, as_json, error)


def _fail(message: str, code: int, as_json: bool, error: Exception | None) -> int:
    message = shell_words(message)
    if as_json:
        kind = type(error).__name__ if error is not None else "Interrupted"
        click.echo(json.dumps({"error": {"type": kind, "message": message}, "exit_code": code}, indent=1))
        return code
    with suppress(OSError):  # there is nobody left to tell
        # NO_COLOR asks for none, however it is set; https://no-color.org
        click.secho("error: ", fg=None if os.environ.get("NO_COLOR") else "red", nl=False, err=True)
        click.echo("\n".join(visible(line) for line in message.split("\n")), err=True)
    return code

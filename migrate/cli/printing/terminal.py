"""What the commands print: trees, tables and one-line verdicts, with rich. Every string of a file is escaped.

One file per thing that is shown; here is what they share.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from ...base.messages import shell_words, visible
from ..context import VERBOSE_KEY


def printable(text: str) -> str:
    """Text of a file without control characters and without markup."""
    return escape(visible(text))


def remark(text: str) -> str:
    """The same of a sentence of ours, without the words that only callers from Python need."""
    return printable(shell_words(text))


def text_console(*, stderr: bool = False) -> Console:
    """As wide as the terminal; in a pipe lines are not broken, so that they can be searched and pasted."""
    console = Console(highlight=False, stderr=stderr)
    return console if console.is_terminal else Console(highlight=False, stderr=stderr, width=1000)


def print_json(value: Any) -> None:
    """Prints JSON and nothing else."""
    print(json.dumps(value, indent=1, ensure_ascii=True))  # noqa: T201 - this is what --json is for


@contextmanager
def progress(*, silent: bool) -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being done; silent in a pipe, unless -v asks for a line each."""
    console = Console(stderr=True)
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(VERBOSE_KEY):
        with _timed() as line:
            yield line
        return
    if silent or not console.is_terminal:
        yield _nothing
        return
    with console.status("") as status:

        def step(text: str) -> None:
            status.update(f"{text} …")

        yield step


@contextmanager
def _timed() -> Iterator[Callable[[str], None]]:
    """Says on standard error what is being done, and how long after the beginning."""
    began = time.monotonic()

    def line(text: str) -> None:
        click.echo(f"{time.monotonic() - began:7.2f} s  {visible(text)}", err=True)

    yield line
    line("done")


def _nothing(text: str) -> None:
    """Takes the place of a progress display where there is none."""


def bytes_text(size: int) -> str:
    """A number of bytes as people read it."""
    return f"{size:,} bytes" if size < 100_000 else f"{size / 1e6:,.1f} MB"

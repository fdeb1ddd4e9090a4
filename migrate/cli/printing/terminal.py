"""What the commands print: trees, tables and one-line verdicts, with rich. Every string of a file is escaped.

One file per thing that is shown; here is what they share.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

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


def show_next(console: Console, text: str) -> None:
    """The next command, in one line that can be copied whole: where it is longer than the terminal, that wraps it."""
    console.print(f"next: {text}", markup=False, soft_wrap=True)


def show_files(console: Console, folder: Path, files: Mapping[str, int]) -> None:
    """A line for each file of a folder with its size; a long folder stands once above, so that names are never cut.

    Args:
        console: where to print.
        folder: that of all files.
        files: name -> size in bytes.
    """
    paths = {str(folder / name): bytes_text(size) for name, size in files.items()}
    longest = max(map(cell_len, paths), default=0)
    sizes = max(map(len, paths.values()), default=0)
    if longest + sizes + 3 > console.width:
        console.print(f"  {printable(str(folder))}:", soft_wrap=True)
        paths = {f"  {name}": bytes_text(size) for name, size in files.items()}
        longest = max(map(cell_len, paths))
    for path, size in paths.items():
        console.print(f"  {printable(path)}{' ' * (longest - cell_len(path))} {size}", soft_wrap=True)


def plain_table(*headings: str, columns: int = 0) -> Table:
    """A table without lines, whose cells are folded where they are too long, never cut.

    Args:
        headings: those of its columns.
        columns: how many columns, where there are no headings.
    """
    made = Table(box=None, pad_edge=False, show_header=bool(headings))
    for heading in headings or [""] * columns:
        made.add_column(heading, overflow="fold")
    return made


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

"""What was taken out of a file, and what was put into one."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.console import Console

from .terminal import bytes_text, plain_table, printable, show_next, text_console

if TYPE_CHECKING:
    from ...extract.extract import Extraction
    from ...extract.pack import PackedFile

#: So many lines of one kind are shown; the JSON of the command has all.
_MOST = 20

#: How the file is read, by its ending.
_READ_WITH = {
    ".npz": "numpy.load({!r})",
    ".npy": "numpy.load({!r})",
    ".safetensors": "safetensors.torch.load_file({!r})",
    ".h5": "h5py.File({!r})",
    ".csv": "numpy.loadtxt({!r}, delimiter=',')",
    ".txt": "numpy.loadtxt({!r})",
    ".t7": "torchmigrate.load({!r})",
}


def show_extraction(found: Extraction) -> None:
    """What `extract` ends with: the file, its tensors, what it does not hold."""
    console = text_console()
    where = f"{printable(found.key)}: " if found.key else ""
    console.print(f"[bold]{where}{printable(found.what)}[/]")
    if found.output is not None:
        console.print(f"  {printable(found.output)}  {bytes_text(found.size)}", soft_wrap=True)
    if found.preview is not None:
        console.print(f"  {printable(found.preview)}", soft_wrap=True)
    _show_rows(console, found.tensors)
    for note in found.notes:
        console.print(f"  note: {printable(note)}")
    _show_lines(console, found.left_out)
    ending = "." + (found.output or "").rpartition(".")[2].lower()
    if ending in _READ_WITH:
        show_next(console, _READ_WITH[ending].format(found.output))


def show_left_out(found: Extraction) -> None:
    """What JSON on standard output does not hold; on standard error, since the output is to be read by a program."""
    console = text_console(stderr=True)
    for note in found.notes:
        console.print(f"  note: {printable(note)}")
    _show_lines(console, found.left_out)


def show_packed(packed: PackedFile) -> None:
    """What `pack` ends with."""
    console = text_console()
    console.print(
        f"[bold]{printable(packed.output)}[/]  {bytes_text(packed.size)}  {printable(packed.what)}", soft_wrap=True
    )
    _show_rows(console, packed.entries)
    for note in packed.notes:
        console.print(f"  note: {printable(note)}")
    show_next(console, f"th -e \"print(torch.load('{packed.output}'))\"")


def show_examples(folder: str, files: dict[str, int]) -> None:
    """What `examples` ends with."""
    console = text_console()
    for name, size in files.items():
        console.print(f"  {printable(f'{folder}/{name}')}  {bytes_text(size)}", soft_wrap=True)
    show_next(console, f"torchmigrate convert {shlex.quote(f'{folder}/model.t7')} -o model")


def _show_rows(console: Console, rows: dict[str, str]) -> None:
    table = plain_table(columns=2)
    for name, line in list(rows.items())[:_MOST]:
        table.add_row(f"  {printable(name)}", printable(line))
    if rows:
        console.print(table)
    if len(rows) > _MOST:
        console.print(f"  … {len(rows)} in all; --json lists them")


def _show_lines(console: Console, lines: list[str]) -> None:
    if lines:
        console.print("  [yellow]left out[/]:")
    for line in lines[:_MOST]:
        console.print(f"    {printable(line)}")
    if len(lines) > _MOST:
        console.print(f"    … {len(lines)} in all; --json lists them")

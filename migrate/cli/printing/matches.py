"""What `match` prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from .terminal import bytes_text, printable, remark, text_console

if TYPE_CHECKING:
    from ...matching.result import Match, Pair


def show_match(file: str, into: str, found: Match, written: list[Path]) -> None:
    """The layers of the network with those of the file that their weights come from, and what to know."""
    console = text_console()
    layers: dict[tuple[str, str], list[Pair]] = {}
    for pair in found.pairs:
        layers.setdefault((pair.name.rpartition(".")[0], pair.path), []).append(pair)
    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("layer", "Torch7 path", "tensors"):
        table.add_column(column, overflow="fold")
    for (name, path), pairs in layers.items():
        tensors = ", ".join(_tensor(pair) for pair in pairs)
        table.add_row(*map(printable, (name or "the network itself", path or "the model itself", tensors)))
    console.print(table)
    size = f"on an input of {found.input} in float64"
    if found.to_the_end:
        end = f"equal {size}"
    elif found.exclude:
        end = f"equal {size} up to {', '.join(found.exclude)}"
    else:
        end = f"equal {size}, but for the end"
    console.print(
        f"[bold]{printable(file)}[/] in {printable(into)}: {len(found.pairs)} tensors, [bold]{printable(end)}[/]"
    )
    for note in found.notes:
        console.print(f"  [yellow]note[/]: {remark(note)}")
    for each in written:
        console.print(f"  {printable(str(each))}  {bytes_text(each.stat().st_size)}")


def _tensor(pair: Pair) -> str:
    name = pair.name.rpartition(".")[2]
    return f"{name} ({pair.how})" if pair.how else name

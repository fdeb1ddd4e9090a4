"""What `run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .terminal import plain_table, printable, remark, text_console

if TYPE_CHECKING:
    from ...folder.use.run_picture import Seen


def show_labels(found: Seen, written: str | None) -> None:
    """The largest outputs with the names of their classes, or the file that was written."""
    console = text_console()
    if found.labels:
        table = plain_table(columns=3)
        for one in found.labels:
            value = f"{one.value:.1%}" if found.probabilities else f"{one.value:.4g}"
            table.add_row(value, printable(one.name) if one.name is not None else "", f"output {one.place + 1}")
        console.print(table)
    if written is not None:
        console.print(f"{printable(written)} ({found.kind})")
    console.print(f"  the input: {remark(found.said)}")

"""Parity reports on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from . import printable

if TYPE_CHECKING:
    from ..parity import ParityReport


def show_verdict(console: Console, report: ParityReport) -> None:
    """The verdict in one line."""
    verdict = report.verdict
    colour = {"passed": "green", "failed": "red"}.get(verdict.level, "yellow")
    console.print(f"[bold {colour}]{verdict.title}[/] {printable(report.summary())}")


def show_report(report: ParityReport) -> None:
    """The outcome of `verify`: one row per backend, then the verdict."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("backend", "result", "largest difference", "tolerance", "why"):
        table.add_column(heading)
    for row in report.rows():
        table.add_row(*(printable(cell) for cell in row))
    console.print(table)
    show_verdict(console, report)

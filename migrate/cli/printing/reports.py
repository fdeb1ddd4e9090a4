"""Parity reports on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from .terminal import plain_table, printable, text_console

if TYPE_CHECKING:
    from ...folder.verify_folder import Verified
    from ...parity.report.report import ParityReport


def show_verdict(console: Console, report: ParityReport) -> None:
    """The verdict in one line, and why this reference was chosen if nobody named it."""
    verdict = report.verdict
    colour = {"passed": "green", "failed": "red"}.get(verdict.level, "yellow")
    if report.reference.chosen:
        console.print(f"  reference: {printable(report.reference.chosen)}")
    console.print(f"[bold {colour}]{verdict.title}[/] {printable(report.details())}")


def show_report(report: ParityReport) -> None:
    """The outcome of `verify`: one row per backend, then the verdict, what follows from it, and its limits."""
    console = text_console()
    table = plain_table("backend", "result", "largest difference", "tolerance", "why")
    table.columns[0].no_wrap = True
    for row in report.rows():
        table.add_row(*(printable(cell) for cell in row))
    console.print(table)
    show_verdict(console, report)
    console.print(f"  {printable(report.verdict.meaning)}")
    for limit in report.verdict.limits:
        console.print(f"  {printable(limit)}")


def show_verified(verified: Verified, *, bisect: bool) -> None:
    """What `verify` found, and where it wrote what was asked for.

    Args:
        verified: the outcome.
        bisect: was the smallest failing part asked for?
    """
    show_report(verified.report)
    console = text_console()
    if verified.unproven:
        console.print(f"[bold red]not proven[/]: {printable(verified.unproven)}")
    made = verified.reproduction
    if made is not None:
        where = printable(f"{made.typename} at {made.path or 'the top'}")
        note = "" if made.exact else ", whose input is not known whole: it is what our layers made of it"
        console.print(f"[bold]{printable(str(made.folder))}[/]: {where}{note}; run reproduce.py in it", soft_wrap=True)
    elif bisect:
        console.print("no layer fails by itself with input and output that are known whole: there is no part to write")
    if verified.saved is not None:
        console.print(
            f"[bold]{printable(str(verified.saved))}[/]: the run, for --compare-run on another machine", soft_wrap=True
        )

"""The conversion of many files on a terminal: one display while it runs, one table at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column

from ...base.messages import counted
from ...zoo.summary import ZooSummary
from ...zoo.worker_pool import Began, Ended, Event, Lost
from .terminal import plain_table, printable, text_console

_COLOURS = {"converted": "green", "not proven": "yellow", "needs an option": "yellow", "no model": "yellow"}
_COMPARED = {"dump": "Torch7's answers", "recorded": "recorded by Torch7", "live": "a running Torch7", "self": "itself"}


@contextmanager
def zoo_progress(*, silent: bool) -> Iterator[Callable[[Event, int], None]]:
    """One line per worker and one for all; nothing in a pipe."""
    console = Console(stderr=True)
    if silent or not console.is_terminal:
        yield _nothing
        return
    with Progress(*progress_columns(), console=console, transient=True) as progress:
        yield _Display(progress)


def progress_columns() -> tuple[ProgressColumn, ...]:
    """The columns of the display; of a long name only its own column takes more lines, so that the bar stays."""
    return (
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(overflow="fold")),
        BarColumn(bar_width=20, table_column=Column(no_wrap=True, min_width=20)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
    )


class _Display:
    """Shows events."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.all = progress.add_task("files", total=None)
        self.workers: dict[int, TaskID] = {}
        self.failed = 0

    def __call__(self, event: Event, total: int) -> None:
        if event.slot not in self.workers:
            self.workers[event.slot] = self.progress.add_task("", total=None)
        line = self.workers[event.slot]
        if isinstance(event, Began):
            self.progress.update(line, description=f"{printable(event.task.name)}: {event.step} …", visible=True)
            return
        self.failed += isinstance(event, Lost) or (isinstance(event, Ended) and event.outcome.exit_code != 0)
        text = f"files, [red]{self.failed} failed[/]" if self.failed else "files"
        self.progress.update(line, visible=False)
        self.progress.update(self.all, description=text, total=total, advance=1)


def _nothing(event: Event, total: int) -> None:
    """Takes the place of a display where there is none."""


def show_summary(summary: ZooSummary, folder: Path) -> None:
    """What became of each file, which classes are missing, where it is written."""
    console = text_console()
    table = plain_table("file", "result", "parity", "compared with", "what was found")
    for outcome in summary.outcomes:
        status = f"[{_COLOURS.get(outcome.status, 'red')}]{outcome.status}[/]"
        earlier = " [dim](earlier)[/]" if outcome.resumed else ""
        found = outcome.message.split("\n")[0] if outcome.status != "converted" else ""
        if outcome.missing:
            found = f"no converter for {', '.join(f'{name} ({count})' for name, count in outcome.missing.items())}"
        found = found or "; ".join(f"no {name}: {reason}" for name, reason in outcome.not_run.items())
        compared = _COMPARED.get(outcome.reference or "", outcome.reference or "")
        table.add_row(
            printable(outcome.name), status + earlier, printable(outcome.verdict), compared, printable(_short(found))
        )
    console.print(table)
    if summary.missing:
        console.print("[bold]classes without a converter[/]")
        for row in summary.missing:
            alone = f", alone in {len(row.alone)}" if row.alone else ""
            names = ", ".join(row.files[:6]) + (", …" if len(row.files) > 6 else "")
            console.print(
                f"  {printable(row.typename)}: blocks {counted(len(row.files), 'file')}{alone} ({printable(names)})"
            )
    counts = ", ".join(f"{count} {status}" for status, count in summary.counts.items())
    part = f"part {summary.shard.index} of {summary.shard.count}: " if summary.shard.count > 1 else ""
    earlier = f" ({summary.resumed} by an earlier run)" if summary.resumed else ""
    console.print(f"[bold]{part}{counted(len(summary.outcomes), 'file')}: {counts or 'none'}[/]{earlier}")
    if summary.verdicts:
        console.print(
            f"  parity: {', '.join(f'{count} {printable(title)}' for title, count in summary.verdicts.items())}"
        )
    console.print(f"  {printable(str(folder / f'summary{summary.shard.suffix}.html'))}", soft_wrap=True)
    if summary.interrupted:
        console.print(f"[red]interrupted[/]: {len(summary.waiting)} files were not reached; the same command goes on")


def _short(text: str) -> str:
    return text if len(text) <= 160 else text[:157] + "..."

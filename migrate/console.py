"""What the commands print: trees, tables and one-line verdicts, with rich. Every string of a file is escaped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from .inspection import Inspection, Model, Node

if TYPE_CHECKING:
    from .onnx import OnnxExport
    from .parity import ParityReport
    from .support import Support
    from .workflow import Result


def _printable(text: str) -> str:
    """Text of a file without control characters and without markup."""
    return escape("".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text))


def print_json(value: Any) -> None:
    """Prints JSON and nothing else."""
    print(json.dumps(value, indent=1, ensure_ascii=True))  # noqa: T201 - this is what --json is for


@contextmanager
def progress(*, silent: bool) -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being done; silent in a pipe."""
    console = Console(stderr=True)
    if silent or not console.is_terminal:
        yield _nothing
        return
    with console.status("") as status:

        def step(text: str) -> None:
            status.update(f"{text} …")

        yield step


def _nothing(text: str) -> None:
    """Takes the place of a progress display where there is none."""


def show_result(result: Result) -> None:
    """What `convert` ends with: what was written, the verdict, the next step."""
    console = Console(highlight=False)
    conversion = result.conversion
    parameters = sum(parameter.numel() for parameter in conversion.module.parameters())
    source = _printable(conversion.provenance.file or "the value")
    where = f" at {_printable(conversion.key)}" if conversion.key else ""
    console.print(f"[bold]{source}[/]{where}: {len(conversion.layers)} layers, {parameters:,} parameters")
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, size in result.files.items():
        table.add_row(f"  {_printable(str(result.folder / name))}", _bytes(size))
    console.print(table)
    for path, note in conversion.notes:
        console.print(f"  note: {_printable(f'{path}: {note}' if path else note)}")
    for path, names in conversion.unread.items():
        console.print(
            f"  [yellow]fields not read[/] at {_printable(path or 'the top')}: {_printable(', '.join(names))}"
        )
    for refusal in result.conversion.refusals:
        where = refusal.path or "the top"
        console.print(f"  [red]not converted[/]: {_printable(f'{refusal.typename} at {where}: {refusal.reason}')}")
    for name, reason in result.not_run.items():
        console.print(f"  {name} not run: {_printable(reason)}")
    if result.onnx is not None:
        for note in result.onnx.notes:
            console.print(f"  ONNX: {_printable(note)}")
    if result.report is not None:
        _verdict(console, result.report)
    console.print(
        f'next: python -c "import torchmigrate as tm; print(tm.load_converted({str(result.folder)!r}))"', markup=False
    )


def _bytes(size: int) -> str:
    return f"{size:,} bytes" if size < 100_000 else f"{size / 1e6:,.1f} MB"


def _verdict(console: Console, report: ParityReport) -> None:
    colour = "green" if report else "red"
    console.print(f"[bold {colour}]{'PASSED' if report else 'FAILED'}[/] {_printable(report.summary())}")


def show_report(report: ParityReport) -> None:
    """The outcome of `verify`: one row per backend, then the verdict."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("backend", "result", "largest difference", "tolerance", "why"):
        table.add_column(heading)
    for row in report.rows():
        table.add_row(*(_printable(cell) for cell in row))
    console.print(table)
    _verdict(console, report)


def show_export(exported: OnnxExport) -> None:
    """The outcome of `export`."""
    console = Console(highlight=False)
    console.print(f"[bold]{_printable(str(exported.path))}[/] opset {exported.opset}")
    for name, shape in {**exported.inputs, **exported.outputs}.items():
        console.print(f"  {_printable(name)}: {'x'.join(map(str, shape))}")
    for note in exported.notes:
        console.print(f"  note: {_printable(note)}")


def show_layers(rows: Sequence[Support]) -> None:
    """The table of supported classes."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("Torch7", "PyTorch", "gradients", "ONNX", "cases"):
        table.add_column(heading)
    for row in rows:
        checked = ["yes" if flag else "" for flag in (row.gradient, row.onnx)]
        table.add_row(escape(row.typename), escape(", ".join(row.modules)), *checked, str(row.cases or ""))
    console.print(table)
    console.print(f"{len(rows)} classes")


def show_inspection(found: Inspection, depth: int | None) -> None:
    """What `inspect` found: the file, its contents, a tree of each model."""
    console = Console(highlight=False)
    longs = f", {found.long_size}-byte longs" if found.long_size else ""
    functions = f", {found.functions} Lua functions (never run)" if found.functions else ""
    console.print(f"[bold]{_printable(found.file)}[/]: {_bytes(found.size)}, {found.format}{longs}{functions}")
    if found.objects != 1:
        console.print(f"  {found.objects} objects one after the other; the first is shown")
    if "" not in found.contents:
        table = Table(box=None, pad_edge=False, show_header=False)
        for key, line in found.contents.items():
            table.add_row(f"  {_printable(key)}", _printable(line))
        console.print(table)
    elif not found.models:
        console.print(f"  {_printable(found.contents[''])}")
    for model in found.models:
        _show_model(console, model, depth)


def _show_model(console: Console, model: Model, depth: int | None) -> None:
    name = f"{model.key}: " if model.key else ""
    title = f"{name}{model.typename}, {model.parameters:,} parameters"
    tree = Tree(f"[bold]{_printable(title)}[/]")
    _grow(tree, model.tree, depth)
    console.print(tree)
    if model.unsupported:
        listed = ", ".join(f"{typename} ({len(paths)})" for typename, paths in model.unsupported.items())
        console.print(f"[red]no converter for:[/] {_printable(listed)}")
    else:
        console.print("[green]every class has a converter[/]")


def _grow(tree: Tree, node: Node, depth: int | None) -> None:
    if depth == 0:
        return
    for child in node.children:
        tensors = " ".join(f"{name} {size}" for name, size in child.tensors.items())
        colour = "" if child.convertible else "[red]"
        text = f"{_printable(child.path)} {colour}{_printable(child.typename)}{'[/]' if colour else ''}"
        if child.shared is not None:
            text += f" [dim]the same object as {_printable(child.shared or 'the model')}[/]"
        if tensors:
            text += f" [dim]{_printable(tensors)} {child.dtype or ''}[/]"
        _grow(tree.add(text), child, None if depth is None else depth - 1)

"""The table of supported classes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from ...model.supported_classes import Support
from .terminal import text_console


def show_layers(rows: Sequence[Support]) -> None:
    """The table of supported classes."""
    console = text_console()
    table = Table(box=None, pad_edge=False)
    for heading in ("Torch7", "PyTorch", "gradients", "ONNX", "cases"):
        table.add_column(heading)
    for row in rows:
        checked = ["yes" if flag else "" for flag in (row.gradient, row.onnx)]
        table.add_row(escape(row.typename), escape(", ".join(row.modules)), *checked, str(row.cases or ""))
    console.print(table)
    console.print(f"{len(rows)} classes")

"""What `export` ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .terminal import bytes_text, printable, text_console

if TYPE_CHECKING:
    from ...onnx.result import OnnxExport


def show_export(exported: OnnxExport) -> None:
    """Shows what was written, at which sizes it was checked, and what users should know."""
    console = text_console()
    size = bytes_text(exported.path.stat().st_size)
    console.print(f"[bold]{printable(str(exported.path))}[/] opset {exported.opset}, {size}")
    if exported.external is not None:
        size = bytes_text(exported.external.stat().st_size)
        console.print(f"  weights: {printable(str(exported.external))}, {size}")
    for name, shape in {**exported.inputs, **exported.outputs}.items():
        console.print(f"  {printable(name)}: {'x'.join(map(str, shape))}")
    console.print(
        f"  equal to PyTorch in {len(exported.runs)} runs; they differ by {exported.max_difference:.1e} of the output "
        "at most"
    )
    if exported.int8 is not None:
        size = bytes_text(exported.int8.path.stat().st_size)
        noise = "" if exported.int8.snr_db is None else f", {exported.int8.snr_db:.0f} dB above its error"
        console.print(
            f"  int8: {printable(str(exported.int8.path))}, {size}; off by {exported.int8.difference:.1%} of the "
            f"output at most, {exported.int8.mean_difference:.2%} in the mean{noise}"
        )
    for note in [*exported.notes, *(exported.int8.notes if exported.int8 else ())]:
        console.print(f"  note: {printable(note)}")

"""What convert and export end with."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ...base.folder_files import WEIGHTS
from ...base.messages import counted, cut, repeated, visible
from .reports import show_verdict
from .terminal import bytes_text, printable, remark, show_files, show_next, text_console

if TYPE_CHECKING:
    from ...folder.run import ConvertedFolder
    from ...folder.run_all_keys import ConvertedKeys
    from ...lua import Definition
    from ...lua.plan import FilledPlan
    from ...onnx.result import OnnxExport


def show_result(result: ConvertedFolder) -> None:
    """What `convert` ends with: what was written, the verdict, the next step."""
    console = text_console()
    conversion = result.conversion
    source = printable(conversion.provenance.file or "the value")
    where = f" at {printable(conversion.key)}" if conversion.key else ""
    console.print(
        f"[bold]{source}[/]{where}: {len(conversion.layers)} layers, {conversion.parameter_count:,} parameters"
    )
    show_files(console, result.folder, result.files)
    for note in repeated(conversion.notes):
        console.print(f"  note: {remark(note)}")
    unread = ((path or "the top", ", ".join(names)) for path, names in conversion.unread.items())
    for line in repeated(unread):
        console.print(f"  [yellow]fields not read[/] at {printable(line)}")
    for line in conversion.preprocessing.lines() if not conversion.is_criterion else ():
        console.print(f"  {printable(line)}")
    if result.input_found:
        console.print(f"  {printable(result.input_found)}; --input-shape takes another", soft_wrap=True)
    refusals = ((each.path or "the top", f"{each.typename}: {each.reason}") for each in conversion.refusals)
    for line in repeated(refusals):
        console.print(f"  [red]not converted[/]: {remark(line)}")
    for name, reason in result.not_run.items():
        console.print(f"  {name} not run: {remark(reason)}")
    if result.source_note:
        console.print(f"  model.py: {remark(result.source_note)}")
    if result.onnx is not None:
        for note in result.onnx.notes:
            console.print(f"  ONNX: {remark(note)}")
    if result.report is not None:
        show_verdict(console, result.report)
    if result.unproven:
        console.print(f"[bold red]not proven[/]: {printable(result.unproven)}")
    if WEIGHTS in result.files:
        show_next(console, f'python -c "import torchmigrate as tm; print(tm.load_converted({str(result.folder)!r}))"')
    else:
        folder = shlex.quote(visible(str(result.folder)))
        show_next(console, f'cd {folder} && python -c "from model import Model; print(Model())"')


def show_keys(result: ConvertedKeys, *, quiet: bool) -> None:
    """What `convert --all-keys` ends with: each model as `convert` shows it, those that failed, and the count.

    Args:
        result: what was converted.
        quiet: show only what failed.
    """
    console = text_console()
    for found in () if quiet else result.converted.values():
        show_result(found)
    for key, error in result.failed.items():
        console.print(f"[bold red]not converted[/]: {remark(f'{key}: {error}')}")
    if not quiet:
        total = len(result.converted) + len(result.failed)
        console.print(
            f"{len(result.converted)} of {total} models are in {printable(str(result.folder))}", soft_wrap=True
        )


def show_definition(file: str, found: Definition) -> None:
    """What is known of a definition that was run."""
    console = text_console()
    console.print(f"{printable(file)} gave {_held(found)}")
    if found.found:
        console.print(f"  it was made as by: {printable(found.found)}")
    if found.data:
        named = [*found.data[:4], *(["…"] if len(found.data) > 4 else [])]
        console.print(f"  its sizes may follow from data that it read: {printable(', '.join(named))}")
    for line in cut(found.printed, 400).splitlines():
        console.print(f"  it printed: {printable(line)}")
    if found.missing:
        console.print(
            f"  packages that are not there, and left nothing in the network: {printable(', '.join(found.missing))}"
        )
    if found.own_classes:
        console.print(f"  classes of its own: {printable(', '.join(found.own_classes))}")


def show_filled(file: str, found: FilledPlan) -> None:
    """What is known of a network that was filled with other parameters."""
    text_console().print(f"{printable(file)} holds {_held(found)}")


def _held(found: Definition | FilledPlan) -> str:
    """What a network has that can be filled, and what was."""
    stats = f", {counted(found.batch_norms, 'batch normalization')}" if found.batch_norms else ""
    filled = f"; filled: {' and '.join(found.filled)}" if found.filled else ""
    return f"{counted(found.parameters, 'parameter tensor')}{stats}{filled}"


def show_export(exported: OnnxExport) -> None:
    """Shows what was written, at which sizes it was checked, and what users should know."""
    console = text_console()
    size = bytes_text(exported.path.stat().st_size)
    console.print(f"[bold]{printable(str(exported.path))}[/] opset {exported.opset}, {size}", soft_wrap=True)
    if exported.external is not None:
        size = bytes_text(exported.external.stat().st_size)
        console.print(f"  weights: {printable(str(exported.external))}, {size}", soft_wrap=True)
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
        console.print(f"  note: {remark(note)}")

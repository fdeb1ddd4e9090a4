"""What doctor found, in plain lines that survive being pasted."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from ..checkup import OPTIONAL, Checkup
from .terminal import printable, text_console


def show_diagnosis(found: Checkup) -> None:
    """One line for each thing, then what does not work."""
    console = text_console()
    _show_lines(console, found.system)
    _show_lines(console, found.packages, "packages")
    optional = {
        name: f"{version} ({OPTIONAL[name]})" if version == "missing" else version
        for name, version in found.optional.items()
    }
    _show_lines(console, optional, "optional")
    _show_lines(console, found.plugins, "installed converters (--no-plugins leaves them out)")
    _show_lines(console, found.devices, "devices")
    console.print(f"ONNX Runtime: {printable(', '.join(found.providers) or 'no providers')}")
    _show_lines(console, found.programs, "programs")
    torch7 = {
        f"{torch7.command} ({torch7.path})": ", ".join([torch7.says, *torch7.packages]) for torch7 in found.torch7
    }
    _show_lines(console, torch7, "Torch7")
    if not any(torch7.works for torch7 in found.torch7):
        console.print("Torch7: none on the PATH; a reference can be made on another machine: torchmigrate reference")
    for problem in found.problems:
        console.print(f"[yellow]problem:[/] {printable(problem)}")
    if not found.problems:
        console.print("no problems found")


def _show_lines(console: Console, lines: Mapping[str, str], title: str = "") -> None:
    if title and lines:
        console.print(f"{title}:")
    for name, line in lines.items():
        console.print(f"{'  ' if title else ''}{printable(name)}: {printable(line)}")

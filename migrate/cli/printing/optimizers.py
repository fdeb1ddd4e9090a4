"""The state of an optimizer, in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...optim.state import class_name
from .terminal import printable, remark, show_files, show_next, text_console

if TYPE_CHECKING:
    from ...optim.state import OptimizerState


def show_optimizer(state: OptimizerState, folder: Path | None, files: Sequence[str]) -> None:
    """What `optimizer` ends with: the optimizer, its options, remarks, what was written."""
    console = text_console()
    where = f" at {printable(state.key)}" if state.key else ""
    console.print(f"[bold]optim.{state.method}[/]{where} is {class_name(state.optimizer_class)}")
    console.print(f"  {', '.join(f'{name} {value}' for name, value in state.options.items())}", markup=False)
    if state.decay:
        console.print(f"  learning rate decay {state.decay:g}, after {state.steps:,} steps: LambdaLR")
    trained = [name for group in state.groups for name in group.names]
    groups = f" in {len(state.groups)} groups" if len(state.groups) > 1 else ""
    entries = sorted({key for tensors in state.tensors.values() for key in tensors})
    console.print(f"  {len(trained)} parameters{groups}; state of each: {', '.join(entries) or 'none yet'}")
    for note in state.notes:
        console.print(f"  note: {remark(note)}")
    if folder is None:
        show_next(console, "write it with -o FOLDER")
        return
    show_files(console, folder, {name: (folder / name).stat().st_size for name in files})
    show_next(console, f"tm.load_optimizer({str(folder)!r}, module).optimizer(); see docs/resume-training.md")


def optimizer_json(state: OptimizerState, folder: Path | None, files: Sequence[str]) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "method": state.method,
        "key": state.key,
        "class": class_name(state.optimizer_class),
        "options": state.options,
        "learning_rate_decay": state.decay,
        "steps": state.steps,
        "groups": [{"parameters": list(group.names), **group.options} for group in state.groups],
        "state": sorted({key for tensors in state.tensors.values() for key in tensors}),
        "not_trained": list(state.not_trained),
        "notes": state.notes,
        "folder": None if folder is None else str(folder),
        "files": list(files),
    }

"""A reference from a Torch7 that is there to be asked: runs dump_reference.lua in it."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from ...base.errors import UsageError
from ...base.tensor_trees import shapes
from ...model.conversion import ConvertedModel
from ...shapes.infer import Guess
from ...t7 import LuaTable, Tensor
from ...t7.writing.dump import dump
from ..reference_numbers import Reference
from .dump import read_dump

#: Outputs of layers with more elements are kept as first numbers, mean and deviation.
MAX_ELEMENTS = 1_000_000

#: Seconds after which a Torch7 that says nothing is given up.
TIMEOUT = 1800


def script() -> str:
    """The Lua script that makes a reference."""
    return files("torchmigrate").joinpath("data/dump_reference.lua").read_text("utf-8")


def run_torch7(
    conv: ConvertedModel,
    command: str,
    model: Path | None,
    guess: Guess,
    *,
    gradients: bool = False,
    requires: Sequence[str | Path] = (),
) -> Reference:
    """Runs the model in a Torch7 of this machine.

    Torch7 runs the Lua functions that a model holds: do this to files that you trust.

    Args:
        conv: the converted model.
        command: how to start it, such as `th` or `luajit`.
        model: the .t7 file.
        guess: the input.
        gradients: run backward too.
        requires: Lua files or modules with classes of the user's own.

    Raises:
        UsageError: there is no such command, or it fails; it says what it said.
    """
    if model is None:
        raise UsageError("--torch7 needs the .t7 file of the model, for Torch7 to read.")
    words = shlex.split(command)
    if not words:
        raise UsageError("--torch7 names what starts a Torch7, such as th.")
    with tempfile.TemporaryDirectory(prefix="torchmigrate-") as folder:
        program, given, answer = (Path(folder, name) for name in ("dump_reference.lua", "input.t7", "answer.t7"))
        program.write_text(script(), encoding="utf-8")
        dump(to_lua(guess.value), given)
        words += [str(program), str(model.absolute()), str(answer), "--input", str(given)]
        words += ["--cpu", "--layers", "--quiet", "--max-elements", str(MAX_ELEMENTS)]
        words += ["--key", conv.key] if conv.key else []
        words += ["--format", format_of(conv)]
        words += ["--grad"] if gradients else []
        for name in requires:
            words += ["--require", str(name)]
        _run(words, command)
        if not answer.is_file():
            raise UsageError(f"{command} ran, but wrote no reference.")
        found = read_dump(conv, answer, "live", (f"Torch7 was started as {without_folder(command)!r}", guess.reason))
    return replace(found, file=None, sha256=None)


def without_folder(command: str) -> str:
    """A command as a report shows it: its folder is the business of this machine."""
    first, *others = shlex.split(command)
    return shlex.join([Path(first).name, *others])


def _run(words: Sequence[str], command: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    except FileNotFoundError as error:
        raise UsageError(f"There is no command {words[0]!r} here; --torch7 names what starts a Torch7.") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{command} could not run the model: {error}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[:6]
        raise UsageError(f"{command} could not run the model (exit code {done.returncode}): {' / '.join(said)}")


def format_of(conv: ConvertedModel) -> str:
    """How dump_reference.lua is to read the file of a model."""
    if conv.provenance.format == "ascii":
        return "ascii"
    return "b32" if conv.provenance.long_size == 4 else "binary"


def to_lua(value: Any) -> Any:
    """A nested value as Torch7's: tensors, tables, numbers.

    Raises:
        UsageError: Torch7 has no such thing.
    """
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        return Tensor.from_numpy((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
    if isinstance(value, (list, tuple)):
        return LuaTable.from_list(to_lua(item) for item in value)
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (int, float)):
        return float(value)
    raise UsageError(f"Torch7 has nothing like a {type(value).__name__} in {shapes(value)}.")

"""The files of a folder that `convert` writes: their names, how the folder comes to be, how its settings are read."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import UsageError
from .files import make_folder

WEIGHTS = "model.safetensors"
SOURCE = "model.py"
CONFIG = "config.json"
ONNX = "model.onnx"
PARITY = "parity.json"
REPORT = "report.html"
CARD = "README.md"
OPTIMIZER_TENSORS = "optimizer.safetensors"
OPTIMIZER = "optimizer.json"
PARITY_FAILED = "PARITY-FAILED.txt"

#: Version of the layout of config.json.
CONFIG_VERSION = 1


@contextmanager
def output_folder(folder: str | Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary folder that takes the name `folder` when the block ends well, and vanishes otherwise.

    Raises:
        UsageError: `folder` exists and `force` is not set, or it can't be made.
    """
    target = Path(folder)
    if target.exists() and not force:
        raise UsageError(f"{folder} exists already; --force (force=True) replaces it.")
    make_folder(target.parent)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield made
        made.chmod(0o755)
        if target.is_dir():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
            target.rename(old / target.name)
            made.rename(target)
            shutil.rmtree(old)
        else:
            if target.exists():
                target.unlink()
            made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json in a folder that `Conversion.save` wrote.

    Raises:
        UsageError: it is missing, no JSON, or of another version.
    """
    return read_settings(folder / CONFIG, "torchmigrate", CONFIG_VERSION)


def read_settings(file: Path, kind: str, known: int) -> dict[str, Any]:
    """The content of a JSON file that torchmigrate wrote.

    Args:
        file: its path.
        kind: what it calls itself under "format".
        known: the "format_version" that is understood.

    Raises:
        UsageError: it is missing, no JSON, another file's, or of another version.
    """
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file.parent} has no {file.name} that torchmigrate wrote: {error}") from error
    if not isinstance(found, dict) or found.get("format") != kind:
        raise UsageError(f"{file} is not torchmigrate's.")
    if found.get("format_version") != known:
        raise UsageError(f"{file} has version {found.get('format_version')}; this torchmigrate reads {known}.")
    return found

"""The files of a folder that `convert` writes: their names, how its settings are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .errors import UsageError

WEIGHTS = "model.safetensors"
SOURCE = "model.py"
PACKAGE = "__init__.py"
CONFIG = "config.json"
ONNX = "model.onnx"
PARITY = "parity.json"
REPORT = "report.html"
CARD = "README.md"
PREPROCESS = "preprocess.py"
OPTIMIZER_TENSORS = "optimizer.safetensors"
OPTIMIZER = "optimizer.json"
PARITY_FAILED = "PARITY-FAILED.txt"

#: What a folder of a converted model may hold of ours.
NAMES = frozenset(
    [
        WEIGHTS,
        SOURCE,
        PACKAGE,
        CONFIG,
        ONNX,
        f"{ONNX}.data",
        PARITY,
        REPORT,
        CARD,
        PREPROCESS,
        OPTIMIZER_TENSORS,
        OPTIMIZER,
        PARITY_FAILED,
    ]
)

#: Says of a folder that torchmigrate wrote it; it lists its files.
MARKER = ".torchmigrate"
#: The same of the folder of a collection: holds its records, and what is being made.
COLLECTION = ".torchmigrate-zoo"

#: Version of the layout of config.json.
CONFIG_VERSION = 1


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
        raise UsageError(
            f"{file} has version {str(found.get('format_version'))[:20]}; this torchmigrate reads {known}."
        )
    return found

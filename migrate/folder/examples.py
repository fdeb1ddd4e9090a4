"""The example files that come with torchmigrate, written into a folder of the user's."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from ..base.output_folder import output_folder

#: What the marker of their folder says.
_EXAMPLES = "examples"


def write_examples(folder: str | os.PathLike[str], *, force: bool = False) -> dict[str, int]:
    """Writes the example files into a new folder.

    Args:
        folder: where.
        force: replace a folder that torchmigrate wrote.

    Returns:
        The name of each file, and its size in bytes.

    Raises:
        UsageError: it may not be written, or can't be.
    """
    found = files(__package__.partition(".")[0]) / "data" / "examples"
    written = {}
    with output_folder(folder, _EXAMPLES, force=force) as made:
        for item in sorted(found.iterdir(), key=_name):
            data = item.read_bytes()
            Path(made, item.name).write_bytes(data)
            written[item.name] = len(data)
    return written


def _name(item: object) -> str:
    return str(getattr(item, "name", ""))

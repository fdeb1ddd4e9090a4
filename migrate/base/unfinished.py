"""Names of what is being written beside its place, by which the next run there knows what a killed one left."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from .processes import PROCESS, is_abandoned, process_name

#: Ends of the names: a file that is written, a folder that is written, a folder that is being replaced.
FILE, FOLDER, REPLACED = ".part", ".new", ".old"

_NAME = re.compile(rf"\..*\.torchmigrate-(?P<digest>[0-9a-f]{{10}})-{PROCESS}-[0-9a-f]{{8}}(\.part|\.new|\.old)")


def unfinished_path(target: Path, ending: str, folder: Path | None = None) -> Path:
    """Where something is written before it takes its place; its name tells the place and this process.

    Args:
        target: the place.
        ending: FILE, FOLDER or REPLACED.
        folder: where to write; None: beside the place.
    """
    start = re.sub(r"[^\w.+-]", "_", target.name, flags=re.ASCII)[:40]
    name = f".{start}.torchmigrate-{_digest(target)}-{process_name()}-{secrets.token_hex(4)}{ending}"
    return (target.parent if folder is None else folder) / name


def _digest(target: Path) -> str:
    return hashlib.blake2b(os.fsencode(target.name), digest_size=5).hexdigest()


def is_unfinished(name: str) -> bool:
    """Is this the name of what is being written, as `unfinished_path` gives it?"""
    return _NAME.fullmatch(name) is not None


def left_behind(folder: Path, target: Path | None = None) -> Iterator[Path]:
    """What runs that are over left unfinished in a folder.

    Args:
        folder: where to look.
        target: only what was to take this place; None: any.
    """
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        return
    digest = None if target is None else _digest(target)
    for name in entries:
        found = _NAME.fullmatch(name)
        if found is not None and digest in (None, found["digest"]) and is_abandoned(folder / name, found):
            yield folder / name

"""Writes single files: they take their name when they are whole."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UsageError


@contextmanager
def whole_file(target: str | Path, *, force: bool = True) -> Iterator[Path]:
    """The path of a temporary file that takes the name `target` when the block ends well, and vanishes otherwise.

    Args:
        target: the file; its folder is made.
        force: replace an existing file.

    Raises:
        UsageError: the file exists and `force` is not set, or it can't be written.
    """
    path = Path(target)
    refuse_existing(path, force=force)
    part = path.with_name(f".{path.name[:60]}.{secrets.token_hex(6)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise UsageError(f"{target} can't be written: {error.strerror or error}.") from error
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):  # the latter where the folder is a file
            part.unlink()


def make_folder(folder: Path) -> None:
    """Makes a folder to write to, and those above it.

    Raises:
        UsageError: it can't be made, or nothing can be written to it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {folder} can't be made: {error.strerror or error}.") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"Nothing can be written to the folder {folder}; write elsewhere, with -o.")


def refuse_existing(path: Path, *, force: bool) -> None:
    """Stops before work is done for nothing.

    Raises:
        UsageError: the file exists and `force` is not set, or it is a folder.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the name of a file.")
    if path.exists() and not force:
        raise UsageError(f"{path} exists already; --force (force=True) replaces it.")


#: Errors of a disk that takes no more; nobody's fault but the disk's.
_DISK = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])


def disk_refusal(error: BaseException | None) -> str:
    """Why the disk refused to write, where that is what an error came from; "" if it is not.

    Libraries that are not written in Python name the system's error in their text only: `(os error 28)`.
    """
    while error is not None:
        named = re.search(r"\(os error (\d+)\)", str(error))
        number = int(named[1]) if named else getattr(error, "errno", None)
        if number in _DISK:
            return os.strerror(number)
        error = error.__cause__ or error.__context__
    return ""


@contextmanager
def standard_input() -> Iterator[Path]:
    """A temporary file with what standard input holds, for those who read a file more than once."""
    with tempfile.TemporaryDirectory(prefix="torchmigrate-") as folder:
        path = Path(folder) / "stdin.t7"
        with path.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        yield path

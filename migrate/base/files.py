"""What a full disk says, and standard input as a file."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import T7Error, UsageError
from .messages import file_text

#: The end of the name of a file with what Torch7 answered, beside `NAME.t7`.
REFERENCE_ENDING = ".reference.t7"

#: What a reference may be called instead of a file; "auto" is the same as saying nothing.
AUTO, RECORDED, SELF, LUA = REFERENCE_WORDS = "auto", "recorded", "self", "lua"


def reference_file(reference: str | Path | None) -> Path | None:
    """The file that a reference names; None where it is a word or not given."""
    return None if reference is None or str(reference) in REFERENCE_WORDS else Path(reference)


def reference_beside(file: Path) -> Path | None:
    """`NAME.reference.t7` beside `NAME.t7`, which holds what Torch7 answered; None if there is none."""
    if file.name.endswith(REFERENCE_ENDING):
        return None
    found = file.with_name(file.name.removesuffix(".t7") + REFERENCE_ENDING)
    return found if os.path.isfile(found) else None  # which is false, rather than an error, of a name that is too long


#: Endings of the names of pictures.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")

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


#: Errors of the file system that say something of the call, not of torchmigrate.
_SURROUNDINGS = frozenset(
    [
        errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP,
        errno.EIO, errno.EBUSY, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.EEXIST,
    ]
)  # fmt: skip


def surroundings(error: BaseException | None) -> str:
    """What the file system answered and of which file, where that is what an error came from; "" if it is not."""
    while error is not None:
        if isinstance(error, OSError) and error.filename is not None and error.errno in _SURROUNDINGS:
            return f"{file_text(os.fsdecode(error.filename))}: {error.strerror}."
        error = error.__cause__
    return ""


def no_temporary_folder() -> str:
    """That nothing can be written to any folder for temporary files, which libraries ask for; "" if it can."""
    try:
        tempfile.gettempdir()
    except OSError:
        return "There is no folder for temporary files that can be written; set TMPDIR to one."
    return ""


def _more_input() -> bytes:
    try:
        return sys.stdin.buffer.read(1 << 20)
    except (OSError, ValueError) as error:  # a folder, a terminal that is gone, a file that was closed
        raise UsageError(f"Standard input can't be read: {getattr(error, 'strerror', None) or error}.") from error


@contextmanager
def standard_input() -> Iterator[Path]:
    """A temporary file with what standard input holds, for those who read a file more than once.

    Raises:
        UsageError: it is closed, or can't be read.
    """
    if sys.stdin is None:
        raise UsageError("Standard input is closed.")
    with tempfile.TemporaryDirectory(prefix="torchmigrate-") as folder:
        path = Path(folder) / "stdin.t7"
        with path.open("wb") as stream:
            while block := _more_input():
                stream.write(block)
        try:
            yield path
        except T7Error as error:
            error.file = "standard input"
            raise

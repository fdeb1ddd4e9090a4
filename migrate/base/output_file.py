"""Single files that are written: whole or not at all, never over an input, over other files only when asked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import T7Error, UsageError
from .unfinished import FILE, FOLDER, left_behind, unfinished_path

#: What a command reads; nothing is written over it.
Inputs = Sequence[str | os.PathLike[str] | None]


@contextmanager
def whole_file(target: str | os.PathLike[str], *, force: bool, inputs: Inputs = ()) -> Iterator[Path]:
    """The path of a temporary file that takes the name `target` when the block ends well, and vanishes otherwise.

    Args:
        target: the file; the folders above it are made.
        force: replace an existing file.
        inputs: files that are read, which it must not be.

    Raises:
        UsageError: the file exists and `force` is not set, it is an input, or it can't be written.
    """
    path = Path(target)
    check_file(path, force=force, inputs=inputs)
    part = unfinished_path(path, FILE)
    with clear_errors(path), folders_above(path):
        for left in left_behind(path.parent, path):
            if left.suffix == FILE:
                left.unlink(missing_ok=True)
            elif left.suffix == FOLDER:
                shutil.rmtree(left, ignore_errors=True)
        try:
            yield part
            if force:
                os.replace(part, path)
            else:
                _take_name(part, path)
        finally:
            with suppress(FileNotFoundError, NotADirectoryError):  # the latter where the folder is a file
                part.unlink()


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """A folder beside a file that is written, for what is made on the way; it vanishes."""
    made = unfinished_path(target, FOLDER)
    with clear_errors(target):
        made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _take_name(part: Path, path: Path) -> None:
    """Gives a file its name, unless another has taken it meanwhile."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise UsageError(f"{path} was written by another program meanwhile, and was left as it is.") from None
    except OSError:  # a file system without links
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            raise UsageError(f"{path} was written by another program meanwhile, and was left as it is.") from None
        os.replace(part, path)


def check_file(path: Path, *, force: bool, inputs: Inputs = ()) -> None:
    """Stops before work is done for nothing.

    Raises:
        UsageError: the file exists and `force` is not set; or it is an input, a folder or a device.
    """
    with clear_errors(path):
        if path.is_dir():
            raise UsageError(f"{path} is a folder; give the name of a file.")
        if any(is_within(each, path) for each in inputs if each is not None):
            raise UsageError(f"{path} is a file that this command reads; give another name.")
        if _is_of_the_system(path) or (path.exists() and not path.is_file()):
            raise UsageError(f"{path} is no regular file; give the name of a file.")
        if os.path.lexists(path) and not force:
            raise UsageError(f"{path} exists already; --force (force=True) replaces it.")
    missing_folders(path)


def _is_of_the_system(path: Path) -> bool:
    """Is this a name such as /dev/stdout, which is a file where output goes to one, and must not be replaced by one?"""
    folder = os.path.realpath(path.parent)
    return folder == "/dev" or folder.startswith("/proc/")


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Errors of the file system in the block are told of this path.

    Raises:
        UsageError: there was one.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror or error}.") from error
    except T7Error as error:
        if isinstance(error.__cause__, OSError):  # of a .t7 file that is written
            raise UsageError(f"{path} can't be written: {error.__cause__.strerror or error.__cause__}.") from error
        raise


@contextmanager
def folders_above(path: Path) -> Iterator[None]:
    """Makes the folders above a path; those that were missing vanish again when the block fails.

    Raises:
        UsageError: one can't be made, or nothing can be written there.
    """
    missing = missing_folders(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {path.parent} can't be made: {error.strerror or error}.") from error
    try:
        yield
    except BaseException:
        for made in missing:
            with suppress(OSError):  # somebody else has put something there
                made.rmdir()
        raise


def missing_folders(path: Path) -> list[Path]:
    """The folders above a path that are not there yet, the innermost first.

    Raises:
        UsageError: they can't be made, or nothing can be written there.
    """
    missing = []
    folder = path.parent
    with clear_errors(path):
        while not folder.exists() and folder != folder.parent:
            missing.append(folder)
            folder = folder.parent
        if not folder.is_dir():
            raise UsageError(f"{path} can't be written: {folder} is a file.")
        if not os.access(folder, os.W_OK) and not path.is_dir():
            raise UsageError(f"Nothing can be written to the folder {folder}; write elsewhere, with -o.")
    return missing


def is_within(path: str | os.PathLike[str], place: Path) -> bool:
    """Is this path the place, or below it? Told by the disk: links, upper and lower case make no difference."""
    try:
        there = place.stat()
    except (OSError, ValueError):
        return False  # nothing is there yet
    for start in {os.path.realpath(path), os.path.abspath(path)}:
        for each in (Path(start), *Path(start).parents):
            with suppress(OSError, ValueError):
                if os.path.samestat(each.stat(), there):
                    return True
    return False

"""Folders that are written: whole or not at all, and only a folder that torchmigrate wrote is ever replaced."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .errors import UsageError
from .folder_files import COLLECTION, CONFIG, MARKER, NAMES, OPTIMIZER
from .output_file import Inputs, clear_errors, folders_above, is_within, missing_folders
from .processes import locked
from .unfinished import FILE, FOLDER, REPLACED, left_behind, unfinished_path

#: What a folder is of, as its marker says it.
CONVERTED, MEMBER, SOURCE_ONLY = "converted", "member", "source"
REPRODUCTION, OPTIMIZER_STATE = "reproduction", "optimizer"

_LARGEST_MARKER = 1 << 27
_TAKEN = frozenset([errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR])


@dataclass(frozen=True)
class Marker:
    """What says that torchmigrate wrote a folder.

    Attributes:
        kind: what it is of.
        files: names of what was written; what else is in the folder is the user's, and kept.
    """

    kind: str
    files: frozenset[str]


def read_marker(folder: Path) -> Marker | None:
    """The marker of a folder; None if torchmigrate did not write it, or it can't be told."""
    found = _json(folder / MARKER)
    listed = found.get("files")
    if found.get("format") == "torchmigrate-folder" and isinstance(listed, list):
        files = frozenset(name for name in listed if isinstance(name, str))
        return Marker(str(found.get("kind")), files | NAMES if CONFIG in files else files)
    # version 0.1.0 wrote no marker
    if _json(folder / CONFIG).get("format") == "torchmigrate":
        return Marker(CONVERTED, NAMES)
    if _json(folder / OPTIMIZER).get("format") == "torchmigrate-optimizer":
        return Marker(OPTIMIZER_STATE, NAMES)
    return None


def _json(file: Path) -> dict[str, object]:
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST_MARKER:
            return {}
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def check_folder(
    folder: str | os.PathLike[str],
    *,
    force: bool = False,
    inputs: Inputs = (),
    collection: bool = False,
    members: bool = False,
) -> Path:
    """Stops before work is done for nothing: may this folder be written?

    Args:
        folder: the place. Nothing may be there, an empty folder, or one that torchmigrate wrote.
        force: it may be replaced, if torchmigrate wrote it.
        inputs: what the command reads; the folder may neither be nor hold any of it.
        collection: the folder of a collection goes on.
        members: folders are written below it, each of which is checked by itself, so that other files may be there.

    Returns:
        Its path without links.

    Raises:
        UsageError: it may not.
    """
    shown = Path(folder)
    with clear_errors(shown):
        place = Path(os.path.realpath(shown))
        if is_within(Path.cwd(), place):
            raise UsageError(f"{shown} is the folder that you are in, or holds it; give a folder of its own, with -o.")
        for path in inputs:
            if path is not None and place.is_dir() and is_within(path, place):
                raise UsageError(f"{shown} is or holds {path}, which is read; give a folder of its own, with -o.")
            if path is not None and not place.is_dir() and is_within(path, place):
                raise UsageError(f"{shown} is what is read; give the name of a folder, with -o.")
        missing_folders(place)
        if not os.path.lexists(place):
            return place
        if not place.is_dir():
            raise UsageError(f"{shown} is a file; give the name of a folder, with -o.")
        if members:
            return place
        dead = {*left_behind(place, place)}
        if all(entry in dead for entry in place.iterdir()) or (collection and (place / COLLECTION).is_dir()):
            return place
        marker = None if collection or (place / COLLECTION).is_dir() else read_marker(place)
        if marker is None:
            what = "is the folder of a collection" if (place / COLLECTION).is_dir() else "holds other files"
            raise UsageError(
                f"{shown} {what}, and is left as it is: only a folder that torchmigrate wrote by itself is replaced. "
                "Write elsewhere, with -o."
            )
        if not force:
            raise UsageError(f"{shown} exists already; --force (force=True) replaces it, -o writes elsewhere.")
    return place


@contextmanager
def output_folder(
    folder: str | os.PathLike[str],
    kind: str,
    *,
    force: bool = False,
    inputs: Inputs = (),
    work: Path | None = None,
) -> Iterator[Path]:
    """A temporary folder that takes the name `folder` when the block ends well, and vanishes otherwise.

    Where a folder is replaced, what is the user's in it is kept.

    Args:
        folder: the place; the folders above it are made.
        kind: what it is of, for its marker.
        force: replace a folder that torchmigrate wrote.
        inputs: what is read; the folder may neither be nor hold any of it.
        work: where the temporary folder is; None: beside the place.

    Raises:
        UsageError: it may not be written, or can't be, or another run has written it meanwhile.
    """
    recover(Path(os.path.realpath(folder)))
    place = check_folder(folder, force=force, inputs=inputs)
    shown = Path(folder)
    with ExitStack() as stack:
        stack.enter_context(folders_above(place))
        with clear_errors(shown):
            seen = stack.enter_context(_Seen(place))
            inside = seen.exists and (os.path.ismount(place) or not os.access(place.parent, os.W_OK))
            if inside and not seen.is_empty:
                raise UsageError(f"{shown} can't be renamed, so it can't be replaced; empty it first.")
            made = unfinished_path(place, FOLDER, place if inside and work is None else work)
            made.mkdir()
        stack.callback(shutil.rmtree, made, ignore_errors=True)
        with locked(made):
            yield made
        with clear_errors(shown):
            files = sorted(path.name for path in made.iterdir())
            marker = {"format": "torchmigrate-folder", "kind": kind, "files": [MARKER, *files]}
            (made / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
            if inside:
                _fill(made, place, shown)
            else:
                _put(made, place, shown, seen)


class _Seen:
    """What was at a place when work began; held open, so that nothing else gets its identity on the disk."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._descriptor: int | None = None
        self.exists = place.is_dir()
        self.stat = place.stat() if self.exists else None
        self.is_empty = not self.exists or not any(place.iterdir())

    def __enter__(self) -> Self:
        with suppress(OSError):  # Windows opens no folders
            self._descriptor = os.open(self._place, os.O_RDONLY)
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def is_at(self, place: Path) -> bool:
        """Is the same folder still there?"""
        return self.stat is not None and os.path.samestat(place.stat(), self.stat)


def _put(made: Path, place: Path, shown: Path, seen: _Seen) -> None:
    """Renames a folder that is whole; what was there before is back if that fails."""
    if seen.is_empty or not os.path.lexists(place):
        if os.name == "nt" and place.is_dir():
            place.rmdir()  # there, nothing can be renamed to what exists
        try:
            if seen.stat is not None:
                made.chmod(seen.stat.st_mode & 0o7777)
            os.rename(made, place)  # fails where something is by now, but for an empty folder
        except OSError as error:
            if error.errno in _TAKEN:
                raise _overtaken(shown) from error
            raise
        return
    marker = read_marker(place)
    if marker is None or not seen.is_at(place):
        raise _overtaken(shown)
    lost = [path.name for path in place.iterdir() if _is_users(path, marker) and os.path.lexists(made / path.name)]
    if lost:
        raise UsageError(
            f"{shown} holds {', '.join(lost)}, which torchmigrate did not write and would replace; move it away first."
        )
    old = unfinished_path(place, REPLACED)
    os.rename(place, old)
    if not seen.is_at(old):
        os.rename(old, place)
        raise _overtaken(shown)
    try:
        os.rename(made, place)
    except BaseException as error:
        os.rename(old, place)
        if isinstance(error, OSError) and error.errno in _TAKEN:
            raise _overtaken(shown) from error
        raise
    _discard(old, place)


def _overtaken(shown: Path) -> UsageError:
    return UsageError(f"Another program has written {shown} meanwhile; it was left as that program wrote it.")


def _fill(made: Path, place: Path, shown: Path) -> None:
    """Moves what is whole into a folder that can't be renamed; config.json, without which nothing reads it, last."""
    if any(path != made for path in place.iterdir()):
        raise _overtaken(shown)
    moved: list[Path] = []
    try:
        for path in sorted(made.iterdir(), key=_marker_first):
            moved.append(place / path.name)
            os.rename(path, moved[-1])
    except BaseException:
        for target in moved:
            target.unlink(missing_ok=True)
        raise


def _marker_first(path: Path) -> tuple[int, str]:
    return (path.name == CONFIG) - (path.name == MARKER), path.name


def _is_users(path: Path, marker: Marker) -> bool:
    """Is this something that torchmigrate did not write?"""
    if path.is_dir() and not path.is_symlink():
        # Python keeps what it compiled of model.py
        return path.name != "__pycache__" or any(each.suffix != ".pyc" for each in path.iterdir())
    return path.name not in marker.files


def _discard(old: Path, place: Path) -> None:
    """Removes a folder that was replaced, after what is the user's in it was moved to its place."""
    marker = read_marker(old)
    if marker is None:
        return  # nobody can say what it is, so it stays
    for path in sorted(old.iterdir()):
        if _is_users(path, marker):
            if os.path.lexists(place / path.name):
                return
            os.rename(path, place / path.name)
    shutil.rmtree(old, ignore_errors=True)


def recover(place: Path) -> None:
    """Puts back or removes what a run that was killed left of a folder that it was writing, beside it or in it."""
    for folder in (place.parent, place):
        for left in left_behind(folder, place):
            with suppress(OSError):
                if left.suffix == REPLACED:
                    if os.path.lexists(place):
                        _discard(left, place)
                    else:
                        os.rename(left, place)
                elif left.suffix == FOLDER:
                    shutil.rmtree(left, ignore_errors=True)
                elif left.suffix == FILE:
                    left.unlink()

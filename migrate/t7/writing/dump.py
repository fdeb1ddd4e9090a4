"""Writes files: to a temporary one first, so that nothing half-written stands under the name that was asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from ...base.errors import T7Error, UsageError
from ...base.unfinished import FILE, is_unfinished, left_behind, unfinished_path
from ..bodies import Body, with_standard
from ..values import Value
from .output_ascii import AsciiOutput
from .output_binary import BinaryOutput
from .writer import Writer

Target = str | os.PathLike[str] | BinaryIO


def dump(
    value: Value,
    target: Target,
    *,
    ascii: bool = False,  # noqa: A002 - Torch7's own word
    long_size: int = 8,
    big_endian: bool = False,
    bodies: Mapping[str, Body] | None = None,
) -> None:
    """Writes a value as a `.t7` file, as `torch.save` in Lua does.

    As with `torch.save`, of Lua and of PyTorch, a file that is at that path is replaced without a question; unlike
    there, it is whole until the new one is.

    Args:
        value: what `load` gives, or plain Python: None, bool, int, float, str, bytes, dict, list, tuple, numpy arrays.
        target: a path, or a file object opened in binary mode.
        ascii: write text; NaNs then keep only their sign, not their payload.
        long_size: bytes of a C long in a binary file, 8 or 4 (32-bit and Windows Torch).
        big_endian: write a binary file for a machine whose numbers begin with the highest byte.
        bodies: how classes write themselves that have a way of their own, in addition to the known ones.

    Raises:
        T7Error: the value can't be written exactly, or the file can't be written.
        UsageError: `long_size` is neither 4 nor 8.
    """
    dump_all([value], target, ascii=ascii, long_size=long_size, big_endian=big_endian, bodies=bodies)


def dump_all(
    values: Iterable[Value],
    target: Target,
    *,
    ascii: bool = False,  # noqa: A002 - Torch7's own word
    long_size: int = 8,
    big_endian: bool = False,
    bodies: Mapping[str, Body] | None = None,
) -> None:
    """Writes several objects one after the other into one file; what they share is written once.

    A file that is at that path is replaced, as by `dump`.

    Args:
        values: the objects, each as in `dump`.
        target: a path, or a file object opened in binary mode.
        ascii: write text; NaNs then keep only their sign, not their payload.
        long_size: bytes of a C long in a binary file, 8 or 4.
        big_endian: as in `dump`.
        bodies: how classes write themselves that have a way of their own, in addition to the known ones.

    Raises:
        T7Error: a value can't be written exactly, or the file can't be written.
        UsageError: `long_size` is neither 4 nor 8.
    """
    if long_size not in (4, 8):
        raise UsageError(f"long_size must be 4 or 8, not {long_size!r}")
    known = with_standard(bodies)

    def write(file: BinaryIO) -> None:
        output = AsciiOutput(file) if ascii else BinaryOutput(file, long_size, big_endian=big_endian)
        writer = Writer(output, known)
        for value in values:
            writer.write(value)

    if not isinstance(target, (str, os.PathLike)):
        write(target)
        return
    try:
        # a link keeps pointing to where it points
        path = os.path.realpath(os.fspath(target))
        is_device = os.path.exists(path) and not os.path.isfile(path)
        if is_device or is_unfinished(os.path.basename(path)):
            # a device must not be replaced by a file; what is unfinished takes its name later
            with open(path, "wb") as file:
                write(file)
            return
        for left in left_behind(Path(path).parent, Path(path)):
            if left.suffix == FILE:
                left.unlink(missing_ok=True)
        temporary = unfinished_path(Path(path), FILE)
        try:
            with open(temporary, "xb") as file:
                write(file)
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
    except (OSError, ValueError) as error:
        raise T7Error(f"Can't write {os.fspath(target)}: {getattr(error, 'strerror', None) or error}") from error

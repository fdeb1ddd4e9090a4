"""FILE as users give it, a path, an address or - for standard input: where it is, and the folder that it becomes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..context import MAX_DOWNLOAD_KEY

if TYPE_CHECKING:
    from ...base.output_file import Inputs
    from ...folder.run import ConvertOptions


class PathOrUrl(click.Path):
    """A path, or the address of a file, which is downloaded only when `fetched` asks for it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from ...base.download import Address, is_url

        text = str(value)
        if is_url(text):
            Address.parse(text)
            return text
        return str(super().convert(value, param, ctx))


def max_download() -> int:
    """How many bytes a download may have."""
    from ...base.download import MAX_DOWNLOAD

    context = click.get_current_context(silent=True)
    given = None if context is None else context.meta.get(MAX_DOWNLOAD_KEY)
    return MAX_DOWNLOAD if given is None else int(given * 10**9)


def file_name(source: str) -> str:
    """What the file is called; an address says it without being opened."""
    from ...base.download import Address, is_url

    return Address.parse(source).file if is_url(source) else Path(source).name


def local_path(source: str) -> Path | None:
    """Where the file is on this machine; None for standard input and other machines. Nothing is opened."""
    from ...base.download import path_behind

    return None if source == "-" else path_behind(source)


def fetched(source: str, step: Callable[[str], None]) -> Path:
    """The path of the file, or of a copy of one that is elsewhere; "-" stays as it is.

    Raises:
        UsageError: it can't be downloaded.
    """
    from ...base.download import is_url, local_copy

    return local_copy(source, step, max_download()) if is_url(source) else Path(source)


@contextmanager
def opened(source: str, step: Callable[[str], None]) -> Iterator[Path]:
    """The same, also of standard input, as a temporary file for the block."""
    from ...base.files import standard_input

    if source == "-":
        with standard_input() as path:
            yield path
    else:
        yield fetched(source, step)


def target_folder(
    source: str, output: Path | None, settings: ConvertOptions, *, inputs: Inputs = (), members: bool = False
) -> Path:
    """The folder that a file becomes, which may be written; told before anything is read, run or downloaded.

    Args:
        source: the file.
        output: -o.
        settings: those of the conversion.
        inputs: what else is read; the folder may neither be nor hold any of it.
        members: folders are written below it, each of which is checked again.

    Raises:
        UsageError: nothing may be written there, or nothing says what it should be called.
    """
    from ...base.files import reference_file
    from ...base.output_folder import check_folder

    if output is None:
        name = "" if source == "-" else without_ending(file_name(source))
        if not name:
            what = "A file from standard input" if source == "-" else source
            raise click.UsageError(f"{what} has no name that a folder could take; give the folder to write with -o.")
        output = Path(name)
    given = [reference_file(settings.reference), settings.labels, *settings.plugins, *settings.lua]
    read = [local_path(source), *given, *inputs]
    check_folder(output, force=settings.force, inputs=read, members=members)
    return output


def without_ending(name: str) -> str:
    """`model` for `model.t7`, `model.t7.gz`, `model.zip` and `model.tar.gz`."""
    from ...t7.reading.archives import MODELS, without_archive

    unpacked = without_archive(name)
    stem, ending = os.path.splitext(unpacked)
    return stem if unpacked == name or ending.lower() in MODELS else unpacked

"""Which files an author's Lua may read: those below the folders that the user named, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .tensors.handles import LuaFault


class Folders:
    """The files below some folders, by names relative to the first of them.

    Args:
        folders: the folder of the definition first.
        most: bytes of one file.
    """

    def __init__(self, folders: Sequence[str], most: int) -> None:
        self.roots = [Path(folder).resolve() for folder in folders]
        self.most = most

    def find(self, name: str) -> str | None:
        """The file of that name as it is called in messages, or None; links that lead outside lead nowhere."""
        if "\0" in name:
            return None
        for root in self.roots:
            path = (root / name).resolve()
            if path.is_relative_to(root) and path.is_file():
                return path.relative_to(self.roots[0]).as_posix() if root == self.roots[0] else path.as_posix()
        return None

    def entries(self, name: str) -> tuple[list[str], list[str]] | None:
        """The names of the files and of the folders in a folder, sorted; None: there is none of that name."""
        if "\0" in name:
            return None
        for root in self.roots:
            path = (root / name).resolve()
            if path.is_relative_to(root) and path.is_dir():
                names = sorted(os.listdir(path))
                return [n for n in names if (path / n).is_file()], [n for n in names if (path / n).is_dir()]
        return None

    def read(self, name: str) -> bytes:
        """The bytes of a file that `find` gave.

        Raises:
            LuaFault: it is no such file, or too large.
        """
        found = self.find(name)
        if found is None:
            raise LuaFault(f"no file {name} below the folder of the definition")
        path = self.roots[0] / found
        if path.stat().st_size > self.most:
            raise LuaFault(f"{name} has more bytes than LuaLimits.file_bytes = {self.most} allow")
        return path.read_bytes()

"""Which files an author's Lua may read: those below the folders that the user named, and nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from .script_text import without_comments
from .tensors.handles import LuaFault

#: How the names of files in the user's checkouts of Torch7's packages begin.
TORCH7_SOURCE = "torch7-source/"

#: The packages whose Lua is taken from there; torch itself and what needs a GPU are the product's.
_PACKAGES = frozenset(("nn", "nngraph", "graph", "rnn", "dpnn", "nnx", "stn", "inn", "torchx", "moses"))

#: Files of Lua that are looked at for calls of a definition.
_MOST_SCRIPTS = 1000

#: The way to the kernels in C, in whose place the product has its own file.
_KERNELS = "nn.THNN"


class Folders:
    """The files below some folders, by names relative to the first of them.

    Args:
        folders: the folder of the definition first.
        most: bytes of one file.
        torch7_source: the user's own checkouts of Torch7's packages, whose files are named with `TORCH7_SOURCE`
            before them.

    Attributes:
        asked_for_data: the Lua asked for a file of data below them while it could read none.
    """

    def __init__(self, folders: Sequence[str], most: int, torch7_source: str | None = None) -> None:
        self.roots = [Path(folder).resolve() for folder in folders]
        self.most = most
        self.asked_for_data = False
        self._own: dict[str, bool] = {}
        self._checkouts = None if torch7_source is None else Folders([torch7_source], most)

    def torch7_package(self, name: str) -> str | None:
        """The file of a package such as `nn` or `nn.Linear` in the user's checkouts; None: it is not there."""
        package, *below = name.split(".")
        if self._checkouts is None or package not in _PACKAGES or self.is_not_lua(name) or name == _KERNELS:
            return None
        inside = self._checkouts.roots[0].name == package  # the folder of one package alone
        for folder in ([package], [])[: 1 + inside]:
            path = "/".join([*folder, *below])
            for candidate in (f"{path}.lua" if below else "", f"{path}/init.lua".removeprefix("/")):
                if candidate and self._checkouts.find(candidate):
                    return TORCH7_SOURCE + candidate
        return None

    def is_not_lua(self, name: str) -> bool:
        """Is it the library in C of a package of the user's checkouts, or its tests?"""
        package, _, below = name.removeprefix("lib").removeprefix("cu").partition(".")
        tests = below.startswith("test") or below == "ffi"
        return self._checkouts is not None and package in _PACKAGES and (name.startswith("lib") or tests)

    def find(self, name: str) -> str | None:
        """The file of that name as it is called in messages, or None; links that lead outside lead nowhere."""
        if "\0" in name:
            return None
        if self._checkouts is not None and name.startswith(TORCH7_SOURCE):
            inside = self._checkouts.find(name.removeprefix(TORCH7_SOURCE))
            return None if inside is None else TORCH7_SOURCE + inside
        for root in self.roots:
            path = (root / name).resolve()
            if path.is_relative_to(root) and path.is_file():
                return path.relative_to(self.roots[0]).as_posix() if root == self.roots[0] else path.as_posix()
        return None

    def find_below_name(self, name: str) -> str | None:
        """The file of a name that begins with the name of a folder itself, as where `require` starts above it."""
        parts = name.split("/")
        for count in range(1, len(parts)):
            for root in self.roots:
                if root.parts[-count:] == tuple(parts[:count]) and (
                    found := self.find(str(root.joinpath(*parts[count:])))
                ):
                    return found
        if len(parts) > 1 and self.is_own_package(parts[0]):
            inside = "/".join(parts[1:])
            # installed, the files of all its folders lie side by side
            beside = [name for name in self.scripts() if name.endswith(f"/{inside}")]
            return self.find(inside) or (beside[0] if len(beside) == 1 else None)
        return None

    def is_own_package(self, name: str) -> bool:
        """Is the first folder the checkout of a package of that name: does its init.lua, or its rockspec, say so?"""
        if not re.fullmatch(r"[A-Za-z][\w-]*", name):
            return False
        if name not in self._own:
            text, word = self.text("init.lua") if self.find("init.lua") else "", re.escape(name)
            says = rf"(?m)^\s*{word}\s*=\s*(?:{word}\s+or\s+)?\{{|\btorch\.include\(\s*['\"]{word}['\"]"
            files = [file for folder in ("", "rocks") for file in (self.entries(folder) or ([], []))[0]]
            rocks = [file for file in files if file.startswith(f"{name}-") and file.endswith(".rockspec")]
            self._own[name] = bool(text) and bool(rocks or re.search(says, without_comments(text)))
        return self._own[name]

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

    def text(self, name: str) -> str:
        """A file of Lua that `find` gave, as text."""
        return self.read(name).decode("utf-8", "replace")

    def scripts(self) -> list[str]:
        """The names of the Lua files in the first of the folders, sorted; of very many, the first."""
        found: list[str] = []
        for folder, below, names in os.walk(self.roots[0]):
            below[:] = sorted(name for name in below if not name.startswith("."))
            inside = Path(folder).relative_to(self.roots[0])
            found += [(inside / name).as_posix() for name in sorted(names) if name.endswith(".lua")]
            if len(found) > _MOST_SCRIPTS:
                break
        return found[:_MOST_SCRIPTS]

    def read(self, name: str) -> bytes:
        """The bytes of a file that `find` gave.

        Raises:
            LuaFault: it is no such file, or too large.
        """
        if self._checkouts is not None and name.startswith(TORCH7_SOURCE):
            return self._checkouts.read(name.removeprefix(TORCH7_SOURCE))
        found = self.find(name)
        if found is None:
            raise LuaFault(f"no file {name} below the folder of the definition")
        if self.size(found) > self.most:
            raise LuaFault(f"{name} has more bytes than LuaLimits.file_bytes = {self.most} allow")
        return (self.roots[0] / found).read_bytes()

    def size(self, name: str) -> int:
        """How many bytes a file has that `find` gave."""
        return (self.roots[0] / name).stat().st_size

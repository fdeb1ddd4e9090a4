"""The scripts beside a file that defines a network: where they call it, and what they do to its options."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import takewhile
from pathlib import PurePosixPath

from .folders import Folders
from .script_text import CallSite, fields_set_between, sites_of, without_comments

_MOST_CALLS = 8


class AuthorScripts:
    """The author's scripts.

    Args:
        folders: where they are.
        file: the one that defines the network, which is none of them.
    """

    def __init__(self, folders: Folders, file: str) -> None:
        self._folders, self._file = folders, file
        self._sites: dict[str, list[CallSite]] = {}

    @cached_property
    def texts(self) -> dict[str, str]:
        """Their texts, without comments, by their names."""
        names = [script for script in self._folders.scripts() if script != self._file]
        return {name: without_comments(self._folders.text(name)) for name in names}

    def may_load(self, script: str) -> bool:
        """Does no other file of the same name lie nearer to a script than this one?"""
        path = PurePosixPath(self._file)
        own = path.parts[-2:] if path.stem == "init" else path.parts[-1:]
        others = (PurePosixPath(name) for name in self.texts)
        namesakes = [other for other in others if other.parts[-len(own) :] == own]
        near = _in_common(script, path)
        return all(_in_common(script, other) <= near for other in namesakes)

    def sites(self, offer: str) -> list[CallSite]:
        """Where they call a function of the file."""
        if not offer.endswith(")"):
            return []
        if offer not in self._sites:
            text, stem = self._folders.text(self._file), PurePosixPath(self._file).stem
            found = sites_of(offer, self.texts, text, stem)
            self._sites[offer] = [site for site in found if self.may_load(site.script)][:_MOST_CALLS]
        return self._sites[offer]

    def fields_set(self, text: str, name: str, after: int, before: int | None) -> list[str]:
        """The fields of a variable that are set there, and that the file reads."""
        fields = fields_set_between(text, name, after, before)
        return [f"{name}.{field}" for field in fields if self.reads(field)]

    def reads(self, field: str) -> bool:
        """Does the file, or one beside it, read a field of that name?"""
        folder = PurePosixPath(self._file).parent
        texts = [text for name, text in self.texts.items() if PurePosixPath(name).parent == folder]
        return any(re.search(rf"\b{re.escape(field)}\b", text) for text in [self._folders.text(self._file), *texts])


def _in_common(script: str, path: PurePosixPath) -> int:
    """How many folders a script and a file have in common."""
    return len(list(takewhile(_alike, zip(PurePosixPath(script).parent.parts, path.parent.parts, strict=False))))


def _alike(pair: tuple[str, str]) -> bool:
    return pair[0] == pair[1]

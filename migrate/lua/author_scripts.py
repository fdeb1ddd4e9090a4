"""The scripts beside a file that defines a network: where they call it, and what they do to its options."""

from __future__ import annotations

import re
from functools import cached_property
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

    def sites(self, offer: str) -> list[CallSite]:
        """Where they call a function of the file."""
        if not offer.endswith(")"):
            return []
        if offer not in self._sites:
            text, stem = self._folders.text(self._file), PurePosixPath(self._file).stem
            self._sites[offer] = sites_of(offer, self.texts, text, stem)[:_MOST_CALLS]
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

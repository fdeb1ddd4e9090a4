"""How a file gives a network, and what a search for that needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .runtime import Runtime


@dataclass(frozen=True)
class Way:
    """How a file gives a network: what to add to its job, and the options of the command that say the same."""

    job: dict[str, Any]
    said: str


@dataclass
class Tools:
    """What a search needs of the builder.

    Attributes:
        start: a Lua with what the job and what is added to it set up, in which no file has run.
        build: builds once what a job asks for; gives how many parameters the network has, None if it is none.
        brings: the error came of a package that a script required: it is loaded from now on.
    """

    start: Callable[[dict[str, Any]], Runtime]
    build: Callable[[dict[str, Any]], int | None]
    brings: Callable[[str], bool]

"""Text that comes from a file, made fit to be shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable


def visible(text: str) -> str:
    r"""The same text with control, formatting and unpaired characters as `\x1b`: nothing is hidden or reordered."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in file_text(text))


def cut(text: str, longest: int) -> str:
    """The same text, with what stands in its middle left out if it is longer; it says so."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} … ({len(text) - 2 * half:,} characters are left out) … {text[-half:]}"


def file_text(path: str | os.PathLike[str]) -> str:
    r"""Text with names of files in it, as every encoding of Unicode takes it: bytes that are no text become `\x80`."""
    shown = re.sub("[\udc80-\udcff]", _as_byte, os.fspath(path))
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")


def _as_byte(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]) - 0xDC00:02x}"


def shell_words(text: str) -> str:
    """An error without what only callers from Python need: ` (force=True)` after the option `--force`."""
    text = re.sub(r" \(from Python: [^()]*\)", "", text)
    text = re.sub(r"Limits\.\w+ = (\d+) allow", r"the limit of \1 allows", text)
    text = re.sub(r"Raise Limits\.\w+ if", "Python's load() takes a higher limit, if", text)
    return re.sub(r"(--[a-z0-9-]+(?: [^\s()]+)?) \([a-z_]+=[^()]*(?:\([^()]*\)[^()]*)*\)", r"\1", text)


def why_not_opened(path: str | os.PathLike[str], error: BaseException) -> str:
    """What to say of a file that can't be opened: the shell leaves a pattern as it is where no file fits it."""
    if isinstance(error, FileNotFoundError) and re.search(r"[*?\[]", os.fspath(path)):
        return "no file matches this pattern"
    return getattr(error, "strerror", None) or str(error)


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 channel`, `3 channels`, `2 entries`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def repeated(notes: Iterable[tuple[str, str]], paths_shown: int = 3) -> list[str]:
    """Each note once: `7.2: it …` of a single path, `21 layers (1, 3, 5, …): it …` of several.

    Args:
        notes: path and text; the path "" is that of the whole.
        paths_shown: how many paths are named.
    """
    paths: dict[str, dict[str, None]] = {}
    for path, note in notes:
        paths.setdefault(note, {})[path] = None
    found = []
    for note, held in paths.items():
        named = list(held)
        if len(named) == 1:
            found.append(f"{named[0]}: {note}" if named[0] else note)
            continue
        first = ", ".join(path or "the top" for path in named[:paths_shown])
        found.append(f"{len(named)} layers ({first}{', …' if len(named) > paths_shown else ''}): {note}")
    return found


def said(error: BaseException) -> str:
    """The class of an error and what it says, without the frames of C++ that PyTorch may add."""
    return f"{type(error).__name__}: {error}".partition("\nException raised from ")[0]


def cause(error: BaseException) -> str:
    """The first line that says something, from the innermost exception; without paths of the machine."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = next((line for line in lines if not line.startswith(("File ", "Traceback", "Failed to"))), "")
    return re.sub(r"(/[\w.+-]+)+/", "", f"{type(error).__name__}: {text[:300]}")

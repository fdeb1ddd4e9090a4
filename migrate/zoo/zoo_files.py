"""Which files a zoo has, what their folders are called, and which of them are this machine's share."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base.download import is_url
from ..base.errors import UsageError
from ..base.files import REFERENCE_ENDING
from ..base.messages import why_not_opened
from ..t7.reading.archives import ENDINGS

#: What people call files of Torch7; the folder of `resnet-1.0.t7` is `resnet-1.0`.
_ENDINGS = (*ENDINGS, ".t7", ".t7b", ".th7", ".net", ".torch", ".ascii", ".bin", ".dat", ".model", ".pth", ".pt")

#: Names in the folder of a collection that are not free, and how many bytes a name may have.
_SUMMARY = re.compile(r"summary(-\d+-of-\d+)?\.(json|html)", re.IGNORECASE)
_LONGEST = 120


@dataclass(frozen=True)
class Task:
    """One file of a zoo.

    Attributes:
        source: path or URL.
        name: of its folder below the output folder.
    """

    source: str
    name: str


def listed(arguments: Sequence[str], lists: Sequence[Path]) -> list[str]:
    """The files that were meant: arguments, the `.t7` files below a folder, the lines of a list.

    Args:
        arguments: paths, URLs, folders.
        lists: text files with one path or URL a line; empty lines and lines that begin with # say nothing.

    Raises:
        UsageError: a list can't be read, or a folder has no .t7 file.
    """
    given = list(arguments)
    for path in lists:
        try:
            # names of files may be bytes that are no text
            lines = [line.strip() for line in path.read_text("utf-8", "surrogateescape").split("\n")]
        except OSError as error:
            raise UsageError(f"The list {path} can't be read: {why_not_opened(path, error)}.") from error
        given += [line for line in lines if line and not line.startswith("#")]
    found: list[str] = []
    for item in given:
        if is_url(item) or not Path(item).is_dir():
            found.append(item)
            continue
        inside = sorted(str(path) for path in Path(item).rglob("*.t7") if path.is_file())
        if not inside:
            raise UsageError(f"There is no .t7 file below {item}.")
        found += inside
    return found


def plan(sources: Iterable[str]) -> list[Task]:
    """One task per file, sorted, so that each machine sees the same list.

    `X.reference.t7` is no model but the reference of `X.t7` where both are listed.
    """
    distinct = sorted(set(sources))
    models = {source.removesuffix(".t7") for source in distinct if not source.endswith(REFERENCE_ENDING)}
    files = [
        source
        for source in distinct
        if is_url(source)
        or not source.endswith(REFERENCE_ENDING)
        or source.removesuffix(REFERENCE_ENDING) not in models
    ]
    names = _names(files)
    return [Task(file, names[file]) for file in files]


def _names(files: Sequence[str]) -> dict[str, str]:
    """A name for each file, from more of its path where several would have the same."""
    options = {file: _options(file) for file in files}
    level = dict.fromkeys(files, 0)
    while True:
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for file in files:
            groups[options[file][level[file]].casefold()].append(file)  # many file systems ignore case
        clashing = [
            file
            for group in groups.values()
            if len(group) > 1
            for file in group
            if level[file] + 1 < len(options[file])
        ]
        if not clashing:
            break
        for file in clashing:
            level[file] += 1
    names: dict[str, str] = {}
    taken = set(groups)
    for name, group in groups.items():
        for number, file in enumerate(group):
            made = options[file][level[file]]
            while number and (made := f"{options[file][level[file]]}-{number + 1}").casefold() in taken:
                number += 1
            names[file] = made
            taken |= {name, made.casefold()}
    return names


def _options(file: str) -> list[str]:
    """Names for a file, short ones first: `model`, `vgg-model`, `nets-vgg-model`, …, `model.t7`."""
    path = re.sub(r"[#?].*", "", file) if is_url(file) else file
    parts = [made for part in re.split(r"[/\\]+", path.removeprefix("file://")) if (made := _plain(part))]
    last = parts[-1] if parts else "model"
    stem = last
    while (shorter := _without_ending(stem)) != stem:
        stem = shorter
    found = ["-".join([*parts[len(parts) - 1 - up : -1], stem]) for up in range(max(1, min(len(parts), 6)))]
    names = [_short(name) for name in (*found, last) if _SUMMARY.fullmatch(name) is None]
    return names or [f"{_short(last)}-model"]


def _without_ending(name: str) -> str:
    ending = next((ending for ending in _ENDINGS if name.lower().endswith(ending) and len(name) > len(ending)), "")
    return name.removesuffix(name[len(name) - len(ending) :]) if ending else name


def _plain(part: str) -> str:
    """A part of a path as a folder name that no file system, shell or terminal takes amiss."""
    return re.sub(r"[^\w.+=@,-]", "_", part).strip(".").lstrip("-.")


def _short(name: str) -> str:
    """The name with its middle left out, if it is longer than file systems allow with what is added to it."""
    taken = name.encode()
    if len(taken) <= _LONGEST:
        return name
    half = _LONGEST // 2
    return taken[:half].decode("utf-8", "ignore") + "-" + taken[-half:].decode("utf-8", "ignore")


@dataclass(frozen=True)
class Shard:
    """A part of a list: every `count`-th task, from the `index`-th on (1-based)."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Reads `3/16`.

        Raises:
            UsageError: it is written otherwise.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--shard takes a part such as 3/16, the third of 16, not {text!r}.")
        return cls(int(found[1]), int(found[2]))

    def of(self, tasks: Sequence[Task]) -> list[Task]:
        """This part of the tasks."""
        return list(tasks[self.index - 1 :: self.count])

    @property
    def suffix(self) -> str:
        """What tells the summaries of the parts apart."""
        return "" if self.count == 1 else f"-{self.index}-of-{self.count}"

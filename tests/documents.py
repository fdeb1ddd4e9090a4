"""Runs a document as its reader would: its Python blocks and its commands, from top to bottom, in one folder.

A block ```console holds commands, after `$ `, and what they print. What is printed is compared without its numbers and
line breaks; `…` stands for what is left out. `# exit code 4` after a command says how it ends.

Names that stand for a file of the reader, such as model.t7, get one by a comment in the document:
`<!-- files: model.t7=fixtures/models/lenet_mnist.t7 -->`.

Above a block that the tests can't run stands `<!-- Not run by the tests: <reason> -->`: nothing that is copied with it.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from unittest import mock

import pytest

from torchmigrate.cli import main as cli
from torchmigrate.model import registry

ROOT = Path(__file__).parent.parent
NOT_RUN = "<!-- Not run by the tests: "
#: Languages of blocks that do nothing: what a file holds, or what is printed.
SHOWN = frozenset({"", "text", "json", "yaml"})
_FENCE = re.compile(
    r"(^[ ]*<!-- Not run by the tests: [^\n]+ -->\n)?^([ ]*)```([\w-]*)[^\n]*\n(.*?)^\2```[ ]*$",
    re.DOTALL | re.MULTILINE,
)
_FILES = re.compile(r"<!-- files: (.*?) -->", re.DOTALL)
_EXIT = re.compile(r"#\s*exit code (\d+)\s*$")
_NUMBER = re.compile(r"\d[\d.,]*(?:e[-+]?\d+)?\b")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the text without its indentation, where it begins, and whether it is excused."""

    language: str
    text: str
    line: int
    excused: bool

    @property
    def runs(self) -> bool:
        return self.language not in SHOWN and not self.excused


@dataclass(frozen=True)
class Command:
    """A command of a console block: its words, the exit code that it must have, and what it must print."""

    line: str
    exit_code: int
    output: str


def blocks(document: Path) -> list[Block]:
    """All fenced blocks of a document."""
    text = document.read_text("utf-8")
    return [
        Block(found[3], textwrap.dedent(found[4]), text.count("\n", 0, found.start(3)) + 1, bool(found[1]))
        for found in _FENCE.finditer(text)
    ]


def commands(block: Block) -> list[Command]:
    """The commands of a console block, each with the output below it."""
    found: list[Command] = []
    goes_on = False
    for line in block.text.splitlines():
        if goes_on:
            found[-1] = replace(found[-1], line=found[-1].line.rstrip("\\") + line.strip())
        elif line.startswith("$ "):
            found.append(Command(line[2:], 0, ""))
        elif found:
            found[-1] = replace(found[-1], output=f"{found[-1].output}{line}\n")
        elif line.strip():
            raise AssertionError(f"line {block.line}: neither a command after `$ ` nor what one prints: {line}")
        goes_on = (line.startswith("$ ") or goes_on) and line.endswith("\\")
    ends = [_EXIT.search(command.line) for command in found]
    return [
        replace(command, exit_code=int(end[1])) if end else command for command, end in zip(found, ends, strict=True)
    ]


def run_document(document: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs all that runs, in `folder`; fails at the first block that is not true."""
    (folder / "fixtures").symlink_to(ROOT / "fixtures")
    for pair in " ".join(_FILES.findall(document.read_text("utf-8"))).split():
        name, _, stands_for = pair.partition("=")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(ROOT / stands_for)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "160")
    names = {"__name__": "document"}
    try:
        for block in blocks(document):
            if block.language == "python" and block.runs:
                exec(compile("\n" * block.line + block.text, document.name, "exec"), names)
            elif block.language == "console" and block.runs:
                for command in commands(block):
                    _check(command, f"{document.name}, line {block.line}")
    finally:
        sys.modules.pop("model", None)  # a block may have imported the model.py that it wrote


def _check(command: Command, where: str) -> None:
    code, printed = _run(command.line)
    assert code == command.exit_code, f"{where}: {command.line}\nexit code {code}\n{printed}"
    rest = _plain(printed)
    for part in filter(str.strip, command.output.split("…")):
        _, met, rest = rest.partition(_plain(part))
        assert met, f"{where}: {command.line}\nis said to print\n{part}\nbut prints\n{printed}"


def _plain(text: str) -> str:
    """Without numbers, which differ from machine to machine, and without line breaks."""
    return " ".join(_NUMBER.sub("#", text).split())


def _run(line: str) -> tuple[int, str]:
    words = shlex.split(line, comments=True)
    target = None
    if ">" in words:
        target = Path(words[words.index(">") + 1])
        words = words[: words.index(">")]
    words = [name for word in words for name in (sorted(glob.glob(word)) if "*" in word else [word])]
    if words[0] == "python":
        done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    assert words[0] == "torchmigrate", f"the tests can't run {line!r}: say why with `{NOT_RUN}…`"
    out, err = StringIO(), StringIO()
    with _fresh(), redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stopped:
        cli.main(words[1:])
    if target is not None:
        target.write_text(out.getvalue(), "utf-8")
        out = StringIO()
    return int(stopped.value.code or 0), out.getvalue() + err.getvalue()


@contextmanager
def _fresh() -> Iterator[None]:
    """A registry as in a new process, such as a command has: without what the blocks above registered."""
    ours = {name: made for name, made in registry._converters.items() if made.__module__.startswith("torchmigrate.")}
    with (
        mock.patch.object(registry, "_converters", ours),
        mock.patch.object(registry, "_loaded", set(registry._loaded)),
        mock.patch.dict(os.environ),
    ):
        yield

"""The README is true: its Python blocks and commands run and print what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from documents import ROOT, blocks, run_document

from torchmigrate.cli.main import cli

README = ROOT / "README.md"


def test_what_it_says_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_document(README, tmp_path, monkeypatch)


def test_every_command_is_described() -> None:
    described = set(re.findall(r"^\| `torchmigrate (\w+)", README.read_text("utf-8"), re.MULTILINE))
    assert described == set(cli.list_commands(click.Context(cli)))


def test_its_files_are_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text("utf-8"))
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []


@pytest.mark.slow
def test_its_python_runs_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in blocks(README) if block.language == "python" and "tm.convert(" in block.text]
    for _ in range(2):
        exec(block.text, {"__name__": "document"})

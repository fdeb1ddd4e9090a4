"""The README is true: its Python blocks run, its commands are those of the program."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click
import pytest

from torchmigrate.cli import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_blocks(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registry: None) -> None:
    shutil.copytree(ROOT / "fixtures" / "models", tmp_path / "fixtures" / "models")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_every_command_is_described() -> None:
    described = set(re.findall(r"^\| `torchmigrate (\w+)", README, re.MULTILINE))
    assert described == set(cli.list_commands(click.Context(cli)))

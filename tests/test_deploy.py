"""docs/deploy.md is true: its Python blocks run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "deploy.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_blocks(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "fixtures" / "models", tmp_path / "fixtures" / "models")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "docs/deploy.md", "exec"), {"__name__": "deploy"})

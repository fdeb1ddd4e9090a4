"""The recipes of docs/deploy.md for other runtimes give what the converted module gives."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest
from documents import ROOT, blocks

PAGE = ROOT / "docs" / "deploy.md"

#: Heading of a recipe -> what it needs: a program or a package.
RECIPES = {
    "TorchScript": "torch",
    "AOTInductor": "g++",
    "OpenVINO": "openvino",
    "Core ML": "coremltools",
    "ExecuTorch": "executorch",
}


def recipe(heading: str) -> str:
    """The blocks that a recipe builds on, and its own."""
    text = PAGE.read_text("utf-8")
    start = text.count("\n", 0, text.index(f"### {heading}\n")) + 1
    python = [block for block in blocks(PAGE) if block.language == "python"]
    own = next(block for block in python if block.line > start)
    needed = [block for block in python if block.line < start and not block.excused and "cv2" not in block.text]
    return "\n".join(block.text for block in (*needed, own))


@pytest.mark.runtimes
@pytest.mark.parametrize("heading", RECIPES)
def test_a_recipe_gives_what_the_module_gives(heading: str, tmp_path: Path) -> None:
    needs = RECIPES[heading]
    if not (which(needs) or find_spec(needs)):
        pytest.skip(f"{needs} is not installed")
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    (tmp_path / "recipe.py").write_text(recipe(heading))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "recipe.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    if heading == "Core ML" and platform.system() != "Darwin":  # it can't run here: its sizes are those of the module
        assert "[1, 3, 56, 56]" in last
        return
    difference = re.search(r"[\d.]+(?:e[-+]\d+)?", last)
    assert difference is not None
    assert float(difference[0]) < 1e-5

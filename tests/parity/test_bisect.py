"""--bisect writes a part that fails wherever a failure can be found, and a script that shows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import golden
import lua
import pytest
import torch

import torchmigrate as tm
from torchmigrate.folder.verify_folder import VerifyOptions, verify_path


def spoiled(name: str, key: str, index: int, folder: Path, amount: float) -> Path:
    """A golden model with one number of a bias off."""
    value: Any = tm.load(golden.MODELS / f"{name}.t7")
    bias = (value[key] if key else value)["modules"][index]["bias"]
    bias.storage.data = bias.storage.data.copy()
    bias.storage.data[bias.offset - 1] += amount
    tm.dump(value, folder / "wrong.t7")
    return folder / "wrong.t7"


def run(script: Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "key", "index", "path", "exact"),
    [
        # of its output the reference keeps a summary
        pytest.param("lenet_mnist", "", 1, "1", True, marks=pytest.mark.slow),
        ("vgg_checkpoint", "model", 11, "", True),  # of its input too: the whole model is shown
    ],
)
def test_references_that_hold_summaries(
    name: str, key: str, index: int, path: str, exact: bool, tmp_path: Path
) -> None:
    file = spoiled(name, key, index, tmp_path, 0.5)
    options = VerifyOptions(
        key=key or None, reference=str(golden.MODELS / f"{name}.reference.t7"), bisect=tmp_path / "part"
    )
    made = verify_path(file, options).reproduction
    assert made is not None
    assert (made.path, made.exact) == (path, exact)
    code, text = run(tmp_path / "part" / "reproduce.py")
    assert (code, text.splitlines()[-1]) == (1, "FAILED"), text
    if path:  # the right layer passes
        part: Any = tm.load(tmp_path / "part" / "module.t7")
        part["bias"].storage.data = part["bias"].storage.data.copy()
        part["bias"].storage.data[part["bias"].offset - 1] -= 0.5
        tm.dump(part, tmp_path / "part" / "module.t7")
        code, text = run(tmp_path / "part" / "reproduce.py")
        assert (code, text.splitlines()[-1]) == (0, "PASSED"), text


def test_a_slice_that_fails_is_what_the_script_looks_at(tmp_path: Path) -> None:
    layer = lua.linear(6, 5, seed=1, dtype="f4")
    layer["weight"].storage.data[: 4 * 6] *= 8500
    tm.dump(lua.sequential(layer), tmp_path / "head.t7")
    given = lua.numbers(7, 6, dtype="f4")
    output = tm.convert(tmp_path / "head.t7").module(torch.from_numpy(given)).detach().numpy().copy()
    output[:, 4] *= 1 + 1e-3
    layers = [{"path": "1", "class": "nn.Linear", "call": 1, "output": output}]
    tm.dump(lua.value({"input": given, "output": output, "layers": layers}), tmp_path / "head.reference.t7")
    found = verify_path(tmp_path / "head.t7", VerifyOptions(bisect=tmp_path / "part"))
    assert found.report.reference.chosen == "head.reference.t7 lies beside the file, so it was taken as the reference"
    assert found.reproduction is not None
    assert "SLICE = (1, 4)" in (tmp_path / "part" / "reproduce.py").read_text()
    code, text = run(tmp_path / "part" / "reproduce.py")
    assert (code, text.splitlines()[-1]) == (1, "FAILED"), text
    assert "7 of 7 numbers are off" in text

"""No command reaches a network unasked, and none leaves anything in the home of its user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import golden
import pytest
from network import guard

from torchmigrate.cli import main as command_line

# seccomp, by which the guard sees a socket in any child too, is of Linux
pytestmark = pytest.mark.skipif(not guard.is_possible(), reason="the guard is written for Linux")

MODEL = golden.MODELS / "mobile_b32.t7"
REFERENCE = golden.MODELS / "mobile_b32.reference.t7"


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment.pop("XDG_CACHE_HOME", None)
    command = [sys.executable, guard.__file__, *words]
    return subprocess.run(command, env=environment, cwd=home.parent, capture_output=True, text=True, check=False)


def test_the_guard_kills(tmp_path: Path) -> None:
    assert run(tmp_path, "--open").returncode == -31


COMMANDS = {
    "inspect": ["inspect", str(MODEL), "--tensors"],
    "extract": ["extract", str(MODEL), "-o", "all.npz"],
    "doctor": ["doctor"],
    "layers": ["layers", "nn.Linear"],
    "reference": ["reference"],
    "examples": ["examples"],
    "pack": ["pack", str(golden.FIXTURES.parent / "docs" / "assets" / "report.png"), "-o", "picture.t7"],
    "match": ["match", "--help"],
    "run": ["run", str(golden.MODELS / "charrnn_checkpoint.t7"), "--seed-text", "ab", "--length", "3"],
    "push": ["push", "--help"],  # it reaches the Hub, which is what it is asked
    "convert": ["convert", str(MODEL), "-o", "out"],
    "workers": ["convert", str(MODEL), str(golden.MODELS / "textcnn.t7"), "-o", "zoo", "--jobs", "2"],
    "verify": ["verify", str(MODEL), "--reference", str(REFERENCE)],
    "export": ["export", str(MODEL), "-o", "model.onnx", "--int8"],
    "optimizer": ["optimizer", str(golden.MODELS / "charrnn_checkpoint.t7")],
}
_FAST = ("inspect", "doctor", "layers", "reference", "examples")


@pytest.mark.parametrize(
    "name", [name if name in _FAST else pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS]
)
def test_no_command_opens_a_socket(name: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = run(home, *COMMANDS[name])
    assert done.returncode == 0, done.stderr[-2000:]
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_each_command_is_among_them() -> None:
    assert {words[0] for words in COMMANDS.values()} == set(command_line.COMMANDS)

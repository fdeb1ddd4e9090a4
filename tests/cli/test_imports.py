"""Nothing heavy is imported by a command that does not need it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import golden
import pytest

LENET = golden.MODELS / "lenet_mnist.t7"
ONNX = {"onnx", "onnx_ir", "onnxscript", "onnxruntime"}
ALL = {"numpy", "rich", "torch", "jinja2", *ONNX}


def imported(words: list[str], folder: Path) -> set[str]:
    """What the program has imported of the heavy libraries when it ends well."""
    code = (
        "import sys; from torchmigrate.cli.main import main\n"
        f"try: main({words!r})\n"
        f"except SystemExit as end: assert not end.code; print(*({ALL!r} & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--help", set()),
        ("inspect FILE", {"rich"}),
        ("extract FILE", {"rich", "numpy"}),
        ("layers nn.Linear --json", {"rich"}),
        ("reference --script", {"rich"}),
        ("inspect FILE --shapes", {"rich", "numpy", "torch"}),
        ("convert FILE -o out --source-only -q", ALL - ONNX),
        pytest.param("convert FILE -o out --no-onnx -q", ALL - ONNX, marks=pytest.mark.slow),
        ("verify FILE -q", ALL - ONNX),
        ("export FILE -o out.onnx -q", ALL - {"jinja2"}),
    ],
)
def test_only_what_is_needed(words: str, expected: set[str], tmp_path: Path) -> None:
    assert imported([str(LENET) if word == "FILE" else word for word in words.split()], tmp_path) == expected

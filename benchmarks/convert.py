"""How much CPU time the whole `torchmigrate convert` takes, beside what cannot be left out of it; ratios.

python benchmarks/convert.py                    a ResNet-50 at 2x3x224x224, and a LeNet
python benchmarks/convert.py --rounds 5 --profile

What cannot be left out: importing PyTorch, ONNX and ONNX Runtime, one plain `torch.onnx.export` of the model.py that
was written, with a batch of any size, and three forward passes. Each in a process of its own, on one thread, with the
bytecode of all modules at hand, as an installed package has it; medians of rounds in turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import models

import torchmigrate as tm

CONVERT = "from torchmigrate.cli.main import main; main()"
PROFILE = "import cProfile; cProfile.run({!r}, {!r})"
PLAIN = """
import sys
import onnx, onnxruntime, onnxscript, torch
sys.path.insert(0, sys.argv[1] + "/out")
from model import Model
model = Model.from_pretrained(sys.argv[1] + "/out").eval()
x = torch.randn(tuple(map(int, sys.argv[2].split("x"))))
batch = ({0: torch.export.Dim.DYNAMIC},)
torch.onnx.export(model, (x,), sys.argv[1] + "/plain.onnx", dynamo=True, dynamic_shapes=batch, verbose=False)
with torch.no_grad():
    for _ in range(3):
        model(x)
"""

#: name -> (what makes the model, the size of its input, how many times the CPU time it may take)
MODELS: dict[str, tuple[Callable[[], tm.LuaObject], str, float]] = {
    "ResNet-50": (models.resnet50, "2x3x224x224", 1.5),
    "LeNet": (models.lenet, "2x1x28x28", 1.2),
}


def cpu_seconds(bytecode: str, code: str, *words: str) -> float:
    """CPU time of a Python process with all its threads and children.

    Args:
        bytecode: the folder for that of the modules.
        code: what it runs.
        words: its arguments.
    """
    before = os.times()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, env=environment)
    after = os.times()
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    return float(spent)


def main() -> int:
    """Prints the table; 1 if a model takes more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", action="append", choices=list(MODELS), help="may be repeated (default: all)")
    parser.add_argument("--profile", metavar="FILE", help="profile one conversion into this file, and stop")
    options = parser.parse_args()
    slow = False
    for name in options.model or MODELS:
        make, sizes, allowed = MODELS[name]
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as bytecode:
            file = Path(folder) / "model.t7"
            tm.dump(make(), file)
            words = ("convert", str(file), "-o", f"{folder}/out", "--force")
            if options.profile:
                cpu_seconds(bytecode, PROFILE.format(CONVERT, options.profile), *words)
                return 0
            pair = (CONVERT, *words), (PLAIN, folder, sizes)
            rounds = [[cpu_seconds(bytecode, *words) for words in pair] for _ in range(options.rounds + 1)]
            rounds = rounds[1:]  # the first fills the caches
        ratio = median(whole / plain for whole, plain in rounds)
        whole, plain = (median(column) for column in zip(*rounds, strict=True))
        slow = slow or ratio > allowed
        print(f"{name} at {sizes}: {ratio:.2f} times, {whole:.1f} s beside {plain:.1f} s; at most {allowed} is allowed")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())

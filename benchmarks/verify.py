"""How long comparing every layer takes, beside the forward passes alone; one process, ratios.

python benchmarks/verify.py                     a ResNet-50, every layer, float32 beside float64
python benchmarks/verify.py --batch 1 --batch 4 --onnx
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import models
import torch

import torchmigrate as tm
from torchmigrate.parity.references.self_reference import compute_self
from torchmigrate.parity.runs.batches import BATCHES, repeated
from torchmigrate.parity.runs.onnx_runtime import OnnxRuntime
from torchmigrate.parity.runs.pytorch import PyTorch
from torchmigrate.shapes.infer import Guess


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def forwards(conv: tm.Conversion, value: Any, backends: list[Any]) -> float:
    """Seconds of a forward pass of each backend."""
    return sum(seconds(partial(backend.outputs, conv, value)) for backend in backends)


def compare(conv: tm.Conversion, value: torch.Tensor, file: Path | None) -> None:
    """Compares all layers with the model in float64, which is copied for it."""
    if not tm.verify(conv, reference=compute_self(conv, Guess(value, "random")), onnx=file):
        raise SystemExit("the model does not agree with itself")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, action="append", help="samples; may be repeated (default: 2)")
    parser.add_argument("--onnx", action="store_true", help="ONNX Runtime too")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    conv = tm.convert(models.resnet50())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx" if options.onnx else None
        if file is not None:
            tm.export_onnx(conv, file, input_shape=(2, 3, 224, 224))
        print(f"threads: {torch.get_num_threads()}; forward passes: float32, float64{', ONNX Runtime' * options.onnx}")
        for batch in options.batch or [2]:
            value = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
            running = [PyTorch("cpu"), *([OnnxRuntime(file, "cpu")] if file is not None else [])]
            all_of_them = [*running, PyTorch("cpu", torch.float64)]
            rounds = []
            for _ in range(1 + options.rounds):  # in turns, since what else the machine does changes all of them
                once = forwards(conv, value, all_of_them)
                others = sum(forwards(conv, repeated(value, n), running) for n in BATCHES if n != batch)
                rounds.append((seconds(partial(compare, conv, value, file)), once, once + others))
            took, once, passes = (median(column) for column in zip(*rounds[1:], strict=True))
            sizes = ", ".join(map(str, sorted({batch, *BATCHES})))
            print(f"batch of {batch}: verify takes {took / passes:.2f} times one forward pass per backend and batch")
            print(f"  (of {sizes}), and {took / once:.2f} times those of this batch alone")


if __name__ == "__main__":
    main()

"""How long comparing every layer takes, beside the forward passes alone; one process, ratios.

python benchmarks/verify.py                     a ResNet-50, every layer, float32 beside float64
python benchmarks/verify.py --batch 1 --batch 4 --onnx
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import torch

import torchmigrate as tm
from torchmigrate.parity.backends import PyTorch
from torchmigrate.parity.batches import BATCHES, repeated
from torchmigrate.parity.onnx_backend import OnnxRuntime
from torchmigrate.parity.self_reference import compute_self
from torchmigrate.shapes import Guess


def best(call: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def forwards(conv: tm.Conversion, value: Any, backends: list[Any], rounds: int) -> list[float]:
    """Seconds of a forward pass of each backend; it runs once before, as what starts it belongs to nobody's time."""
    found = []
    for backend in backends:
        backend.outputs(conv, value)
        found.append(best(lambda: backend.outputs(conv, value), rounds))  # noqa: B023 - called before the next
    return found


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
            once = forwards(conv, value, [*running, PyTorch("cpu", torch.float64)], options.rounds)
            others = [forwards(conv, repeated(value, n), running, options.rounds) for n in BATCHES if n != batch]

            def compare(value: torch.Tensor = value) -> None:
                reference = compute_self(conv, Guess(value, "random"))
                if not tm.verify(conv, reference=reference, onnx=file):
                    raise SystemExit("the model does not agree with itself")

            compare()
            seconds = best(compare, options.rounds)
            passes = sum(once) + sum(map(sum, others))
            sizes = ", ".join(map(str, sorted({batch, *BATCHES})))
            print(f"batch of {batch}: verify takes {seconds / passes:.2f} times one forward pass per backend and batch")
            print(f"  (of {sizes}), and {seconds / sum(once):.2f} times those of this batch alone")


if __name__ == "__main__":
    main()

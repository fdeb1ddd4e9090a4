"""Prints a table of five golden models on a device: do they agree with Torch7, and how long do they take?

python tests/devices/table.py cuda
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import golden
import on_device
import torch

import torchmigrate as tm
from torchmigrate.base.tensor_trees import apply

#: A ResNet, an nngraph, a recurrent network, tables, and volumes.
MODELS = ("resnet_bottleneck_B", "unet_nngraph", "lm_seqlstm", "multitask_tables", "c3d")

#: Samples of a timed forward, and how often it is run.
BATCH, RUNS = 16, 10


def timed(module: torch.nn.Module, value: Any, device: str) -> float:
    """Milliseconds of a forward, the median of several."""
    module = module.to(device)
    given = on_device.cast(value, torch.float32, device)
    found = []
    with torch.no_grad():
        for _ in range(RUNS + 2):  # the first ones choose their algorithms
            tm.forget(module)
            began = time.perf_counter()
            module(given)
            if device != "cpu":
                torch.cuda.synchronize()
            found.append(1000 * (time.perf_counter() - began))
    return sorted(found[2:])[RUNS // 2]


def repeated(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[torch.arange(BATCH) % tensor.shape[0]]


def larger(name: str, value: Any) -> Any:
    """The same samples several times; the tokens of a language model stay what they are."""
    if name == "lm_seqlstm":
        return value
    return apply(value, repeated)


def information_on(name: str, device: str, dtype: str) -> str:
    """How far a model in a type of few digits is off, relative to the largest output."""
    try:
        return f"{on_device.largest_error(name, device, getattr(torch, dtype)):.1g}"
    except NotImplementedError:
        return "no kernel"


def row(name: str, device: str) -> list[str]:
    """What is told of one model."""
    began = time.perf_counter()
    conversion, reference = on_device.model(name)
    converted = time.perf_counter() - began
    report = tm.verify(conversion, reference=golden.MODELS / f"{name}.reference.t7", devices=[device], batches=())
    result = next(backend for backend in report.backends if backend.name == f"pytorch-{device}")
    information = [f"{dtype}: {information_on(name, device, dtype)}" for dtype in ("float16", "bfloat16")]
    value = larger(name, tm.to_torch(reference["input"]))
    module = conversion.module.float()
    times = [timed(module, value, where) for where in ("cpu", device)]
    return [
        name,
        f"{result.status}, {result.largest:.2g}",
        ", ".join(information),
        f"{converted:.2f} s",
        f"{times[0]:.2f} ms",
        f"{times[1]:.2f} ms",
    ]


def main(device: str) -> int:
    """Prints the table; 1 if a model does not agree."""
    name = torch.cuda.get_device_name() if device != "cpu" else "the CPU"
    print(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, {name}\n")
    head = [
        "model",
        f"{device}, float32 without TF32",
        "for information",
        "convert",
        "forward, cpu",
        f"forward, {device}",
    ]
    rows = [row(model, device) for model in MODELS]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for cells in rows:
        print(f"| {' | '.join(cells)} |")
    return int(any(not cells[1].startswith("passed") for cells in rows))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1] if len(sys.argv) > 1 else "cuda"))

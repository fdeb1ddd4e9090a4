"""How fast the exported ONNX files run, beside what else runs the same models; one process, one thread, ratios.

python benchmarks/onnx_export.py                                    ONNX Runtime beside PyTorch eager
python benchmarks/onnx_export.py --opencv4 venv4/bin/python         and OpenCV 4's readNetFromTorch on the .t7 itself
python benchmarks/onnx_export.py --memory                           memory and disk that a VGG-16 takes to export

OpenCV 5 dropped readNetFromTorch, so OpenCV 4 stays in an environment of its own:
python -m venv venv4 && venv4/bin/pip install "opencv-python-headless<5"
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "fixtures" / "models"

#: Run by OpenCV 4's Python: times a .t7 on an input of given sizes, and prints seconds or why it can't.
OPENCV4 = """
import sys, time, json
import numpy as np, cv2
file, sizes, threads, repeats = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
cv2.setNumThreads(threads)
try:
    net = cv2.dnn.readNetFromTorch(file, True, True)
    x = np.random.default_rng(0).standard_normal(sizes).astype(np.float32)
    times = []
    for _ in range(repeats):
        net.setInput(x)
        start = time.perf_counter()
        net.forward()
        times.append(time.perf_counter() - start)
    print(json.dumps(min(times)))
except Exception as error:
    print(json.dumps(str(error).strip().splitlines()[-1][:120]))
"""

#: Run by a process of its own; prints its largest size, as Linux knows it.
EXPORT = """
import sys
import torchmigrate as tm
import torch
torch.set_num_threads(1)
conv = tm.convert(sys.argv[1])
tm.export_onnx(conv, sys.argv[2], input_shape=(2, 3, 224, 224))
status = open("/proc/self/status").read()
print(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""


def best(run: Callable[[], Any], repeats: int) -> float:
    """The shortest of some runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times[2:])


def speed(opencv4: str | None, threads: int, repeats: int) -> int:
    sys.path.insert(0, str(ROOT / "tests"))
    import golden
    import onnxruntime
    import torch

    import torchmigrate as tm
    from torchmigrate.base.tensor_trees import leaves, moved

    torch.set_num_threads(threads)
    slower = []
    sys.stdout.write(f"{'model':24} {'PyTorch':>10} {'ONNX RT':>10} {'ratio':>6} {'OpenCV 4':>10} {'ratio':>6}\n")
    for row in golden.model_rows():
        if "Convolution" not in row["classes"] or row["file"].startswith("style_shave"):
            continue
        key = None if row["key"] == "-" else row["key"]
        conversion = tm.convert(MODELS / row["file"], key=key)
        value = tm.to_torch(tm.load(MODELS / row["file"].replace(".t7", ".reference.t7"))["input"])
        x = moved(value, torch.float32)
        module = conversion.module.float().eval()
        with tempfile.TemporaryDirectory() as folder:
            exported = tm.export_onnx(conversion, Path(folder) / "model.onnx", example_input=value)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(str(exported.path), options, providers=["CPUExecutionProvider"])
        kinds = {item.name: item.type for item in session.get_inputs()}
        feeds = {
            name: (tensor.long() if kinds[name] == "tensor(int64)" else tensor).numpy()
            for name, (_, tensor) in zip(exported.inputs, leaves(x), strict=True)
        }
        with torch.inference_mode():
            eager = best(lambda module=module, x=x: module(x), repeats)
        ours = best(lambda session=session, feeds=feeds: session.run(None, feeds), repeats)
        theirs = _opencv4(opencv4, row, x, threads, repeats) if opencv4 else "not asked for"
        if ours > eager:
            slower.append(row["name"])
        beside = f"{theirs * 1e3:8.3f}ms {theirs / ours:6.2f}" if isinstance(theirs, float) else f"- ({theirs})"
        sys.stdout.write(f"{row['name']:24} {eager * 1e3:8.3f}ms {ours * 1e3:8.3f}ms {eager / ours:6.2f} {beside}\n")
    sys.stdout.write(f"slower than PyTorch eager: {', '.join(slower) or 'none'}\n")
    sys.stdout.write("Torch7: " + ("found, not timed here\n" if shutil.which("th") else "not installed (no th)\n"))
    return 1 if slower else 0


def _opencv4(python: str, row: dict[str, str], x: Any, threads: int, repeats: int) -> float | str:
    """Seconds, or why OpenCV 4 does not run the file."""
    if isinstance(x, list):
        return "table input"
    words = [python, "-c", OPENCV4, str(MODELS / row["file"]), json.dumps(list(x.shape)), str(threads), str(repeats)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    try:
        answer: float | str = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        answer = f"it ends with {done.returncode}"
    return answer


def without_gradients(network: Any) -> Any:
    """The network as clearState() and the removal of gradients leave it."""
    from torchmigrate import LuaObject, LuaTable

    kept = [
        LuaObject(layer.typename, LuaTable((k, v) for k, v in layer.items() if k not in ("gradWeight", "gradBias")))
        for layer in network["modules"].list()
    ]
    return LuaObject(network.typename, LuaTable({"modules": LuaTable.from_list(kept)}.items()))


def memory() -> int:
    sys.path.append(str(ROOT / "benchmarks"))
    import models

    import torchmigrate as tm

    with tempfile.TemporaryDirectory() as folder:
        file, target = Path(folder) / "vgg16.t7", Path(folder) / "out" / "vgg16.onnx"
        tm.dump(without_gradients(models.vgg16()), file)
        weights = sum(parameter.nbytes for parameter in tm.convert(file).module.parameters())
        process = subprocess.Popen(
            [sys.executable, "-c", EXPORT, str(file), str(target)],
            env={**os.environ, "TMPDIR": str(Path(folder))},
            stdout=subprocess.PIPE,
            text=True,
        )
        most = 0
        while process.poll() is None:
            used = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file() and path != file)
            most = max(most, used)
            time.sleep(0.05)
        if process.returncode:
            return process.returncode
        # what getrusage says of a child begins with the size of its parent
        peak = int(process.communicate()[0])
        size = sum(path.stat().st_size for path in target.parent.iterdir())
    sys.stdout.write(f"weights {weights / 1e6:.0f} MB, ONNX files {size / 1e6:.0f} MB\n")
    sys.stdout.write(
        f"most memory {peak / 1e6:.0f} MB: {peak / weights:.2f} times the weights (with Python and PyTorch)\n"
    )
    sys.stdout.write(f"most disk {most / 1e6:.0f} MB: {most / size:.2f} times the output\n")
    return 0 if peak <= 2.5 * weights and most <= 1.01 * size else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opencv4", metavar="PYTHON", help="a Python that has OpenCV 4")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--memory", action="store_true")
    given = parser.parse_args()
    return memory() if given.memory else speed(given.opencv4, given.threads, given.repeats)


if __name__ == "__main__":
    sys.exit(main())

"""Times readers of .t7 files against each other, on generated files, in one run.

    python benchmarks/read.py [--folder FOLDER] [--torch7 th] [--rounds 5] [NAME...]

Every reader of every file runs in a process of its own, in turn with the others, so that all have the same machine and
a warm cache. What counts are the ratios: other machines have other times.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models

READERS = ("torchmigrate", "torchfile", "numpy.fromfile", "numpy.fromstring", "torch7")
_LUA = """
require 'torch'
pcall(require, 'nn')
pcall(require, 'nngraph')
local function peak()
   for line in io.lines('/proc/self/status') do
      local kilobytes = line:match('^VmHWM:%s+(%d+)')
      if kilobytes then return tonumber(kilobytes) * 1024 end
   end
end
collectgarbage()
local before, best, timer = peak(), math.huge, torch.Timer()
for _ = 1, ROUNDS do
   timer:reset()
   local value = torch.load(FILE, FORM)
   best = math.min(best, timer:time().real)
   value = nil
   collectgarbage()
end
print(string.format('{"seconds": %.9f, "bytes": %d}', best, peak() - before))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(models.FILES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which files: {names}")
    parser.add_argument("--folder", type=Path, help="where the files are kept from run to run (2 GB)")
    parser.add_argument("--torch7", default="th", help="a th or luajit with torch; left out if there is none")
    parser.add_argument("--rounds", type=int, default=5, help="the best of so many counts")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.names) - set(models.FILES):
        parser.error(f"there is no file {', '.join(sorted(unknown))}; there are {names}")
    if options.one:
        reader, path, rounds = options.one
        print(json.dumps(measure(READS[reader], Path(path), int(rounds))))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        table = {
            name: compare(name, models.write(name, folder), options.torch7, options.rounds)
            for name in options.names or models.FILES
        }
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n")
    return 0


def compare(name: str, path: Path, torch7: str, rounds: int) -> dict[str, dict[str, float]]:
    """What each reader needs for one file."""
    path.read_bytes()  # warms the cache
    ascii_form = models.FILES[name][1]
    left_out = {"torchfile", "numpy.fromfile"} if ascii_form else {"numpy.fromstring"}
    found = {}
    for reader in READERS:
        if reader not in left_out and (numbers := run(reader, path, torch7, rounds, ascii_form)) is not None:
            found[reader] = numbers
    show(name, path.stat().st_size, found)
    return found


def run(reader: str, path: Path, torch7: str, rounds: int, ascii_form: bool) -> dict[str, float] | None:
    """What a reader needs, in a process of its own; None if it is not installed, or can't read the file."""
    command = [sys.executable, __file__, "--one", reader, str(path), str(rounds)]
    if reader == "torch7":
        script = path.with_suffix(".lua")
        form = "ascii" if ascii_form else "binary"
        values = f"local FILE, FORM, ROUNDS = {json.dumps(str(path))}, '{form}', {rounds}\n"
        script.write_text(values + _LUA)
        command = [torch7, str(script)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    if done.returncode:
        print(f"  {reader} failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    numbers: dict[str, float] = json.loads(done.stdout)
    return numbers


def measure(read: Callable[[Path], Any], path: Path, rounds: int) -> dict[str, float]:
    """The shortest time of some rounds, and the most memory that the first one took."""
    before = peak_memory()
    read(path)
    taken = peak_memory() - before
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        start = time.perf_counter()
        value = read(path)
        best = min(best, time.perf_counter() - start)
        del value
    return {"seconds": best, "bytes": taken}


def peak_memory() -> int:
    """The most memory that this process has had so far, in bytes (0 where the system doesn't tell)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def read_torchmigrate(path: Path) -> Any:
    from torchmigrate.t7 import load_file

    return load_file(path)


def read_torchfile(path: Path) -> Any:
    import torchfile

    with path.open("rb") as stream:
        # with its own defaults it fails on any list that holds a tensor
        return torchfile.T7Reader(stream, use_list_heuristic=False).read_obj()


def read_raw(path: Path) -> Any:
    import numpy as np

    return np.fromfile(path, np.uint8)


def read_text(path: Path) -> Any:
    """The numbers of the lines that have many, as fast as numpy can."""
    import numpy as np

    with path.open("rb") as stream:
        return [np.fromstring(line, np.float64, sep=" ") for line in stream if len(line) > 10_000]


READS: dict[str, Callable[[Path], Any]] = {
    "torchmigrate": read_torchmigrate,
    "torchfile": read_torchfile,
    "numpy.fromfile": read_raw,
    "numpy.fromstring": read_text,
}


def show(name: str, size: int, found: dict[str, dict[str, float]]) -> None:
    """The times and memory of a file, and how they compare with ours."""
    print(f"{name} ({size / 1e6:.1f} MB)")
    ours = found["torchmigrate"]
    for reader, numbers in found.items():
        ratio = numbers["seconds"] / ours["seconds"]
        memory = numbers["bytes"] / size
        print(f"  {reader:18} {numbers['seconds'] * 1000:10.2f} ms  x{ratio:<8.3g}  memory {memory:8.2%} of the file")
    print(flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())

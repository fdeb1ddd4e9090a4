"""Mutated models through the whole of `convert --no-onnx`: each gives an answer, and takes neither machine nor time.

    PYTHONPATH=tests python -m fuzzing.fuzz_convert --seconds 600 --jobs 2
    PYTHONPATH=tests python -m fuzzing.fuzz_convert --only 1234 --keep mutant.t7

Mutants are made and converted in processes that are forked from this one, a few in each, with bounds on memory and
time. Where one ends its process, the others go on in a new one. A mutant follows from its number alone.
"""

from __future__ import annotations

import argparse
import copy
import gc
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzzing import mutations

import torchmigrate as tm
from torchmigrate.base.errors import EXIT_BUG, T7Error
from torchmigrate.cli import main as command_line
from torchmigrate.model import registry
from torchmigrate.model.build import Build

FIXTURES = Path(__file__).parents[2] / "fixtures"

#: Bounds of one conversion.
MEMORY, SECONDS = 4 << 30, 30

#: Files that are too large to be converted in a fraction of a second are left out.
_LARGEST = 70_000

#: Codes that a child gives when there is no mutant, and when something else than an exception ended the conversion.
_NO_MUTANT, _ESCAPED = 99, 98

#: So many mutants one child converts: a fork of a process with PyTorch takes as long as one conversion.
_BATCH = 12

_ROOT = Build.root


@dataclass
class Tally:
    """What became of the mutants.

    Attributes:
        mutants: how many were converted, or refused.
        built: how many of them got past `build`.
        codes: exit code -> how often.
        failures: mutants for which torchmigrate has no clean answer: number, and what happened.
        seconds: of the processor, all together.
        most: the highest peak of memory, in bytes, and the longest time of the processor, in seconds.
    """

    mutants: int = 0
    built: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0
    most: tuple[int, float] = (0, 0.0)

    def __str__(self) -> str:
        share = self.built / max(self.mutants, 1)
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(self.codes.items()))
        return (
            f"{self.mutants} mutants, {self.built} past build ({share:.0%}); exit codes {codes}; "
            f"{self.seconds:.0f} s of the processor, at most {self.most[0] >> 20} MiB and {self.most[1]:.1f} s; "
            f"{len(self.failures)} failures"
        )


def corpus() -> list[Any]:
    """Small golden models: the cases of the layers, with the sizes of their inputs, and whole models."""
    found: list[Any] = []
    for file in sorted((FIXTURES / "layers").glob("*.t7")):
        if file.stat().st_size <= _LARGEST:
            cases = [case for case in tm.load(file).list() if isinstance(case, tm.LuaTable)]
            found += [case for case in cases if isinstance(case.get("module"), tm.LuaObject)]
    models = [file for file in sorted((FIXTURES / "models").glob("*.t7")) if file.stat().st_size <= _LARGEST]
    found += [tm.LuaTable([("module", tm.load(file))]) for file in models if ".reference" not in file.name]
    for storage in mutations.Parts(tm.LuaTable.from_list(found)).storages():
        storage.data = np.array(storage.data)  # those of a mapped file can't be copied
    return found


def _shape(value: Any) -> str | None:
    if isinstance(value, tm.Tensor) and value.size:
        return "x".join(map(str, value.size))
    if isinstance(value, tm.LuaTable) and value.is_list and len(value):
        parts = [_shape(item) for item in value.list()]
        return None if None in parts else "{" + ",".join(map(str, parts)) + "}"
    return None


def make(number: int, cases: list[Any], file: Path) -> tuple[str, list[str]] | None:
    """Writes the mutant of a number.

    Returns:
        What was done, and options for it; None if it can't be written.
    """
    rng = random.Random(number)
    case = rng.choice(cases)
    model = case["module"]
    options = []
    if (shape := _shape(case.get("input"))) and rng.random() < 0.7:
        options = ["--input-shape", shape]
    if isinstance(model, tm.LuaObject) and rng.random() < 0.6:
        layers = [model]
        if rng.random() < 0.5:
            layers.append(rng.choice(cases)["module"])
        model = tm.LuaObject("nn.Sequential", tm.LuaTable([("modules", tm.LuaTable.from_list(layers))]))
    value = copy.deepcopy(tm.LuaTable([("model", model)]))  # the next mutant may be made of the same
    try:
        done = mutations.mutate(rng, value)
        tm.dump(value, file)
    except (T7Error, MemoryError):  # the latter where a tensor that was made huge is changed once more
        return None
    return f"{case.get('class', 'model')}: {done} {' '.join(options)}", options


def convert_one(number: int, cases: list[Any], folder: Path) -> int:
    """Makes and converts a mutant; in a child."""
    made = make(number, cases, folder / "model.t7")
    if made is None:
        return _NO_MUTANT
    what, options = made
    (folder / "what.txt").write_text(what)

    def noted(build: Build, obj: Any) -> Any:
        module = _ROOT(build, obj)
        (folder / "built.txt").touch()
        return module

    Build.root = noted  # type: ignore[method-assign]
    words = ["convert", str(folder / "model.t7"), "-o", str(folder / "out"), "--no-onnx", "--json", *options]
    return command_line._run(words)


def _bounded(number: int, cases: list[Any], folder: Path) -> None:
    """Converts a mutant within the bounds, and writes what came of it; in a child."""
    folder.mkdir()
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    before = _used()
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(before) + SECONDS, most))  # which could not be raised again
    code = _ESCAPED
    try:
        code = convert_one(number, cases, folder)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    (folder / "code.txt").write_text(f"{code} {_used() - before}")


def _used() -> float:
    """Seconds of the processor that this process and its children have used."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _child(numbers: list[int], cases: list[Any], folder: Path) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in numbers:
            _bounded(number, cases, folder / str(number))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(_ESCAPED)


class Fuzzer:
    """Converts mutants, several at a time."""

    def __init__(self, jobs: int, folder: Path) -> None:
        self.tally = Tally()
        self.jobs, self.folder = jobs, folder
        self.cases = corpus()
        mutations.CLASSES = tuple(registry.all_converters())
        self._running: dict[int, tuple[list[int], float]] = {}
        warm_up(folder)
        gc.collect()
        gc.freeze()  # or every child would copy what its garbage collector looks at

    def run(self, numbers: range, seconds: float) -> Tally:
        """Converts mutants until the time is over."""
        ends = time.monotonic() + seconds
        for first in range(numbers.start, numbers.stop, _BATCH):
            if time.monotonic() > ends:
                break
            self._start(list(range(first, min(first + _BATCH, numbers.stop))))
        while self._running:
            self._wait()
        return self.tally

    def _start(self, numbers: list[int]) -> None:
        while len(self._running) >= self.jobs:
            self._wait()
        pid = os.fork()
        if pid == 0:
            _child(numbers, self.cases, self.folder)
        self._running[pid] = numbers, time.monotonic()

    def _wait(self) -> None:
        pid, status, used = os.wait4(-1, os.WNOHANG)
        if pid == 0:
            time.sleep(0.005)
            for running, (_, began) in self._running.items():
                if time.monotonic() - began > 10 * SECONDS:  # it waits for something
                    os.kill(running, signal.SIGKILL)
            return
        numbers, _ = self._running.pop(pid)
        for place, number in enumerate(numbers):
            folder = self.folder / str(number)
            ended = folder / "code.txt"
            if ended.exists():
                code, seconds = ended.read_text().split()
                self._count(numbers[: place + 1], int(code), float(seconds), used.ru_maxrss, folder)
                shutil.rmtree(folder)
                continue
            code = os.waitstatus_to_exitcode(status)
            seconds = SECONDS if code == -signal.SIGXCPU else used.ru_utime + used.ru_stime
            self._count(numbers[: place + 1], code, seconds, used.ru_maxrss, folder)
            shutil.rmtree(folder, ignore_errors=True)
            if rest := numbers[place + 1 :]:
                self._start(rest)
            break

    def _count(self, numbers: list[int], code: int, seconds: float, peak: int, folder: Path) -> None:
        """Counts the last mutant of a child, which converted the ones before it too."""
        if code == _NO_MUTANT:
            return
        tally = self.tally
        tally.mutants += 1
        tally.seconds += seconds
        tally.codes[code] += 1
        tally.built += (folder / "built.txt").exists()
        tally.most = max(tally.most[0], peak << 10), max(tally.most[1], seconds)
        if code in (EXIT_BUG, _ESCAPED) or code < 0 or seconds > SECONDS:
            what = (folder / "what.txt").read_text() if (folder / "what.txt").exists() else ""
            log = (folder / "log.txt").read_text(errors="replace")
            told = f"exit {code}, {seconds:.0f} s, at most {peak >> 10} MiB, after {numbers[:-1]}; {what}\n{log}"
            tally.failures.append((numbers[-1], told))


def warm_up(folder: Path) -> None:
    """Converts a model here, so that the children need not import anything."""
    torch.set_num_threads(1)
    layer = tm.LuaObject("nn.Mul", tm.LuaTable([("weight", tm.Tensor.from_numpy(torch.ones(1).numpy()))]))
    tm.dump(layer, folder / "warm.t7")
    words = ["convert", str(folder / "warm.t7"), "-o", str(folder / "warm"), "--no-onnx", "-q", "--input-shape", "2x3"]
    if code := command_line._run(words):
        raise SystemExit(f"nn.Mul gives the exit code {code}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--last", type=int, default=sys.maxsize, help="the number before which it ends")
    parser.add_argument("--only", type=int, help="one mutant, in this process")
    parser.add_argument("--keep", type=Path, help="where to write that mutant")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.only is not None:
            mutations.CLASSES = tuple(registry.all_converters())
            code = convert_one(chosen.only, corpus(), folder)
            print((folder / "what.txt").read_text(), f"exit code {code}", sep="\n")
            if chosen.keep:
                shutil.copy(folder / "model.t7", chosen.keep)
            return 0
        tally = Fuzzer(chosen.jobs, folder).run(range(chosen.first, chosen.last), chosen.seconds)
    for number, what in tally.failures:
        print(f"--- mutant {number}: {what}\n")
    print(tally)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Tasks handed to workers: each file is one answer, and so is the death of its worker."""

from __future__ import annotations

import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..base.processes import PROCESS, is_abandoned, is_alive, locked, process_name
from .outcomes import Outcome
from .worker import LOG, PID, STEP
from .zoo_files import Task

#: Told a task and an empty folder, where it writes what it prints (LOG) and which step it is at (STEP).
Work = Callable[[Task, Path], Outcome]

#: Seconds between two looks at the steps of the workers.
_INTERVAL = 0.2
#: Seconds that workers have to end after their parent was killed.
_GRACE = 20.0


@dataclass(frozen=True)
class Began:
    """A worker began a step of a task."""

    slot: int
    task: Task
    step: str


@dataclass(frozen=True)
class Ended:
    """A task is done."""

    slot: int
    task: Task
    outcome: Outcome


@dataclass(frozen=True)
class Lost:
    """The worker of a task died, or was stopped since it took too long."""

    slot: int
    task: Task
    reason: str
    seconds: float


Event = Began | Ended | Lost


class Workers(Protocol):
    """What runs tasks, `jobs` of them at a time: processes of this machine, or Ray."""

    jobs: int

    def submit(self, work: Work, task: Task, folder: Path) -> Future[Outcome]: ...  # replaces a worker that died
    def kill(self, future: Future[Outcome]) -> None: ...  # once its worker is dead, the future is done
    def is_alive(self, folder: Path) -> bool: ...  # the worker of a folder, as far as is known
    def cause(self, error: Exception) -> str: ...  # why the future has an error instead of an outcome
    def stop(self) -> None: ...  # ends all workers, whatever they are doing


@dataclass
class _Run:
    slot: int
    task: Task
    folder: Path
    began: float
    step: str = ""
    killed: str = ""
    missing: int = 0


def run(
    work: Work, workers: Workers, tasks: Sequence[Task], staging: Path, timeout: float | None
) -> Generator[Event, None, None]:
    """Yields what happens, in the order in which it happens; stops the workers whichever way it is left.

    Args:
        work: called in the workers; must be picklable.
        workers: call it.
        tasks: what it is called with.
        staging: a folder for what is not finished; each running task has one of its own in it.
        timeout: seconds that a task may take, from its first step on; None: as long as it needs.
    """
    own = staging / process_name()
    queue, slots, runs = deque(tasks), deque(range(workers.jobs)), dict[Future[Outcome], _Run]()
    lock = ExitStack()
    try:
        own.mkdir(parents=True, exist_ok=True)
        lock.enter_context(locked(own))
        while queue or runs:
            while queue and slots:
                entry = _Run(slots.popleft(), queue.popleft(), own / str(len(queue)), time.monotonic())
                entry.folder.mkdir(parents=True)
                runs[workers.submit(work, entry.task, entry.folder)] = entry
                yield Began(entry.slot, entry.task, "starting")
            for future in wait(runs, _INTERVAL, FIRST_COMPLETED).done:
                entry = runs.pop(future)
                slots.append(entry.slot)
                yield _end(future, entry, workers)
                shutil.rmtree(entry.folder, ignore_errors=True)
            for future, entry in runs.items():
                if (step := _read(entry.folder / STEP)) and step != entry.step:
                    if not entry.step:  # what a worker takes to get ready is no fault of the file
                        entry.began = time.monotonic()
                    entry.step = step
                    yield Began(entry.slot, entry.task, step)
                # one that is replaced after its task may be gone a moment before its answer is read
                entry.missing = 0 if workers.is_alive(entry.folder) else entry.missing + 1
                if entry.step and timeout is not None and time.monotonic() - entry.began > timeout:
                    entry.killed = f"it took longer than {timeout:g} seconds (--timeout)"
                elif entry.missing > 3:
                    entry.killed = "the worker ended without an answer"
                if entry.killed:
                    workers.kill(future)
    finally:
        workers.stop()
        shutil.rmtree(own, ignore_errors=True)
        lock.close()


def remove_unfinished(staging: Path) -> None:
    """Removes what runs that were killed left in a folder for what is not finished."""
    for own in sorted(staging.glob("*")):
        process = re.fullmatch(PROCESS, own.name)
        if process is None or not is_abandoned(own, process):
            continue
        until = time.monotonic() + _GRACE
        while any(map(_works, own.glob(f"*/{PID}"))) and time.monotonic() < until:
            time.sleep(_INTERVAL)  # a worker ends as soon as it sees that its parent has
        shutil.rmtree(own, ignore_errors=True)


def _works(file: Path) -> bool:
    try:
        return is_alive(int(file.read_text()))
    except (OSError, ValueError):
        return False


def _end(future: Future[Outcome], entry: _Run, workers: Workers) -> Event:
    try:
        return Ended(entry.slot, entry.task, future.result())
    except Exception as error:
        reason = entry.killed or workers.cause(error)
    if not entry.killed and (lines := _read(entry.folder / LOG).splitlines()):
        reason += f"; it said last: {lines[-1][:300]}"
    return Lost(entry.slot, entry.task, reason, round(time.monotonic() - entry.began, 2))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""

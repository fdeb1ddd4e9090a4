"""Worker processes that may die: each file is one answer, and the death of a worker is one too.

`concurrent.futures` gives up the whole pool when a process is killed, as a large model can make the kernel do.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any

from .members import Task
from .outcomes import Outcome

#: Told the task, an empty folder of its own, and whom to tell what begins.
Work = Callable[[Task, Path, Callable[[str], None]], Outcome]

#: A worker is replaced after so many files, since libraries leak.
_FILES_PER_WORKER = 100
#: How long a worker may take to clean up after itself, in seconds.
_PATIENCE = 10.0
_LOG = "output.txt"


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


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    staging: Path
    task: Task | None = None
    began: float = 0.0
    fresh: bool = True
    served: int = 0


@dataclass
class Pool:
    """Runs tasks in processes.

    Attributes:
        work: called in the workers; must be picklable.
        set_up: called in each worker first, without arguments that can't be pickled.
        staging: a folder for what is not finished; each worker has one of its own in it.
        jobs: how many processes.
        timeout: seconds that a task may take; None: as long as it needs.
    """

    work: Work
    set_up: Callable[[], None]
    staging: Path
    jobs: int
    timeout: float | None = None
    _workers: dict[int, _Worker] = field(default_factory=dict)

    def run(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Yields what happens, in the order in which it happens; stops its workers whichever way it is left."""
        queue = list(reversed(tasks))
        try:
            while queue or any(worker.task for worker in self._workers.values()):
                yield from self._hand_out(queue)
                yield from self._listen()
        finally:
            self._stop()

    def _hand_out(self, queue: list[Task]) -> Iterator[Event]:
        for slot in range(self.jobs):
            worker = self._workers.get(slot)
            if not queue or (worker is not None and worker.task is not None):
                continue
            if worker is not None and worker.served >= _FILES_PER_WORKER:
                self._end(slot)
                worker = None
            if worker is None:
                worker = self._workers[slot] = self._start(slot)
            task = queue.pop()
            worker.task, worker.began, worker.served = task, time.monotonic(), worker.served + 1
            _empty(worker.staging)
            try:
                worker.connection.send(task)
            except OSError:
                continue  # it died while it was idle; _listen tells
            yield Began(slot, task, "starting")

    def _start(self, slot: int) -> _Worker:
        staging = self.staging / f"{socket.gethostname()}-{os.getpid()}-{slot}"
        staging.mkdir(parents=True, exist_ok=True)
        context = get_context("spawn")  # torch's threads do not survive a fork
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.work, self.set_up, staging), daemon=True)
        with _interrupts_blocked():
            process.start()
        theirs.close()
        return _Worker(process, ours, staging)

    def _listen(self) -> Iterator[Event]:
        """Waits until something happens, and tells it."""
        busy = {worker.connection: slot for slot, worker in self._workers.items() if worker.task is not None}
        for ready in wait(list(busy), self._remaining()):
            slot = busy[ready]  # type: ignore[index] # wait() gives back what it was given
            yield self._heard(slot)
        for slot, worker in list(self._workers.items()):
            if self._is_late(worker):
                worker.process.kill()
                yield self._lost(slot, f"it took longer than {self.timeout:g} seconds (--timeout)")

    def _remaining(self) -> float | None:
        if self.timeout is None:
            return None
        began = [worker.began for worker in self._workers.values() if worker.task is not None and not worker.fresh]
        return max(0.0, min(began) + self.timeout - time.monotonic()) + 0.05 if began else None

    def _is_late(self, worker: _Worker) -> bool:
        if self.timeout is None or worker.task is None or worker.fresh:
            return False
        return time.monotonic() - worker.began > self.timeout

    def _heard(self, slot: int) -> Event:
        worker = self._workers[slot]
        assert worker.task is not None
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(_PATIENCE)
            return self._lost(slot, _cause_of_death(worker))
        if isinstance(message, str):
            if worker.fresh:  # what a worker takes to get ready is no fault of its first file
                worker.fresh, worker.began = False, time.monotonic()
            return Began(slot, worker.task, message)
        task, worker.task = worker.task, None
        return Ended(slot, task, message)

    def _lost(self, slot: int, reason: str) -> Lost:
        worker = self._workers[slot]
        assert worker.task is not None
        lost = Lost(slot, worker.task, reason, round(time.monotonic() - worker.began, 2))
        worker.task = None
        self._end(slot)
        return lost

    def _end(self, slot: int) -> None:
        worker = self._workers.pop(slot)
        worker.connection.close()
        _join([worker])

    def _stop(self) -> None:
        workers = list(self._workers.values())
        self._workers.clear()
        for worker in workers:
            if worker.task is not None:
                worker.process.terminate()
            worker.connection.close()  # an idle one reads the end of its tasks
        _join(workers)


def _join(workers: Sequence[_Worker]) -> None:
    until = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.process.join(max(0.1, until - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        shutil.rmtree(worker.staging, ignore_errors=True)


def _cause_of_death(worker: _Worker) -> str:
    code = worker.process.exitcode
    said = ""
    try:
        lines = (worker.staging / _LOG).read_text("utf-8", errors="replace").strip().splitlines()
        said = f"; it said last: {lines[-1][:300]}" if lines else ""
    except OSError:
        pass
    if code == -signal.SIGKILL:
        return f"the worker was killed (signal 9), perhaps since the memory ran out: try fewer --jobs{said}"
    if code is not None and code < 0:
        return f"the worker was ended by signal {-code} ({signal.Signals(-code).name}){said}"
    return f"the worker ended with code {code}{said}"


def _empty(folder: Path) -> None:
    for item in folder.iterdir():
        if item.name != _LOG:
            shutil.rmtree(item) if item.is_dir() else item.unlink()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process that is started here never sees Ctrl-C, which a terminal sends to all: its parent says who stops."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, work: Work, set_up: Callable[[], None], staging: Path) -> None:
    """What a worker process runs: task after task, until there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    _be_quiet(staging / _LOG)
    set_up()
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return  # the parent is gone, or has no more
        connection.send(work(task, staging, connection.send))


def _leave(signum: int, frame: FrameType | None) -> Any:
    raise SystemExit(128 + signum)


def _be_quiet(log: Path) -> None:
    """What libraries print goes to a file: the terminal belongs to the parent."""
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)

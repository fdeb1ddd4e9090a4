"""Workers that are processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from types import FrameType

from pebble import ProcessExpired, ProcessPool
from pebble.pool.process import WORKERS_NAME

from .outcomes import Outcome
from .worker import PID, set_up
from .worker_pool import Work
from .zoo_files import Task

#: A worker is replaced after as many files, since libraries leak.
FILES_PER_WORKER = 100


class Processes:
    """Runs tasks in processes of this machine.

    Attributes:
        jobs: how many processes.
    """

    def __init__(self, jobs: int, threads: int) -> None:
        self.jobs = jobs
        self._threads = threads
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPool:
        context = get_context("spawn")  # torch's threads do not survive a fork
        return ProcessPool(self.jobs, FILES_PER_WORKER, _begin, (self._threads,), context)

    def submit(self, work: Work, task: Task, folder: Path) -> Future[Outcome]:
        with _interrupts_blocked():
            if not self._pool.active:  # a worker died before it had a task
                self.stop()
                self._pool = self._new_pool()
            return self._pool.schedule(_call, (work, task, folder))

    def kill(self, future: Future[Outcome]) -> None:
        future.cancel()

    def is_alive(self, folder: Path) -> bool:
        """Pebble itself asks too, but waits for ever for the answer of a process that ended with code 0."""
        with suppress(OSError, ValueError):
            return int((folder / PID).read_text()) in {child.pid for child in active_children()}
        return True

    def cause(self, error: Exception) -> str:
        if not isinstance(error, ProcessExpired):
            return f"{type(error).__name__}: {error}"
        code = error.exitcode
        if code == -signal.SIGKILL:
            return "the worker was killed (signal 9), perhaps since the memory ran out: try fewer --jobs"
        if code < 0:
            return f"the worker was ended by signal {-code} ({signal.Signals(-code).name})"
        return f"the worker ended with code {code}"

    def stop(self) -> None:
        self._pool.stop()
        # before pebble takes away the lock that a worker opens as it starts, which it would write an error about
        for child in active_children():
            if child.name == WORKERS_NAME:
                child.terminate()
        self._pool.join()


def _begin(threads: int) -> None:
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_up(threads, Path(os.devnull))


def _end_with_parent() -> None:
    """A worker whose parent was killed has nobody to answer to; another run may begin with its file."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _leave(signum: int, frame: FrameType | None) -> None:
    """Unlike the exit of pebble, lets temporary files be removed."""
    raise SystemExit(128 + signum)


def _call(work: Work, task: Task, folder: Path) -> Outcome:
    (folder / PID).write_text(str(os.getpid()))
    try:
        return work(task, folder)
    except SystemExit as error:  # pebble would go on to the next task
        os._exit(error.code if isinstance(error.code, int) else 1)


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

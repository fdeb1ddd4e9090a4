"""Whole collections of .t7 files: converted in processes, resumed where a run ended, summed up in one table."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType

from ..base.download import is_url
from ..base.errors import EXIT_BUG, UsageError
from ..base.folder_files import COLLECTION
from ..base.output_file import clear_errors, folders_above
from ..base.output_folder import check_folder
from ..folder.run import ConvertOptions
from .local_processes import Processes
from .outcomes import DIED, Outcome
from .summary import ZooSummary
from .worker import Converter
from .worker_pool import Began, Ended, Event, Lost, Workers, remove_unfinished, run
from .zoo_files import Shard, Task, listed, plan

__all__ = ["Began", "Ended", "Event", "Lost", "Shard", "Task", "ZooSummary", "convert_all", "listed", "plan"]


def convert_all(
    sources: Sequence[str],
    folder: Path,
    options: ConvertOptions,
    *,
    jobs: int | None = None,
    ray: str | None = None,
    shard: Shard | None = None,
    timeout: float | None = None,
    lists: Sequence[Path] = (),
    watch: Callable[[Event, int], None] | None = None,
) -> ZooSummary:
    """Converts many files, each into a folder of its own below `folder`, and writes summary.json and summary.html.

    A file that fails is a row of the summary, and so is one whose worker process dies. What an earlier run with the
    same options converted is left as it is. Ctrl-C (or SIGTERM) ends the run; what is done is kept and summed up.

    Args:
        sources: paths and URLs; see `listed`.
        folder: where to write.
        options: as for a single file; a `reference` belongs to a single file.
        jobs: how many at a time; None: one, or as many as a cluster of Ray has processors.
        ray: address of a Ray to run on: "local" starts one, "auto", "ray://…" and "host:port" are one that runs; None:
            processes of this machine.
        shard: the part of the list that is to be converted; None: all.
        timeout: seconds that a file may take; None: as long as it needs.
        lists: files that the sources were read from; they must not be below `folder` either.
        watch: told each event, and how many tasks there are.

    Raises:
        UsageError: there is nothing to convert, an option has no meaning for many files, or there is no Ray.
    """
    if options.reference is not None:
        raise UsageError("--reference belongs to one file. For several, keep model.reference.t7 beside model.t7.")
    everything = plan(sources)
    part = shard or Shard()
    tasks = part.of(everything)
    if not everything:
        raise UsageError("There is nothing to convert: give .t7 files, folders that hold some, or URLs.")
    inputs = [source for source in sources if not is_url(source)]
    check_folder(
        folder,
        force=options.force,
        inputs=[*inputs, *lists, *options.plugins, *options.lua, options.labels, options.torch7_source],
        collection=True,
    )
    state = folder / COLLECTION
    with _made(state):
        options = dataclasses.replace(
            options,
            plugins=tuple(Path(path).resolve() for path in options.plugins),
            lua=tuple(Path(path).resolve() for path in options.lua),
            torch7_source=None if options.torch7_source is None else Path(options.torch7_source).resolve(),
        )
        threads = 1 if ray else max(1, (os.cpu_count() or 1) // (jobs or 1))
        staging = state / "unfinished"
        remove_unfinished(staging)
        workers = _workers(ray, jobs, len(tasks), threads)
        outcomes: dict[str, Outcome] = {}
        interrupted = False
        try:
            with (
                _terminated_like_interrupted(),
                closing(run(Converter(folder, options, threads), workers, tasks, staging, timeout)) as events,
            ):
                for event in events:
                    if isinstance(event, Ended):
                        outcomes[event.task.name] = event.outcome
                    elif isinstance(event, Lost):
                        lost = Outcome(event.task.source, event.task.name, DIED, EXIT_BUG, event.reason)
                        outcomes[event.task.name] = dataclasses.replace(lost, seconds=event.seconds)
                    if watch is not None:
                        watch(event, len(tasks))
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if staging.is_dir() and not any(staging.iterdir()):  # other machines may be at work in it
                shutil.rmtree(staging, ignore_errors=True)
        done = [outcomes[task.name] for task in tasks if task.name in outcomes]
        waiting = [task.source for task in tasks if task.name not in outcomes]
        summary = ZooSummary(done, waiting, part, len(everything), interrupted)
        summary.write(folder)
    return summary


@contextmanager
def _made(state: Path) -> Iterator[None]:
    """The folder for the records of a collection; without any, it vanishes again when the block fails."""
    with folders_above(state):
        with clear_errors(state):
            state.mkdir(exist_ok=True)
        try:
            yield
        except BaseException:
            with suppress(OSError):
                state.rmdir()
            raise


def _workers(ray: str | None, jobs: int | None, tasks: int, threads: int) -> Workers:
    if ray is None:
        return Processes(max(1, min(jobs or 1, tasks)), threads)
    from .ray_cluster import Cluster

    return Cluster(ray, jobs)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Schedulers end a job with SIGTERM: it ends as with Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt

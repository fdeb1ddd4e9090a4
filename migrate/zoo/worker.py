"""What a worker does with one file: fetch it, convert it in a folder of its own, put the folder in its place."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from ..base.download import is_url, local_copy
from ..base.errors import (
    EXIT_BUG,
    EXIT_EXPORT,
    EXIT_UNREADABLE,
    EXIT_UNSUPPORTED,
    EXIT_USAGE,
    ModelNotFound,
    Refusal,
    TorchMigrateError,
    UnsupportedLayers,
    UsageError,
)
from ..base.files import disk_refusal, no_temporary_folder, reference_beside
from ..base.memory import memory_refusal
from ..base.messages import shell_words, why_not_opened
from ..base.output_folder import MEMBER, read_marker, recover
from ..folder.run import ConvertedFolder, ConvertOptions, Progress, convert_file
from ..model.convert import sha256
from .outcomes import CONVERTED, NOT_PROVEN, PARITY_FAILED, Outcome, fingerprint, read_record, shorten, write_record
from .zoo_files import Task

_STATUS = {
    EXIT_UNREADABLE: "unreadable",
    EXIT_UNSUPPORTED: "unsupported",
    EXIT_EXPORT: "export failed",
    EXIT_USAGE: "needs an option",
}

#: In the folder of a task: what was printed, the process, which step it is at, and what is not finished.
LOG = "output.txt"
PID = "pid.txt"
STEP = "step.txt"
_UNFINISHED = "unfinished"


@dataclasses.dataclass(frozen=True)
class Converter:
    """Converts one task after the other, in whatever worker it is called.

    Attributes:
        folder: the output folder of the zoo.
        options: as for a single file.
        threads: of torch.
    """

    folder: Path
    options: ConvertOptions
    threads: int

    def __call__(self, task: Task, folder: Path) -> Outcome:
        """Converts one file.

        Args:
            task: what to convert.
            folder: an empty one for LOG, STEP and what is not finished.

        Returns:
            What became of it; every error of the file ends here.
        """
        set_up(self.threads, folder / LOG)
        step = partial(_note, folder / STEP)
        step("starting")
        staging = folder / _UNFINISHED
        staging.mkdir()
        began = time.monotonic()
        outcome = Outcome(task.source, task.name, "fault", EXIT_BUG)
        try:
            if (before := self._convert(task, staging, step, outcome)) is not None:
                return before
        except TorchMigrateError as error:
            _blame(outcome, error)
        except Exception as error:
            outcome.message = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
            if memory := memory_refusal(error):
                _blame(outcome, memory)
            if refusal := disk_refusal(error):
                _blame(outcome, UsageError(f"It can't be written: {refusal}."))
            elif refusal := no_temporary_folder():
                _blame(outcome, UsageError(refusal))
        outcome.seconds = round(time.monotonic() - began, 2)
        shorten(outcome)
        with suppress(OSError):  # without a record, another run converts the file again
            write_record(self.folder, outcome, staging)
        return outcome

    def _convert(self, task: Task, staging: Path, step: Progress, outcome: Outcome) -> Outcome | None:
        """Fills in the outcome, or returns that of an earlier run."""
        options = self.options
        file = local_copy(task.source, step, options.max_download) if is_url(task.source) else Path(task.source)
        step("reading")
        if not file.is_file():
            why = why_not_opened(file, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
            raise UsageError(f"{file} can't be read: {why}.")
        options = self.options
        outcome.sha256, outcome.size = sha256(file), file.stat().st_size
        outcome.options = fingerprint(options, reference_beside(file))
        before = read_record(self.folder, task.name)
        target = self.folder / task.name
        recover(Path(os.path.realpath(target)))
        if before is not None and self._is_done(before, outcome):
            return dataclasses.replace(before, resumed=True, source=task.source)
        marker = read_marker(target)
        # a run that was killed may have written the folder and no record
        ours = (before is not None and before.has_folder) or (marker is not None and marker.kind == MEMBER)
        options = dataclasses.replace(options, force=options.force or ours)
        _describe(outcome, convert_file(file, target, options, step, kind=MEMBER, work=staging))
        return None

    def _is_done(self, before: Outcome, now: Outcome) -> bool:
        same = (before.sha256, before.options) == (now.sha256, now.options)
        return same and before.has_folder and (self.folder / now.name).is_dir() and not self.options.force


def _describe(outcome: Outcome, result: ConvertedFolder) -> None:
    outcome.status = PARITY_FAILED if not result.passed else NOT_PROVEN if result.unproven else CONVERTED
    outcome.exit_code = result.exit_code
    outcome.key = result.conversion.key
    outcome.parameters = result.conversion.parameter_count
    outcome.not_run = result.not_run
    if result.report is not None:
        outcome.reference = result.report.reference.kind
        outcome.verdict = result.report.verdict.title
        outcome.message = result.report.details()
    _refuse(outcome, result.conversion.refusals)


def _blame(outcome: Outcome, error: TorchMigrateError) -> None:
    outcome.exit_code = error.exit_code
    outcome.status = _STATUS.get(error.exit_code, "fault")
    if isinstance(error, ModelNotFound) and not error.keys:
        outcome.status = "no model"
    outcome.message = shell_words(str(error))
    if isinstance(error, UnsupportedLayers):
        _refuse(outcome, error.refusals)


def _refuse(outcome: Outcome, refusals: Sequence[Refusal]) -> None:
    outcome.refused = [(refusal.path, refusal.typename, refusal.reason) for refusal in refusals]
    outcome.missing = dict(Counter(refusal.typename for refusal in refusals if not refusal.known))


def _note(file: Path, step: str) -> None:
    file.write_text(step, encoding="utf-8")


def set_up(threads: int, log: Path) -> None:
    """What a worker does first: sends what libraries print to a file, takes its share of the processor."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    import torch

    torch.set_num_threads(threads)

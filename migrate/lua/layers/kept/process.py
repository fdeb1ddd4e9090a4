"""The process of a layer that runs its Lua, as the program sees it that started it."""

from __future__ import annotations

import io
import itertools
import os
import threading
import weakref
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from subprocess import Popen
from typing import Any

from ....base.errors import LimitExceeded
from ....t7 import LuaObject, LuaTable, Value
from ....t7.writing.dump import dump
from ...limits import LuaLimits
from ...sandbox import judged, read_answer, send, started, stopped_when_late


class LuaProcess:
    """A process in which the objects of one layer live; it ends with this object, or when a limit is met.

    Args:
        layer: the layer of the file.
        files: the author's files, by full paths.
        limits: what each answer may use.
    """

    def __init__(self, layer: LuaObject, files: Iterable[Path], limits: LuaLimits) -> None:
        self._layer = layer
        self._files = [str(file) for file in files]
        self._limits = limits
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._process: Popen[bytes] | None = None
        self._owner = 0
        self._ended = ""
        self._forgotten: list[int] = []

    def number(self) -> int:
        """A number for an object."""
        return next(self._numbers)

    def described(self) -> dict[str, Any]:
        """Where the parameters of the layer are; starts the process.

        Raises:
            LuaFailed: a file ended with an error, or does not define the class.
            LimitExceeded: the Lua was stopped.
        """
        with self._lock:
            return self._begin()

    def ask(self, request: dict[str, Any], numbers: LuaTable | None = None) -> Any:
        """Has the process do something.

        Raises:
            LuaFailed: the Lua ended with an error.
            LimitExceeded: the Lua was stopped; what the objects kept is lost, and nothing more is answered.
        """
        with self._lock:
            if self._process is None:
                self._begin()
            forgotten, self._forgotten = self._forgotten, []
            request = {**request, "forget": forgotten}
            return self._exchange(request, _bytes(numbers) if numbers is not None else b"")[1]

    @property
    def runs(self) -> bool:
        """Has it been started, so that there may be state?"""
        return self._process is not None

    def forget(self, number: int) -> None:
        """Says that an object is not needed any more; the garbage collector may call it while something is asked."""
        self._forgotten.append(number)

    def close(self) -> None:
        """Ends the process; it is started again, with the objects of the file, if something is asked."""
        process, self._process, self._ended = self._process, None, ""
        if process is not None:
            _end(process)

    def _begin(self) -> dict[str, Any]:
        if self._ended:
            raise LimitExceeded(self._ended)
        self._process = process = started()
        self._owner = os.getpid()
        weakref.finalize(self, _end, process)
        folders = list(dict.fromkeys(str(Path(file).parent) for file in self._files))
        job = {"layer": "keep", "files": self._files, "folders": folders, "limits": asdict(self._limits)}
        try:
            return self._exchange(job, _bytes(LuaTable([("layer", self._layer)])))[0]
        except BaseException:
            self.close()
            raise

    def _exchange(self, request: dict[str, Any], numbers: bytes) -> tuple[dict[str, Any], Value]:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        if self._owner != os.getpid():
            raise RuntimeError("a layer that runs its Lua can't be used in a process that was forked from its own")
        late = threading.Event()
        try:
            with stopped_when_late(process, self._limits, late):
                send(process, request, numbers)
                said, result = read_answer(process.stdout, self._limits)
        except BaseException:  # what it answers now would be taken for the answer to something else
            _end(process)
            self._process, self._ended = None, "the process of a layer that runs its Lua was interrupted; close() it"
            raise
        if said is None or late.is_set() or "limit" in said:
            _end(process)
            self._process = None
            self._ended = "the process of a layer that runs its Lua was stopped before; its close() allows another"
        return judged(said, result, self._limits, late=late.is_set(), code=process.returncode or 0)


def _bytes(value: LuaTable) -> bytes:
    stream = io.BytesIO()
    dump(value, stream)
    return stream.getvalue()


def _end(process: Popen[bytes]) -> None:
    """Ends a process, and closes what leads to it."""
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    process.wait()

"""Workers on Ray: one of this machine alone, or a cluster that sees the same files."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from concurrent.futures import Future, wait
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from ..base.errors import UsageError
from ..model.registry import NO_PLUGINS
from .local_processes import FILES_PER_WORKER
from .outcomes import Outcome
from .worker_pool import Work
from .zoo_files import Task

#: Without the first, Ray listens on all interfaces even where it serves one machine only; without the second, some
#: versions hide the GPUs.
_LOCAL = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
_MEMORY = 1 << 27  # for results, which are small; Ray would take a third of what there is
_PATIENCE = 10.0


class Cluster:
    """Runs tasks on Ray, each on one processor.

    Attributes:
        jobs: how many at a time.
    """

    def __init__(self, address: str, jobs: int | None) -> None:
        """Connects to Ray.

        Args:
            address: "local" starts a Ray of this machine that listens on the loopback interface alone; "auto",
                "ray://…" and "host:port" are one that runs.
            jobs: how many tasks at a time; None: as many as there are processors, on "local" one.

        Raises:
            UsageError: Ray is not installed, or not there.
        """
        local = address == "local"
        os.environ.update(RAY_USAGE_STATS_ENABLED="0", **(_LOCAL if local else {}))
        try:
            import ray
        except ImportError as error:
            raise UsageError("--ray needs Ray: pip install 'ray[client]'.") from error
        before = signal.getsignal(signal.SIGTERM)
        with ExitStack() as stack:
            settings: dict[str, Any] = {}
            if local:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
                settings = {"num_cpus": jobs or 1, "include_dashboard": False, "object_store_memory": _MEMORY}
                settings["_temp_dir"] = folder
            stack.enter_context(redirect_stdout(sys.stderr))  # where Ray tells of dead workers, among other things
            stack.callback(ray.shutdown)
            try:
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **settings)
            except Exception as error:
                raise UsageError(f"There is no Ray at {address}: {error}") from error
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray has set its own
            if local and ray.util.get_node_ip_address() != "127.0.0.1":
                names = " ".join("=".join(pair) for pair in _LOCAL.items())
                raise UsageError(f"Ray was imported before and would listen on the network; set {names} before that.")
            self._stack = stack.pop_all()
        self.jobs = jobs or (1 if local else max(1, int(ray.cluster_resources().get("CPU", 1))))
        self._ray = ray
        self._call = ray.remote(num_cpus=1, max_retries=0, max_calls=FILES_PER_WORKER)(_call)
        self._calls: dict[Future[Outcome], ray.ObjectRef[Outcome]] = {}

    def submit(self, work: Work, task: Task, folder: Path) -> Future[Outcome]:
        call = self._call.remote(Path.cwd(), _settings(), work, task, folder)
        future: Future[Outcome] = call.future()
        self._calls[future] = call
        return future

    def kill(self, future: Future[Outcome]) -> None:
        self._ray.cancel(self._calls[future], force=True)

    def is_alive(self, folder: Path) -> bool:
        return True  # Ray itself notices

    def cause(self, error: Exception) -> str:
        if isinstance(cause := getattr(error, "cause", None), Exception):
            return f"{type(cause).__name__}: {cause}"
        return f"Ray says: {str(error).strip().splitlines()[0].partition('. ')[0]}"

    def stop(self) -> None:
        left = [future for future in self._calls if not future.done()]
        for future in left:
            self.kill(future)
        wait(left, _PATIENCE)
        self._stack.close()


def _settings() -> dict[str, str]:
    """What of the environment is an option of this run; Ray's workers have the environment of their own machine."""
    return {name: os.environ[name] for name in (NO_PLUGINS,) if name in os.environ}


def _call(folder: Path, settings: dict[str, str], work: Work, task: Task, staging: Path) -> Outcome:
    os.environ.update(settings)
    os.chdir(folder)  # paths are as they were given
    return work(task, staging)

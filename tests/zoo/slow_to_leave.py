"""Work for a pool of one file for each worker, of which one takes long to leave."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from torchmigrate.zoo import local_processes


def work(task: str, folder: Path) -> int:
    if task == "slow":
        try:
            time.sleep(60)
        finally:
            time.sleep(2)
    return 1


def main(waits: list[float]) -> None:
    """Stops a pool so many seconds after one of its two workers was done and replaced."""
    local_processes.FILES_PER_WORKER = 1
    for wait in waits:
        pool = local_processes.Processes(2, 1)
        with tempfile.TemporaryDirectory() as slow, tempfile.TemporaryDirectory() as quick:
            pool.submit(work, "slow", Path(slow))  # type: ignore[arg-type]
            while not (Path(slow) / local_processes.PID).exists():
                time.sleep(0.05)
            pool.submit(work, "quick", Path(quick)).result(30)  # type: ignore[arg-type]
            time.sleep(wait)
            pool.stop()


if __name__ == "__main__":
    main([float(word) for word in sys.argv[1:]])

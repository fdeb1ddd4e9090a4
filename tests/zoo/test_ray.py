"""The same tasks on a Ray of this machine with two workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import deadly
import lua
import pytest

import torchmigrate as tm
from torchmigrate.base.folder_files import COLLECTION as STATE
from torchmigrate.cli import main as cli
from torchmigrate.zoo import ray_cluster as cluster

ON_RAY = [sys.executable, "-m", "torchmigrate", "convert", "--ray", "local", "--jobs", "2", "--source-only"]

#: 127.0.0.1, also as an address of IPv6, and ::1, as Linux prints them.
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def start(*words: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*ON_RAY, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        start_new_session=True,
    )


def family(pid: int) -> set[int]:
    """A process and its descendants."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(pids: set[int]) -> set[str]:
    """The addresses on which processes listen, as Linux prints them."""
    sockets = set()
    for link in (link for pid in pids for link in Path(f"/proc/{pid}/fd").glob("*")):
        try:
            sockets.add(os.readlink(link))
        except OSError:
            continue
    rows = [row.split() for table in ("tcp", "tcp6") for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


@pytest.mark.slow
def test_a_worker_on_ray_that_dies_is_one_row(tmp_path: Path) -> None:
    process = start(*deadly.files(tmp_path), "-o", "out", "--timeout", 20, "--json", cwd=tmp_path)
    addresses: set[str] = set()
    until = time.monotonic() + 300
    while True:
        try:
            printed, errors = process.communicate(timeout=0.5)
            break
        except subprocess.TimeoutExpired:
            assert time.monotonic() < until
            addresses |= listening(family(process.pid))
    assert process.returncode == 70
    assert "Traceback" not in errors
    messages = deadly.messages_of(printed)
    assert messages.pop("sleeper") == "it took longer than 20 seconds (--timeout)"
    assert messages["bomb"].endswith("; it said last: tick")
    assert all(message.startswith("Ray says: The worker died unexpectedly") for message in messages.values())
    assert not (tmp_path / "out" / STATE / "unfinished").exists()
    assert addresses
    assert addresses <= LOOPBACK


@pytest.mark.slow
def test_a_run_on_ray_is_ended_and_goes_on(tmp_path: Path) -> None:
    deadly.files(tmp_path)
    words = ("last0.t7", "sleeper.t7", "-o", "out", "--plugin", "plugin.py", "--json")
    process = start(*words, cwd=tmp_path)
    until = time.monotonic() + 300
    while not (tmp_path / "out" / STATE / "last0.json").exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    time.sleep(2)
    os.killpg(process.pid, signal.SIGTERM)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert '"waiting": [\n  "sleeper.t7"\n ]' in printed
    assert not (tmp_path / "out" / STATE / "unfinished").exists()
    tm.dump(lua.linear(3, 2), tmp_path / "sleeper.t7")
    process = start(*words, cwd=tmp_path)
    printed, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    assert '"resumed": 1' in printed
    assert '"converted": 2' in printed


def test_without_ray_the_message_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("RAY_USAGE_STATS_ENABLED", *cluster._LOCAL):
        monkeypatch.setenv(name, "")  # so that what is set is forgotten afterwards
    tm.dump(lua.linear(3, 2), tmp_path / "net.t7")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["convert", str(tmp_path / "net.t7"), "-o", str(tmp_path / "out"), "--ray", "local"])
    assert stopped.value.code == 2
    assert "pip install 'ray[client]'" in capsys.readouterr().err
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"

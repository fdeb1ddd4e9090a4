"""Generated source runs in a child process, which can neither change anything nor take this one with it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import lua
import pytest
import torch

import torchmigrate as tm
from torchmigrate.source import child_process, generate
from torchmigrate.source.child_process import check_apart
from torchmigrate.source.examples import Example

MODEL = """
import torch
from torch import nn
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(600, 500)
    def forward(self, x):
        {line}
        return self.fc(x) / x.shape[1]
"""
STATE = {"fc.weight": torch.randn(500, 600), "fc.bias": torch.randn(500)}

in_fork = pytest.mark.skipif(sys.platform != "linux", reason="PyTorch survives a fork on Linux only")


def example() -> list[Example]:
    x = torch.randn(200, 600)
    return [Example(x, torch.nn.functional.linear(x, STATE["fc.weight"], STATE["fc.bias"]) / 600)]


@pytest.fixture(params=[pytest.param("fork", marks=in_fork), pytest.param("new process", marks=pytest.mark.slow)])
def child(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Each kind of child, in an empty folder that stays empty."""
    monkeypatch.chdir(tmp_path)
    if request.param == "fork":
        monkeypatch.setattr(child_process, "_ask_new_process", unreachable)
    else:
        monkeypatch.setattr(child_process, "_ask_fork", no_fork)
    yield request.param
    assert list(tmp_path.iterdir()) == []


def unreachable(*_: object) -> None:
    raise child_process._Died("not this way")


def no_fork(*_: object) -> None:
    return None


def test_it_finds_what_differs(child: str) -> None:
    assert check_apart(MODEL.format(line=""), STATE, example()).reason == ""
    assert check_apart(MODEL.format(line="x = x * 1.0000002"), STATE, example()).reason == "its output would differ"
    assert check_apart(MODEL.format(line="return x, x"), STATE, example()).reason == "it would return another structure"
    other = {**STATE, "fc.bias": STATE["fc.bias"].double()}
    found = check_apart(MODEL.format(line=""), other, example())
    assert (found.owner, found.dtype) == ("fc", "float64")


def test_it_computes_on_as_many_threads_as_this_process_to_the_same_bits(child: str) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        found = example()  # starts the threads of this process, none of which a fork has
        assert check_apart(MODEL.format(line="assert torch.get_num_threads() == 4"), STATE, found).reason == ""
    finally:
        torch.set_num_threads(before)


ATTACKS = {
    "import os; os.system('touch pwned')": "PermissionError: os.system is closed to generated source",
    "import subprocess; subprocess.run(['touch', 'pwned'])": "PermissionError: subprocess.Popen is closed",
    "import os; os.mkdir('pwned')": "PermissionError: os.mkdir is closed",
    "open('pwned', 'w').write('x')": "PermissionError: generated source writes no files",
    "import socket; socket.create_connection(('127.0.0.1', 9))": "PermissionError: socket",
    "import os; os.kill(os.getppid(), 9)": "PermissionError: os.kill is closed",
    "import ctypes; ctypes.string_at(0)": "PermissionError: ctypes",
    "raise SystemExit(0)": "the source could not be checked",
    "import os; os._exit(0)": "the source could not be checked",
    "import os; os.abort()": "the source could not be checked",
    "x = torch.zeros(3)(": "SyntaxError",
}


@pytest.mark.parametrize("line", ATTACKS)
def test_what_source_may_not_do(line: str, child: str) -> None:
    assert check_apart(MODEL.format(line=line), STATE, example()).reason.startswith(ATTACKS[line])


def test_memory_is_bounded(child: str) -> None:
    with pytest.raises(MemoryError, match="allocate"):
        check_apart(MODEL.format(line="torch.empty(1 << 43)"), STATE, example())


@in_fork
def test_a_fork_that_stands_still_is_replaced_by_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does that waits for what another thread held."""
    asked = []

    def ask(*_: object) -> child_process.Finding:
        asked.append("new process")
        return child_process.Finding()

    monkeypatch.setattr(child_process, "_STUCK", 0.5)
    monkeypatch.setattr(child_process, "_ask_new_process", ask)
    assert check_apart(MODEL.format(line="import time; time.sleep(60)"), STATE, example()).reason == ""
    assert asked == ["new process"]


@in_fork
def test_source_without_an_end_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, children = os.fork, []

    def noted() -> int:
        children.append(fork())
        return children[-1]

    monkeypatch.setattr(os, "fork", noted)
    monkeypatch.setattr(child_process, "_LONGEST", 1.0)
    found = check_apart(MODEL.format(line="while True: pass"), STATE, example())
    assert found.reason == "the source could not be checked: it ran longer than 1 seconds"
    (child,) = children
    with pytest.raises(ChildProcessError):  # it is gone
        os.waitpid(child, os.WNOHANG)


def test_no_source_of_a_conversion_runs_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    write = generate.file_text
    line = f"\nimport os, sys\nsys.ran_here = True\nassert os.getpid() != {os.getpid()}, 'in this process'\n"
    monkeypatch.setattr(generate, "file_text", lambda *args, **options: write(*args, **options) + line)
    source = generate.generate(tm.convert(lua.sequential(lua.linear(3, 5))), torch.ones(2, 3, dtype=torch.float64))
    assert source.structured, source.reason
    assert not hasattr(sys, "ran_here")


@in_fork
def test_beside_other_threads() -> None:
    """Newer Pythons warn of a fork beside them; tests make errors of warnings."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert check_apart(MODEL.format(line=""), STATE, example()).reason == ""
    finally:
        done.set()
        thread.join()

"""An author's Lua can't get out, and can't take the machine down."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attacks import FAULTS, NOT_READ, NOT_THERE, RECURSIVE_GSUB, REFUSED, SEARCH
from lua_runtimes import evaluated, runtime

import torchmigrate as tm
from torchmigrate.base.errors import LimitExceeded

pytest.importorskip("lupa")

from torchmigrate.lua.limits import LuaLimits
from torchmigrate.lua.result import CantLeave
from torchmigrate.lua.runtime import LuaStopped, Runtime
from torchmigrate.lua.sandbox import LuaFailed, run


@pytest.fixture(params=["lua51", pytest.param("luajit21", marks=pytest.mark.slow)])
def dialect(request: pytest.FixtureRequest) -> str:
    """The Lua that runs an attack."""
    found: str = request.param
    if importlib.util.find_spec(f"lupa.{found}") is None:
        pytest.skip("the wheel of lupa for this system does not hold it")
    return found


@pytest.mark.parametrize("text", REFUSED)
def test_it_is_refused(text: str, dialect: str) -> None:
    if dialect == "luajit21" and text == RECURSIVE_GSUB:  # its stack overflows, and the process ends
        with pytest.raises((LuaFailed, LimitExceeded)):
            job(f"(function() {text} end)()", dialect)
        return
    limits = LuaLimits(lua_bytes=32 << 20, elements=1 << 24, cpu_seconds=20)
    with pytest.raises(LuaStopped):
        evaluated(runtime(limits=limits, dialect=dialect), text)


@cache
def untouched(dialect: str) -> Runtime:
    return runtime(dialect=dialect)


@pytest.mark.parametrize("name", NOT_THERE)
def test_it_is_not_there(name: str, dialect: str) -> None:
    assert evaluated(untouched(dialect), f"return {name} == nil") == [True]


@pytest.mark.parametrize("text", FAULTS)
def test_errors_of_python_are_text(text: str, dialect: str) -> None:
    assert evaluated(untouched(dialect), text) == ["string"]


@pytest.mark.parametrize("text", NOT_READ)
def test_what_can_not_be_read_is_not_known(text: str, dialect: str) -> None:
    with pytest.raises(CantLeave, match="from data that are not"):
        evaluated(runtime(dialect=dialect), f"return {text}")
    with pytest.raises(LuaStopped, match="only data tell"):
        evaluated(runtime(dialect=dialect), f"local x = {text} if x then return 1 end return 2")


def test_what_stands_behind_a_tensor_is_not_seen(dialect: str) -> None:
    assert evaluated(runtime(dialect=dialect), SEARCH) == [""]


def test_what_is_absent_does_nothing_and_enters_no_result() -> None:
    lua = runtime()
    assert evaluated(lua, "local ffi = require 'ffi' ffi.cdef('int getpid();') return tostring(ffi)") == ["<ffi>"]
    assert lua.missing == ["ffi"]
    with pytest.raises(CantLeave, match=r"the result\.a comes from a package that is not there"):
        evaluated(lua, "return {a = require('ffi').C}")
    with pytest.raises(LuaStopped, match="a value of a package that is absent was given to torch"):
        evaluated(lua, "return torch.zeros(2):add(require('ffi').C)")


def test_links_that_lead_outside_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.lua").write_text("return 1")
    (tmp_path / "in" / "link.lua").symlink_to(tmp_path / "secret.lua")
    with pytest.raises(LuaStopped, match="cannot open"):
        evaluated(runtime(tmp_path / "in"), "return dofile('link.lua')")


@pytest.mark.slow
def test_a_loop_in_a_coroutine_is_stopped(dialect: str) -> None:
    lua = runtime(limits=LuaLimits(cpu_seconds=1), dialect=dialect)
    with pytest.raises(LuaStopped, match="more than 1 s"):
        evaluated(lua, "local co = coroutine.wrap(function() while true do end end) co()")


JOB = {"folders": ["."], "default_type": "float"}


def job(text: str, dialect: str = "lua51", **limits: int) -> Any:
    return run({**JOB, "call": text, "dialect": dialect}, LuaLimits(**limits))


@pytest.mark.slow
def test_its_process_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "1")
    said, made = job(
        "{a = torch.range(1, 3), b = os.getenv('A_SECRET') == nil, c = 'x\\195\\164\\255'}, print('hello')"
    )
    assert made["model"]["a"].numpy().tolist() == [1, 2, 3]
    assert made["model"]["b"] is True
    assert made["model"]["c"] == b"x\xc3\xa4\xff"
    assert said["printed"] == "hello\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("(('a'):rep(32)):find(('a?'):rep(32) .. ('a'):rep(32) .. 'b')", {"seconds": 9}),
        ("(('a'):rep(40000)):find('.-.-.-.-b')", {"seconds": 9}),
        ("(function() while true do end end)()", {"seconds": 9}),
    ],
)
def test_it_is_stopped(text: str, limits: dict[str, int], dialect: str) -> None:
    start = time.monotonic()
    with pytest.raises(LimitExceeded, match="stopped after 9 s"):
        job(text, dialect, **limits)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(("share", "late"), [(0.0, True), (1.0, False)])
def test_time_in_which_others_had_the_processor_is_not_its_own(
    share: float, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchmigrate.lua import sandbox

    began = time.monotonic()

    def waited(pid: int) -> float:
        return share * (time.monotonic() - began)

    monkeypatch.setattr(sandbox, "_waited", waited)
    process, told = SimpleNamespace(pid=0, kill=list), threading.Event()
    with sandbox.stopped_when_late(process, LuaLimits(seconds=1), told):  # type: ignore[arg-type]
        time.sleep(1.5)
    assert told.is_set() == late


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell for how long a process waits")
def test_the_system_tells_for_how_long_a_process_waited() -> None:
    from torchmigrate.lua import sandbox

    with open("/proc/self/schedstat") as file:
        before = int(file.read().split()[1]) / 1e9
    assert before <= sandbox._waited(os.getpid()) <= before + 60


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "(function() while true do pcall(function() while true do end end) end end)()",
        "(function() while true do xpcall(function() while true do end end, function() end) end end)()",
        "coroutine.wrap(function() while true do pcall(function() while true do end end) end end)()",
    ],
)
def test_loops_that_catch_their_end_are_stopped(text: str, dialect: str) -> None:
    with pytest.raises((LuaFailed, LimitExceeded), match="more than 1 s"):
        job(text, dialect, seconds=60, cpu_seconds=1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is bounded on Linux only")
def test_tensors_have_a_bound_together() -> None:
    with pytest.raises((LuaFailed, LimitExceeded)):
        job("(function() local t = {} for i = 1, 1000 do t[i] = torch.zeros(2^24) end end)()", memory_bytes=1 << 30)


@pytest.mark.slow
def test_the_result_is_bounded() -> None:
    with pytest.raises(LimitExceeded, match="result_bytes"):
        job("torch.zeros(100000)", result_bytes=1000)


def test_without_lupa_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmigrate.lua import sandbox

    monkeypatch.setattr(sandbox.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(tm.UsageError, match=r"pip install 'lupa>=2.5'"):
        job("1")


@pytest.mark.slow
def test_nothing_is_written_beside_the_result(tmp_path: Path) -> None:
    before = set(os.listdir(tmp_path))
    said, _ = run({"folders": [str(tmp_path)], "call": "torch.save('x.t7', {})"}, LuaLimits())
    assert said["printed"] == "torch.save wrote nothing: x.t7\n"
    assert set(os.listdir(tmp_path)) == before

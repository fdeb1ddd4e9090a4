"""What doctor says of a machine."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from torchmigrate.cli import checkup as doctor
from torchmigrate.cli import main as cli

#: A th that answers as the real one does; the second has no torch.
TH = """#!/bin/sh
[ "$1" = -e ] || exit 2
echo "torch7 in LuaJIT 2.1.0-beta3"
echo "has nn"
echo "has optim"
"""
LUAJIT = """#!/bin/sh
echo "luajit: module 'torch' not found:" >&2
exit 1
"""


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(word) for word in words])
    return int(stopped.value.code or 0)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(doctor, "_LUA", ("th", "luajit"))
    return tmp_path


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def test_versions_devices_providers(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["packages"]["torch"] == version("torch")
    assert set(found["packages"]) >= {"numpy", "onnx", "onnxruntime", "safetensors", "click", "rich"}
    assert "CPUExecutionProvider" in found["providers"]
    assert "cores" in found["devices"]["cpu"]


def test_a_torch7_on_the_path_is_found(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(programs, "th", TH)
    program(programs, "luajit", LUAJIT)
    assert run("doctor") == 0
    shown = capsys.readouterr().out
    assert f"th ({programs / 'th'}): torch7 in LuaJIT 2.1.0-beta3, nn, optim" in shown
    assert "no torch: luajit: module 'torch' not found:" in shown
    assert "torchmigrate reference" not in shown


def test_without_a_torch7_it_says_what_to_do(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(programs, "th", LUAJIT)
    program(programs, "luajit", LUAJIT)
    assert run("doctor") == 0
    assert "torchmigrate reference" in capsys.readouterr().out


def test_a_lua_that_hangs_is_given_up(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(programs, "th", "#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(doctor, "_TIMEOUT", 0.2)
    (found,) = doctor.find_torch7(["th"])
    assert (found.works, found.says) == (False, "did not answer: TimeoutExpired")


def test_missing_packages_are_problems(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "requires", lambda name: ["nothing-like-it>=1", 'other; extra == "test"'])
    monkeypatch.setattr(doctor, "_LUA", ())
    assert run("doctor") == 0
    assert "problem: nothing-like-it is missing" in capsys.readouterr().out


def test_home_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert doctor._short("/home/somebody/torch/install/bin/th") == "~/torch/install/bin/th"
    assert doctor._short("/home/somebodyelse/th") == "/home/somebodyelse/th"

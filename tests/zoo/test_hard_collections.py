"""Collections of which every file is hard: odd names, damaged and hostile files, a run that is killed in the middle."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import lua
import pytest
import test_zoo as zoo

import torchmigrate as tm
from torchmigrate.base.folder_files import COLLECTION, MARKER
from torchmigrate.zoo.outcomes import Outcome, shorten

_PLUGIN = """
from torchmigrate import Layer, converts

@converts("my.Loud")
def loud(layer: Layer):
    '''my.Loud()'''
    raise ValueError("x" * 10_000_000)

@converts("my.Broken")
def broken(layer: Layer):
    '''my.Broken()'''
    raise AssertionError("y" * 10_000_000)
"""


def test_messages_are_cut() -> None:
    long = "z" * 10_000_000
    refused = [(long, long, long)]
    outcome = Outcome("x.t7", "x", "fault", 70, long, not_run={"onnx": long}, missing={long: 2}, refused=refused)
    shorten(outcome)
    text = json.dumps(outcome.to_json())
    assert len(text) < 20_000
    assert "characters are left out" in text


@pytest.mark.slow
def test_names_that_are_hard(tmp_path: Path) -> None:
    nets = tmp_path / "nets"
    nets.mkdir()
    names = [
        b"summary.json.t7",
        b"summary.html.t7",
        b"-o.t7",
        b"--force.t7",
        b"a.t7",
        b"line\nbreak.t7",
        b"caf\xe9.t7",
        b"\xf0\x9f\x94\xa5.t7",
        b"n" * 252 + b".t7",
        "é".encode() * 126 + b".t7",
        b"$(touch owned).t7",
        b"..t7",
        b".hidden.t7",
    ]
    for number, name in enumerate(names):
        tm.dump(lua.linear(2 + number, 2), tmp_path / "x")
        os.rename(os.fsencode(tmp_path / "x"), os.fsencode(nets) + b"/" + name)
    (nets / "more").mkdir()
    tm.dump(lua.linear(3, 2), nets / "more" / "a.t7")
    for name in ("loud", "broken"):
        tm.dump(lua.sequential(lua.module(f"my.{name.capitalize()}")), nets / f"{name}.t7")
    (tmp_path / "plugin.py").write_text(_PLUGIN)
    out = tmp_path / "out"
    words = (nets, "-o", out, "--no-onnx", "--no-verify", "--plugin", tmp_path / "plugin.py")
    printed, errors = zoo.command(*words).communicate(timeout=180)
    text = (out / "summary.json").read_bytes()
    assert text.isascii()
    assert len(text) < 40_000
    assert (out / "summary.html").stat().st_size < 40_000
    assert (len(printed) < 20_000, errors) == (True, "")
    rows = {row["name"]: row for row in zoo.summary_of(out)["files"]}
    failed = {row["name"]: row["status"] for row in rows.values() if row["status"] != "converted"}
    assert failed == {"loud": "unsupported", "broken": "fault"}
    assert len(rows) == len(names) + 3
    assert any(row["source"].endswith("caf\\xe9.t7") for row in rows.values())
    parameters = sorted(row["parameters"] for row in rows.values() if row["parameters"])
    assert parameters == sorted([2 * (2 + number) + 2 for number in range(len(names))] + [8])
    for name in rows.keys() - failed.keys():
        assert tm.load_converted(out / name)
    left = {path.name for path in out.iterdir()} - set(rows)
    assert left == {"summary.json", "summary.html", COLLECTION}


def hostile(folder: Path, number: int) -> None:
    """Writes the number-th of 80 files that can't be converted."""
    whole = (folder / "net000.t7").read_bytes()
    path = folder / f"bad{number:02}.t7"
    kind = number % 8
    draw = random.Random(number)
    if kind == 0:
        path.write_bytes(whole[: draw.randrange(1, len(whole) - 20)])
    elif kind == 1:  # a tensor of more numbers than there are
        path.write_bytes(whole.replace((2).to_bytes(8, "little"), (1 << 40).to_bytes(8, "little")))
    elif kind == 2:
        path.write_bytes(draw.randbytes(500 + number))
    elif kind == 3:
        path.write_text(f"{number} 0.5 0.25\n" * 9)
    elif kind == 4:
        tm.dump(lua.sequential(lua.module("my.Unknown"), lua.module(f"my.Unknown{number}")), path)
    elif kind == 5:
        tm.dump({"opt": {"rate": 0.1 + number}}, path)
    elif kind == 6:
        path.symlink_to(folder / "nowhere")
    else:
        layer = lua.linear(3, 2)
        layer.fields["weight"] = tm.Tensor.from_numpy(lua.numbers(7, 5 + number))
        tm.dump(lua.sequential(layer), path)


@pytest.mark.slow
def test_two_hundred_files_killed_in_the_middle(tmp_path: Path) -> None:
    nets, out = tmp_path / "nets", tmp_path / "out"
    nets.mkdir()
    for number in range(120):
        tm.dump(lua.sequential(lua.linear(2 + number % 9, 2), lua.module("nn.Tanh")), nets / f"net{number:03}.t7")
    for number in range(80):
        hostile(nets, number)
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in sorted(nets.iterdir())))
    words = ("--files-from", listed, "-o", out, "--jobs", 2, "--no-onnx", "--no-verify", "-q")
    for records in (40, 110):  # of which the second is in what the first run left
        run = zoo.command(*words)
        zoo.wait_for_records(out, records)
        os.kill(run.pid, signal.SIGKILL)  # its workers see that by themselves
        run.communicate(timeout=60)
    last = zoo.command(*words)
    printed, errors = last.communicate(timeout=300)
    assert (printed, errors) == ("", "")
    summary = zoo.summary_of(out)
    rows = summary["files"]
    assert sorted(row["source"] for row in rows) == sorted(listed.read_text().split())
    assert (len({row["name"] for row in rows}), summary["waiting"], summary["interrupted"]) == (200, [], False)
    converted = {row["name"] for row in rows if row["status"] == "converted"}
    assert converted == {f"net{number:03}" for number in range(120)}
    assert not {row["status"] for row in rows} & {"fault", "died"}
    assert {row["exit_code"] for row in rows} == {0, 2, 3, 4}
    assert summary["resumed"] >= 30
    assert {path.name for path in out.iterdir()} == {*converted, "summary.json", "summary.html", COLLECTION}
    for name in converted:
        assert {path.name for path in (out / name).iterdir()} == {
            MARKER,
            "README.md",
            "__init__.py",
            "config.json",
            "model.py",
            "model.safetensors",
        }
    assert {path.suffix for path in (out / COLLECTION).iterdir()} == {".json"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.txt", "nets", "out"]


@pytest.mark.slow
def test_three_single_runs_to_one_place(tmp_path: Path) -> None:
    tm.dump(lua.linear(3, 2), tmp_path / "net.t7")
    code = "from torchmigrate.cli.main import main; import sys; main(sys.argv[1:])"
    words = ["convert", str(tmp_path / "net.t7"), "-o", str(tmp_path / "out"), "--source-only", "-q"]
    runs = [subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [run.communicate(timeout=120)[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 2, 2]
    assert all("meanwhile" in error or "exists already" in error for error in errors if error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.t7", "out"]


@pytest.mark.slow
def test_a_worker_that_starts_when_the_run_ends_is_silent() -> None:
    """It finds the locks of the pool gone, which wrote an error of Python's to the terminal."""
    words = [sys.executable, Path(__file__).with_name("slow_to_leave.py"), *("0.2", "0.4", "0.7", "1", "1.4")]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)

"""Converting many files: one summary, the right exit code, interrupted and resumed, workers that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import deadly
import lua
import numpy as np
import pytest
import torch

import torchmigrate as tm
from torchmigrate.base.folder_files import COLLECTION as STATE
from torchmigrate.cli import main as cli
from torchmigrate.zoo.outcomes import Outcome
from torchmigrate.zoo.summary import ZooSummary
from torchmigrate.zoo.zoo_files import Shard

COMMAND = [sys.executable, "-m", "torchmigrate", "convert"]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 small files: 24 models, 5 tensors, 5 torn files, a PyTorch checkpoint, 5 with unknown classes."""
    folder = tmp_path_factory.mktemp("collection")
    (folder / "more").mkdir()
    for i in range(24):
        path = folder / ("more" if i % 2 else "") / f"net{i // 2:02}.t7"
        tm.dump(lua.sequential(lua.linear(3 + i, 2, seed=i), lua.module("nn.Tanh")), path)
    for i in range(5):
        tm.dump(lua.value({"mean": np.arange(3.0) + i}), folder / f"stats{i}.t7")
        whole = (folder / "net00.t7").read_bytes()
        (folder / f"torn{i}.t7").write_bytes(whole[: 40 + 30 * i])
        layers = [lua.module("my.Gate"), lua.module("my.Mixer"), lua.linear(3, 2)][i % 2 :]
        tm.dump(lua.sequential(*layers), folder / f"strange{i}.t7")
    torch.save({"weight": torch.zeros(3)}, folder / "checkpoint.t7")
    assert len(list(folder.rglob("*.t7"))) == 40
    return folder


def command(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def summary_of(folder: Path, name: str = "summary.json") -> dict[str, Any]:
    return json.loads((folder / name).read_text())


def status_of(record: Path) -> str:
    status: str = json.loads(record.read_text())["status"]
    return status


def wait_for_records(folder: Path, number: int) -> None:
    until = time.monotonic() + 120
    while len(list((folder / STATE).glob("*.json"))) < number:
        assert time.monotonic() < until, "nothing was converted"
        time.sleep(0.02)


@pytest.mark.slow
def test_forty_files_interrupted_and_resumed(collection: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = (collection, "-o", out, "--jobs", 2, "--no-onnx")
    first = command(*words)
    wait_for_records(out, 6)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: to every process
    printed, errors = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "the same command goes on" in printed
    assert "Traceback" not in errors
    partial = summary_of(out)
    assert partial["interrupted"] is True
    # a worker may have been stopped between its record and its word to the parent
    assert 0 < len(partial["files"]) < 40
    assert len(partial["files"]) + len(partial["waiting"]) == 40
    assert not (out / STATE / "unfinished").exists()
    done = [row["name"] for row in partial["files"] if row["status"] == "converted"]
    recorded = [status_of(record) for record in (out / STATE).glob("*.json")].count("converted")
    assert len(done) <= recorded
    assert all((out / name / "model.safetensors").exists() for name in done)

    second = command(*words)
    printed, _ = second.communicate(timeout=300)
    assert second.returncode == 4
    assert "40 files: 24 converted, 6 unreadable, 5 no model, 5 unsupported" in printed
    summary = summary_of(out)
    assert summary["exit_code"] == 4
    assert summary["interrupted"] is False
    assert summary["resumed"] == recorded
    assert summary["counts"] == {"converted": 24, "unreadable": 6, "no model": 5, "unsupported": 5}
    assert {row["name"] for row in summary["files"] if "net00" in row["source"]} == {
        f"{collection.name}-net00",
        "more-net00",
    }
    (pytorch,) = [row for row in summary["files"] if row["name"] == "checkpoint"]
    assert "PyTorch" in pytorch["message"]
    assert [(row["class"], row["layers"], len(row["files"])) for row in summary["missing_classes"]] == [
        ("my.Mixer", 5, 5),
        ("my.Gate", 3, 3),
    ]
    assert [row["only_this_class"] for row in summary["missing_classes"]] == [["strange1", "strange3"], []]
    assert "my.Mixer: blocks 5 files, alone in 2" in printed
    assert len([path for path in out.iterdir() if path.is_dir() and path.name != STATE]) == 24


@pytest.mark.slow
def test_a_worker_that_dies_is_one_row(tmp_path: Path) -> None:
    words = deadly.files(tmp_path)
    process = command(*words, "-o", tmp_path / "out", "--jobs", 1, "--source-only", "--timeout", 5, "--json")
    printed, _ = process.communicate(timeout=180)
    assert process.returncode == 70
    messages = deadly.messages_of(printed)
    assert "the worker was killed (signal 9), perhaps since the memory ran out" in messages["bomb"]
    assert messages["bomb"].endswith("; it said last: tick")
    assert messages["sleeper"] == "it took longer than 5 seconds (--timeout)"
    assert messages["quitter"] == "the worker ended without an answer"
    assert messages["exit"] == "the worker ended with code 7"
    # a worker that is told to end removes its temporary files
    assert (tmp_path / "removed").exists()
    assert not (tmp_path / "out" / STATE / "unfinished").exists()


@pytest.mark.slow
def test_parts_of_a_list_and_changed_files(tmp_path: Path) -> None:
    for i in range(3):
        tm.dump(lua.linear(3 + i, 2), tmp_path / f"net{i}.t7")
    out = tmp_path / "out"
    words = (*tmp_path.glob("*.t7"), "-o", out, "--no-onnx", "-q")
    command(*words, "--shard", "2/2").communicate(timeout=120)
    (out / "net2").mkdir()
    (out / "net2" / "mine").touch()  # somebody else's
    for k, code in ((1, 2), (2, 0)):
        part = command(*words, "--shard", f"{k}/2")
        assert (part.communicate(timeout=120)[0], part.returncode) == ("", code)
    assert [row["name"] for row in summary_of(out, "summary-1-of-2.json")["files"]] == ["net0", "net2"]
    assert "holds other files" in summary_of(out, "summary-1-of-2.json")["files"][1]["message"]
    assert [path.name for path in (out / "net2").iterdir()] == ["mine"]
    (out / "net2" / "mine").unlink()
    tm.dump(lua.linear(5, 7), tmp_path / "net1.t7")
    whole = command(*words)
    whole.communicate(timeout=120)
    rows = {row["name"]: row for row in summary_of(out)["files"]}
    assert {name: row["resumed"] for name, row in rows.items()} == {"net0": True, "net1": False, "net2": False}
    assert rows["net1"]["parameters"] == 5 * 7 + 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.t7", "b.t7"], "-o out"),
        (["a.t7", "b.t7", "-o", "x", "--reference", "r.t7"], "belongs to one file"),
        (["a.t7", "-o", "x", "--shard", "5/4"], "3/16"),
        ([], "Which file"),
    ],
)
def test_wrong_calls_exit_2(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["convert", *words])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("codes", "worst"), [([0, 0], 0), ([0, 2, 3], 3), ([4, 3, 5], 5), ([1, 4, 0], 1), ([70, 1], 70), ([], 0)]
)
def test_the_exit_code_is_that_of_the_worst(codes: list[int], worst: int) -> None:
    outcomes = [Outcome(f"{i}.t7", str(i), "-", code) for i, code in enumerate(codes)]
    assert ZooSummary(outcomes, [], Shard(), len(codes), False).exit_code == worst
    assert ZooSummary(outcomes, [], Shard(), len(codes), True).exit_code == 130


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        for name, value in attrs:
            assert name not in ("src", "href") or (value or "").startswith(("data:", "net/"))


def test_hostile_names_are_escaped_in_the_summary() -> None:
    evil = "<script>alert(1)</script>\x1b[31m\u202e"
    rows = [
        Outcome(evil, "net", "converted", 0, evil, key=evil, parameters=7),
        Outcome(evil, "bad", "unsupported", 4, evil, missing={evil: 1}, refused=[("1", evil, evil)]),
    ]
    page = ZooSummary(rows, [evil], Shard(2, 3), 9, True).to_html()
    parser = Tags()
    parser.feed(page)
    assert "script" not in parser.tags
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page

"""Folders that are written: what is replaced, what is not, what a killed run leaves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

import torchmigrate as tm
from torchmigrate.base import output_folder as folders
from torchmigrate.base import processes
from torchmigrate.base.folder_files import COLLECTION, CONFIG, MARKER
from torchmigrate.base.output_file import check_file, whole_file
from torchmigrate.base.output_folder import CONVERTED, check_folder, output_folder, read_marker
from torchmigrate.base.processes import PROCESS, is_alive, process_name
from torchmigrate.base.unfinished import FILE, FOLDER, REPLACED, unfinished_path


def write(folder: Path, text: str = "new", name: str = "model.py", **options: object) -> None:
    with output_folder(folder, CONVERTED, **options) as made:  # type: ignore[arg-type]
        (made / name).write_text(text)
        (made / CONFIG).write_text("{}")


def listing(folder: Path) -> dict[str, str]:
    """Every file below a folder with its text, but for markers."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MARKER]
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def before(folder: Path, state: str) -> None:
    """Puts something at a place."""
    if state == "file":
        folder.write_text("mine")
        return
    folder.mkdir()
    if state == "other files":
        (folder / "thesis.tex").write_text("mine")
    elif state == "folders":
        (folder / "data").mkdir()
        (folder / "data" / "x.t7").write_text("mine")
    elif state == "a config.json of others":
        (folder / CONFIG).write_text('{"format": "another", "model_type": "bert"}')
    elif state == "a damaged config.json":
        (folder / CONFIG).write_text("[" * 100_000)
    elif state == "a marker of others":
        (folder / MARKER).write_text("[]")
    elif state == "collection":
        (folder / COLLECTION).mkdir()
        (folder / "net").mkdir()
        (folder / "net" / "model.py").write_text("mine")


@pytest.mark.parametrize(
    "state",
    [
        "file",
        "other files",
        "folders",
        "a config.json of others",
        "a damaged config.json",
        "a marker of others",
        "collection",
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_what_torchmigrate_did_not_write_is_left(state: str, force: bool, tmp_path: Path) -> None:
    before(tmp_path / "out", state)
    found = listing(tmp_path)
    with pytest.raises(tm.UsageError) as refused:
        write(tmp_path / "out", force=force)
    assert "--force" not in str(refused.value)
    assert listing(tmp_path) == found
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_taken_with_its_mode(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o750)
    (tmp_path / "out").chmod(0o750)
    write(tmp_path / "out")
    assert (tmp_path / "out" / "model.py").read_text() == "new"
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


def test_our_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "missing" / "out"
    write(out, "old", "model.onnx")
    with pytest.raises(tm.UsageError, match="exists already; --force"):
        write(out)
    assert (out / "model.onnx").read_text() == "old"
    write(out, force=True)
    assert listing(out) == {CONFIG: "{}", "model.py": "new"}
    assert read_marker(out) is not None


def test_what_is_the_users_in_our_folder_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "old", "model.onnx")
    (out / "notes.md").write_text("mine")
    (out / "runs").mkdir()
    (out / "runs" / "1.log").write_text("mine")
    (out / "parity.json").write_text("verify wrote it")
    (out / "__pycache__").mkdir()
    (out / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"")
    write(out, force=True)
    assert listing(out) == {CONFIG: "{}", "model.py": "new", "notes.md": "mine", "runs/1.log": "mine"}
    with pytest.raises(tm.UsageError, match=r"holds notes\.md, which torchmigrate did not write"):
        write(out, "newer", "notes.md", force=True)
    assert listing(out)["notes.md"] == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_0_1_0_is_known(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / CONFIG).write_text(json.dumps({"format": "torchmigrate", "format_version": 1}))
    (tmp_path / "out" / "mine.txt").write_text("mine")
    write(tmp_path / "out", force=True)
    assert listing(tmp_path / "out") == {CONFIG: "{}", "mine.txt": "mine", "model.py": "new"}


@pytest.mark.parametrize("place", [".", "..", "/", "../..", "link to here", ""])
@pytest.mark.parametrize("force", [False, True])
def test_the_folder_one_is_in_is_refused(
    place: str, force: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "deep").mkdir(parents=True)
    (tmp_path / "here" / "deep" / "link to here").symlink_to(tmp_path / "here" / "deep")
    monkeypatch.chdir(tmp_path / "here" / "deep")
    with pytest.raises(tm.UsageError, match="the folder that you are in"):
        check_folder(place, force=force)


def test_an_input_is_never_replaced(tmp_path: Path) -> None:
    write(tmp_path / "nets", "old")
    (tmp_path / "nets" / "deep").mkdir()
    source = tmp_path / "nets" / "deep" / "model"
    source.write_text("weights")
    (tmp_path / "link").symlink_to(tmp_path / "nets")
    (tmp_path / "elsewhere.t7").symlink_to(source)
    for place in ("nets", "link", "nets/deep", "nets/deep/model"):
        for given in (source, tmp_path / "link" / "deep" / "model", tmp_path / "elsewhere.t7"):
            with pytest.raises(tm.UsageError) as refused:
                write(tmp_path / place, force=True, inputs=[given])
            assert "--force" not in str(refused.value)
    assert source.read_text() == "weights"
    write(tmp_path / "nets" / "deep" / "out", inputs=[source])


def test_the_first_of_parallel_runs_wins(tmp_path: Path) -> None:
    started, results = threading.Barrier(3), dict[int, str]()

    def one(number: int) -> None:
        try:
            with output_folder(tmp_path / "out", CONVERTED) as made:
                (made / "model.py").write_text(str(number))
                started.wait(10)
            results[number] = "written"
        except tm.UsageError as error:
            results[number] = str(error)

    threads = [threading.Thread(target=one, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won,) = [number for number, result in results.items() if result == "written"]
    assert (tmp_path / "out" / "model.py").read_text() == str(won)
    assert sum("Another program has written" in result for result in results.values()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_was_replaced_meanwhile_is_not_replaced_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "old")
    with pytest.raises(tm.UsageError, match="Another program has written"), output_folder(out, CONVERTED, force=True):
        write(out, "first", force=True)
    assert (out / "model.py").read_text() == "first"
    with pytest.raises(tm.UsageError, match="Another program has written"), output_folder(tmp_path / "b", CONVERTED):
        before(tmp_path / "b", "other files")
    assert listing(tmp_path / "b") == {"thesis.tex": "mine"}


def test_the_old_folder_is_back_if_the_last_rename_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "out", "old")
    rename = os.rename

    def failing(source: Path, target: Path) -> None:
        if str(source).endswith(FOLDER):
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(folders.os, "rename", failing)
    with pytest.raises(tm.UsageError, match="Permission denied"):
        write(tmp_path / "out", force=True)
    assert listing(tmp_path) == {"out/config.json": "{}", "out/model.py": "old"}


def test_a_folder_that_can_not_be_renamed_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    number = out.stat().st_ino
    monkeypatch.setattr(folders.os.path, "ismount", Path(out).samefile)
    with pytest.raises(ZeroDivisionError), output_folder(out, CONVERTED):
        raise ZeroDivisionError
    assert list(out.iterdir()) == []
    write(out)
    assert listing(tmp_path) == {"out/config.json": "{}", "out/model.py": "new"}
    assert out.stat().st_ino == number
    with pytest.raises(tm.UsageError, match="can't be renamed"):
        write(out, "newer", force=True)
    assert listing(tmp_path) == {"out/config.json": "{}", "out/model.py": "new"}


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), output_folder(tmp_path / "a" / "b" / "out", CONVERTED):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


#: Ends in the middle of its work, as after SIGKILL.
_KILLED = """
import os, sys
from pathlib import Path
from torchmigrate.base import output_folder as folders
from torchmigrate.base.output_file import whole_file
how, place = sys.argv[1], Path(sys.argv[2])
if how == "tm.dump":
    from torchmigrate.t7.writing import dump
    dump.Writer.write = lambda *_: os._exit(9)
    dump.dump({}, place)
if how == "extracting":
    from torchmigrate.t7.writing import dump
    with whole_file(place, force=False) as part:
        dump.Writer.write = lambda *_: os._exit(9)
        dump.dump({}, part)
if how == "writing a file":
    with whole_file(place, force=False) as part:
        part.write_text("half")
        os._exit(9)
rename = os.rename
def stop(source, target):
    rename(source, target)
    if how == "renaming":
        os._exit(9)
folders.os.rename = stop
folders._discard = lambda *_: os._exit(9)
with folders.output_folder(place, folders.CONVERTED, force=True) as made:
    (made / "model.py").write_text("half")
    (made / "config.json").write_text("{}")
    if how == "writing":
        os._exit(9)
"""


def killed(how: str, place: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, how, str(place)], check=False)
    assert done.returncode == 9


@pytest.mark.parametrize(
    ("how", "after"), [("writing", "old"), ("renaming", "old"), ("removing what was replaced", "half")]
)
def test_the_next_run_removes_what_a_killed_one_left(how: str, after: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "old")
    (out / "mine.txt").write_text("mine")
    killed(how, out)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(tm.UsageError, match="exists already"):
        write(out)  # puts in order, and writes nothing
    assert listing(tmp_path) == {"out/config.json": "{}", "out/mine.txt": "mine", "out/model.py": after}
    write(out, force=True)
    assert listing(tmp_path) == {"out/config.json": "{}", "out/mine.txt": "mine", "out/model.py": "new"}


def test_the_next_run_removes_a_file_that_a_killed_one_left(tmp_path: Path) -> None:
    killed("writing a file", tmp_path / "net.svg")
    killed("writing a file", tmp_path / "other.svg")
    with whole_file(tmp_path / "net.svg", force=False) as part:
        part.write_text("whole")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left[0].startswith(".other.svg.torchmigrate-")
    assert left[1:] == ["net.svg"]


@pytest.mark.parametrize("how", ["tm.dump", "extracting"])
def test_the_next_run_removes_a_t7_file_that_a_killed_one_left(how: str, tmp_path: Path) -> None:
    killed(how, tmp_path / "net.t7")
    assert len(list(tmp_path.iterdir())) == 1
    tm.dump({}, tmp_path / "net.t7")
    assert [path.name for path in tmp_path.iterdir()] == ["net.t7"]


def test_what_others_are_writing_is_left(tmp_path: Path) -> None:
    ours = [unfinished_path(tmp_path / "out", ending) for ending in (FOLDER, REPLACED, FILE)]
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert not is_alive(dead.pid)
    # a process of another machine, which sees the same folder
    elsewhere = Path(str(ours[0]).replace(f"-{process_name()}-", f"-other-00000001.5.{dead.pid}-"))
    assert elsewhere != ours[0]
    for path in (*ours, elsewhere, tmp_path / ".out.mine.new"):
        path.mkdir()
    write(tmp_path / "out")
    assert all(path.exists() for path in (*ours, elsewhere, tmp_path / ".out.mine.new"))


WEEK = 8 * 24 * 3600

#: Who was writing, as the fields of `process_name`; how many seconds ago; is it removed?
WRITERS = {
    "this process": ("{host}-{boot}.{began}.{pid}", 0, False),
    "a process that had this id before": ("{host}-{boot}.1.{pid}", 0, True),
    "before the machine was started anew": ("{host}-00000001.{began}.{pid}", 0, True),
    "another machine": ("other-00000001.{began}.{pid}", 3600, False),
    "another machine, long ago": ("other-00000001.{began}.{pid}", WEEK, True),
    "another container": ("other-{boot}.1.{pid}", 0, False),
    "another container that is gone": ("other-{boot}.1.{pid}", 120, True),
    "version 0.1.0": ("{host}-{pid}", 0, False),
    "version 0.1.0 on another machine": ("other-{pid}", WEEK, True),
}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say when a process began")
@pytest.mark.parametrize("who", WRITERS)
@pytest.mark.parametrize("held", [False, True])
def test_whose_folders_are_removed(who: str, held: bool, tmp_path: Path) -> None:
    found = re.fullmatch(PROCESS, process_name())
    assert found is not None
    written, ago, removed = WRITERS[who]
    name = written.format(**found.groupdict())
    left = Path(str(unfinished_path(tmp_path / "out", FOLDER)).replace(f"-{process_name()}-", f"-{name}-"))
    left.mkdir()
    (left / "model.py").write_text("half")
    for path in (left / "model.py", left):
        os.utime(path, (time.time() - ago,) * 2)
    with processes.locked(left) if held else nullcontext():
        write(tmp_path / "out")
    assert left.exists() is (held or not removed)


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "line\nbreak", "-o", "summary.json"])
def test_every_name_that_the_disk_takes(name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    write(tmp_path / name, force=True)
    with whole_file(tmp_path / "b" / name, force=False) as part:
        part.write_text("x")
    assert [path.name for path in tmp_path.iterdir() if path.name != "b"] == [name]


@pytest.mark.parametrize(
    "place", ["x" * 256, "file/out", "/proc/x", "/proc/self/x/y", "/dev/null", "/dev/full/x", "dangling/x"]
)
def test_what_can_not_be_written_is_said(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("/proc/none")
    with pytest.raises(tm.UsageError):
        write(tmp_path / place, force=True)
    with pytest.raises(tm.UsageError), whole_file(tmp_path / place, force=True) as part:
        part.write_text("x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file"]


def test_a_file_is_replaced_only_when_asked_and_never_an_input(tmp_path: Path) -> None:
    target, source = tmp_path / "net.onnx", tmp_path / "net.t7"
    for path in (target, source):
        path.write_text("mine")
    (tmp_path / "link").symlink_to(source)
    os.link(source, tmp_path / "second name")
    with pytest.raises(tm.UsageError, match="--force"):
        check_file(target, force=False)
    for place in ("net.t7", "link", "second name", "../" + tmp_path.name + "/net.t7"):
        with pytest.raises(tm.UsageError, match="that this command reads"):
            check_file(tmp_path / place, force=True, inputs=[source])
    with pytest.raises(tm.UsageError, match="meanwhile"), whole_file(tmp_path / "new", force=False) as part:
        (part.write_text("ours"), (tmp_path / "new").write_text("theirs"))
    assert (tmp_path / "new").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "net.onnx", "net.t7", "new", "second name"]

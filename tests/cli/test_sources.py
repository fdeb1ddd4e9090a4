"""Where the output folder may not be is said before anything is read, run or downloaded, however FILE is given."""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path

import golden
import lua
import pytest

import torchmigrate as tm
from torchmigrate.base import download
from torchmigrate.base.download import Address, path_behind
from torchmigrate.base.output_file import check_file
from torchmigrate.cli import main as cli
from torchmigrate.cli.commands import sources

LENET = golden.MODELS / "lenet_mnist.t7"
FAST = ["--no-onnx", "--no-verify", "-q"]
ELSEWHERE = "https://nowhere.invalid/nets/net.t7"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, which is the current one, where nothing may be downloaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(download, "_file_system", no_network)
    tm.dump(lua.sequential(lua.linear(3, 2)), "net.t7")
    tm.dump(lua.numbers(8), "flat.t7")
    return tmp_path


def no_network(url: str) -> None:
    raise AssertionError(f"{url} was opened")


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(word) for word in words])
    return int(stopped.value.code or 0)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("extra", [[], ["--all-keys"], ["--weights", "flat.t7"]])
@pytest.mark.parametrize("place", [".", "..", "/", "net.t7", "link", "net.t7/x", "/dev/full", "n" * 256, "deep"])
def test_folders_that_can_not_be_are_refused_before_the_file_is_read(
    extra: list[str], place: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("deep/in").mkdir(parents=True)
    shutil.move("net.t7", "deep/in/net.t7")
    Path("net.t7").symlink_to("deep/in/net.t7")
    Path("link").symlink_to(here)
    Path("deep/in/net.t7").write_text("no model")
    found = names(here)
    assert run("convert", "net.t7", *extra, "-o", place, "--force", *FAST) == 2
    assert "Torch7" not in capsys.readouterr().err
    assert names(here) == found


@pytest.mark.parametrize(
    "words",
    [
        ["convert", ELSEWHERE, *FAST],
        ["convert", ELSEWHERE, "-o", "net", *FAST],
        ["convert", ELSEWHERE, "-o", ".", "--all-keys"],
        ["convert", ELSEWHERE, "--weights", "flat.t7"],
        ["convert", ELSEWHERE + "#sha256=" + "0" * 64],
        ["export", ELSEWHERE],
        ["export", ELSEWHERE, "-o", "net"],
        ["inspect", ELSEWHERE, "--svg", "net"],
        ["extract", ELSEWHERE, "-o", "net"],
        ["extract", ELSEWHERE, "--png", "net.onnx"],
        ["verify", ELSEWHERE, "--bisect", "net"],
        ["verify", ELSEWHERE, "--markdown", "net.onnx"],
        ["verify", ELSEWHERE, "--save-run", "net.onnx"],
        ["optimizer", ELSEWHERE, "-o", "net"],
    ],
)
def test_nothing_is_downloaded_for_a_place_that_can_not_be_written(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in ("net/note.txt", "net.onnx"):
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text("mine")
    found = names(here)
    assert run(*words) == 2
    assert names(here) == found


def test_a_file_behind_an_address_of_this_machine_is_not_written_over(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"file://{here}/net.t7"
    assert path_behind(address) == here / "net.t7"
    assert path_behind(ELSEWHERE) is None
    assert Address.parse(address.replace("file", "FILE", 1)).url == address
    for words in (
        ["export", address, "-o", "net.t7"],
        ["convert", address, "-o", here],
        ["convert", address, "-o", "."],
    ):
        assert run(*words, "--force") == 2
    assert tm.load("net.t7")


@pytest.mark.parametrize("name", [".gz", "..t7", "...t7", "-"])
def test_a_file_whose_name_gives_no_folder(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name != "-":
        shutil.copy("net.t7", name)
    found = names(here)
    code = run("convert", name, *FAST)
    shown = capsys.readouterr().err
    if name in (".gz", "-"):
        assert (code, "give the folder to write with -o" in shown) == (2, True)
        assert names(here) == found


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("a.t7", "a"),
        ("a.t7.gz", "a"),
        ("a.gz", "a"),
        (".t7", ".t7"),
        ("a.b.t7", "a.b"),
        (".gz", ""),
        ("net-1.0.tar.gz", "net-1.0"),
        ("net.t7.zip", "net"),
        ("net.TGZ", "net"),
        ("a.b", "a"),
    ],
)
def test_the_name_of_a_folder(name: str, folder: str) -> None:
    assert sources.without_ending(name) == folder


def test_all_keys_leaves_no_folder_where_nothing_is_converted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = lua.sequential(lua.module("my.Layer"))
    tm.dump(tm.LuaTable([("a", unknown), ("语" * 100, lua.sequential(lua.linear(3, 2)))]), "two.t7")
    assert run("convert", "two.t7", "--all-keys", "-o", "deep/out", "--key", "a") == 2
    assert not Path("deep").exists()
    assert run("convert", "two.t7", "--all-keys", "-o", "deep/out", *FAST) == 4
    assert [path.name for path in Path("deep/out").iterdir()] == ["语" * 40]
    tm.dump(tm.LuaTable([("a", unknown)]), "one.t7")
    assert run("convert", "one.t7", "--all-keys", "-o", "none/out", *FAST) == 4
    assert not Path("none").exists()


class Unreadable(io.RawIOBase):
    """A terminal that is gone."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        raise OSError(5, os.strerror(5))


@pytest.mark.parametrize(
    "words", [["convert", "-", "-o", "out"], ["inspect", "-"], ["verify", "-"], ["export", "-", "-o", "x.onnx"]]
)
def test_standard_input_that_can_not_be_read(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = names(here)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Unreadable())))
    assert run(*words) in (2, 3)
    assert "Input/output error" in capsys.readouterr().err
    assert names(here) == found


def test_standard_input_goes_by_itself_and_has_no_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", "-", "net.t7", "-o", "out") == 2
    assert run("export", "-") == 2
    shown = capsys.readouterr().err
    assert "- is standard input" in shown
    assert "-o" in shown
    assert not Path("out").exists()


def test_names_of_open_files_are_not_replaced(here: Path) -> None:
    """As root, `-o /dev/stdout --force` would put a file in the place of the machine's own /dev/stdout."""
    with Path("net.t7").open("rb") as stream:
        for place in ("/dev/stdout", "/dev/stdin", f"/dev/fd/{stream.fileno()}", f"/proc/self/fd/{stream.fileno()}"):
            with pytest.raises(tm.UsageError, match="no regular file"):
                check_file(Path(place), force=True)


@pytest.mark.parametrize(
    "words",
    [
        ["--markdown", "a.md", "--save-run", "./a.md"],
        ["--markdown", "out/report.html", "--report", "out"],
        ["--bisect", "out", "--report", "out"],
        ["--bisect", "out", "--markdown", "out/in/a.md"],
    ],
)
def test_verify_writes_no_two_things_to_one_place(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = names(here)
    assert run("verify", "net.t7", *words, "--force") == 2
    assert "would be written twice" in capsys.readouterr().err
    assert names(here) == found

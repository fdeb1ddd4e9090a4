"""What the commands do with the user's files: nothing is replaced unasked, nothing that is read, nothing of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import golden
import lua
import numpy as np
import pytest

import torchmigrate as tm
from torchmigrate.base.folder_files import MARKER
from torchmigrate.cli import main as cli

LENET = golden.MODELS / "lenet_mnist.t7"
FAST = ["--no-onnx", "--no-verify", "-q"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with a model in it, which is the current one."""
    monkeypatch.chdir(tmp_path)
    tm.dump(lua.sequential(lua.linear(3, 2)), "net.t7")
    return tmp_path


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(word) for word in words])
    return int(stopped.value.code or 0)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "net.t7", "-o", "precious", *FAST],
        ["convert", "net.t7", "-o", "precious", "--source-only"],
        ["convert", "net.t7", "-o", "precious/note.txt", *FAST],
        ["convert", "net.t7", "-o", "net.t7", *FAST],
        ["convert", "bare", *FAST],
        ["convert", "deep/in/net.t7", "-o", "deep", *FAST],
        ["convert", "net.t7", "-o", ".", *FAST],
        ["convert", "net.t7", "-o", "..", *FAST],
        ["convert", "net.t7", "-o", "/", *FAST],
        ["convert", "net.t7", "other.t7", "-o", "precious", *FAST],
        ["convert", "net.t7", "other.t7", "-o", ".", *FAST],
        ["convert", "deep", "-o", "deep", *FAST],
        ["verify", "net.t7", "--bisect", "precious"],
        ["verify", "net.t7", "--bisect", "."],
        ["verify", "net.t7", "--markdown", "net.t7"],
        ["verify", "net.t7", "--save-run", "net.t7"],
        ["export", "net.t7", "-o", "net.t7", "--input-shape", "2x3"],
        ["inspect", "net.t7", "--svg", "net.t7"],
        ["inspect", "net.t7", "--svg", "precious"],
        ["extract", "net.t7", "-o", "link.t7"],
        ["pack", "x.npy", "-o", "x.npy"],
        ["pack", "a=x.npy", "-o", "x.npy"],
        ["optimizer", "net.t7", "-o", "precious"],
    ],
)
def test_force_replaces_nothing_that_is_not_ours_and_no_input(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "precious").mkdir()
    (here / "precious" / "note.txt").write_text("mine")
    (here / "deep" / "in").mkdir(parents=True)
    for copy in ("bare", "other.t7", "deep/in/net.t7"):
        shutil.copy("net.t7", copy)
    Path("link.t7").symlink_to("net.t7")
    np.save("x.npy", np.ones(3))
    found = files(here)
    assert run(*words, "--force") == 2
    assert "--force" not in capsys.readouterr().err
    assert files(here) == found


@pytest.mark.parametrize("where", ["net.t7", "nowhere.t7"])
def test_places_that_can_not_be_written_are_refused_before_anything_is_read(
    where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (".", "..", "/", "/proc/x", "n" * 256, f"{where}/out"):
        Path(where).touch()
        assert run("convert", where, "-o", place, *FAST) == 2, place
        assert "Torch7" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "output"),
    [
        pytest.param(["export", LENET, "--input-shape", "2x1x28x28", "-o"], "a/b/net.onnx", marks=pytest.mark.slow),
        (["inspect", LENET, "--svg"], "a/b/net.svg"),
        (["extract", LENET, "-o"], "a/b/net.json"),
        (["pack", "x.npy", "-o"], "a/b/x.t7"),
        (["verify", LENET, "--markdown"], "a/b/report.md"),
        (["verify", LENET, "--save-run"], "a/b/run.npz"),
    ],
)
def test_files_are_replaced_only_with_force(
    words: list[object], output: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("x.npy", np.ones(3))
    assert run(*words, output, "-q") == 0
    written = Path(output).read_bytes()
    Path(output).write_text("mine")
    assert run(*words, output, "-q") == 2
    assert "--force" in capsys.readouterr().err
    assert Path(output).read_text() == "mine"
    assert run(*words, output, "-q", "--force") == 0
    assert len(Path(output).read_bytes()) == len(written)
    assert [path.name for path in Path(output).parent.iterdir()] == [Path(output).name]


def test_report_is_replaced_only_with_force(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", LENET, "--report", "a/b", "-q") == 0
    assert sorted(path.name for path in Path("a/b").iterdir()) == ["parity.json", "report.html"]
    Path("a/b/report.html").write_text("mine")
    Path("a/b/parity.json").unlink()
    assert run("verify", LENET, "--report", "a/b", "-q") == 2
    assert [path.name for path in Path("a/b").iterdir()] == ["report.html"]
    assert run("verify", LENET, "--report", "a/b", "-q", "--force") == 0


def test_second_files_of_an_export_are_replaced_only_with_force(capsys: pytest.CaptureFixture[str]) -> None:
    for name, option in (("net.onnx.data", "--external-data"), ("net.int8.onnx", "--int8")):
        Path(name).write_text("mine")
        assert run("export", "net.t7", "--input-shape", "2x3", "-o", "net.onnx", option) == 2
        assert name in capsys.readouterr().err
        assert Path(name).read_text() == "mine"
        assert not Path("net.onnx").exists()


@pytest.mark.parametrize("kind", ["convert", "source", "saved", pytest.param("members", marks=pytest.mark.slow)])
def test_every_folder_of_ours_has_a_marker_and_is_replaced(kind: str, here: Path) -> None:
    words: list[object] = ["convert", "net.t7", "-o", "out", *FAST, *(["--source-only"] if kind == "source" else [])]
    if kind == "members":
        shutil.copy("net.t7", "net2.t7")
        words[2:2] = ["net2.t7"]
    if kind == "saved":
        tm.convert("net.t7").save("out")
    else:
        assert run(*words) == 0
    (marker,) = Path("out").rglob(MARKER) if kind != "members" else Path("out/net").rglob(MARKER)
    folder = marker.parent
    (folder / "notes.txt").write_text("mine")
    (folder / "model.py").write_text("edited")
    if kind != "members":
        assert run("convert", "net.t7", "-o", "out", *FAST) == 2
        assert (folder / "model.py").read_text() == "edited"
    assert run(*words, "--force") == 0
    assert "Model" in (folder / "model.py").read_text()
    assert (folder / "notes.txt").read_text() == "mine"


def test_save_does_not_delete(here: Path) -> None:
    (here / "precious").mkdir()
    (here / "precious" / "note.txt").write_text("mine")
    conversion = tm.convert("net.t7")
    for place in ("precious", ".", "net.t7", "precious/note.txt"):
        with pytest.raises(tm.UsageError):
            conversion.save(place, force=True)
    with pytest.raises(tm.UsageError, match="reads"):
        tm.export_onnx(conversion, "net.t7", input_shape="2x3", force=True)
    assert (here / "precious" / "note.txt").read_text() == "mine"
    assert tm.load("net.t7")


@pytest.mark.slow
def test_a_single_model_is_not_put_over_a_collection(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy("net.t7", "net2.t7")
    assert run("convert", "net.t7", "net2.t7", "-o", "out", *FAST) == 0
    found = files(here)
    assert run("convert", "net.t7", "-o", "out", "--force", *FAST) == 2
    assert "collection" in capsys.readouterr().err
    assert files(here) == found
    assert run("convert", "net.t7", "-o", "out/own", *FAST) == 0
    (here / "out" / "net3").mkdir()
    (here / "out" / "net3" / "mine").touch()
    shutil.copy("net.t7", "net3.t7")
    assert run("convert", "net.t7", "net2.t7", "net3.t7", "-o", "out", "--force", *FAST) == 2
    assert (here / "out" / "net3" / "mine").exists()

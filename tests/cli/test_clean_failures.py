"""Every failure is a clean answer: no exit code 70, no traceback, no words of Python; nothing half-written stays."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import golden
import lua
import pytest
from click.testing import CliRunner

import torchmigrate as tm
from torchmigrate.base.messages import shell_words, visible
from torchmigrate.cli import main as cli

LENET = golden.MODELS / "lenet_mnist.t7"
LONG = "n" * 300
PROGRAM = [sys.executable, "-m", "torchmigrate"]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(word) for word in words])
    return int(stopped.value.code or 0)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["convert", LENET, "-o", LONG], 2, "File name too long"),
        (["convert", LONG], 2, "File name too long"),
        (["convert", "x/" * 3000], 2, "File name too long"),
        (["convert", LENET, "-o", "/proc/x"], 2, "/proc/x can't be written"),
        (["convert", LENET, "-o", "/proc/x/y"], 2, "/proc/x"),
        (["convert", LENET, "--plugin", "none.py", "-o", "out"], 2, "none.py"),
        (["convert", LENET, "--plugin", LONG, "-o", "out"], 2, LONG),
        (["convert", "--files-from", "none.txt", "-o", "out"], 2, "none.txt can't be read: No such file"),
        (["convert", "nets/*.t7", "-o", "out"], 3, "no file matches this pattern"),
        (["convert", "file:///none/x.t7", "-o", "out"], 2, "file:///none/x.t7 can't be fetched"),
        (["inspect", LENET, "--svg", LONG], 2, "File name too long"),
        (["inspect", LENET, "--svg", "/proc/x"], 2, "/proc/x can't be written"),
        (["inspect", LENET, "--svg", "/dev/null"], 2, "no regular file"),
        (["inspect", LONG], 3, "File name too long"),
        (["extract", LENET, "-o", f"{LONG}.json"], 2, "File name too long"),
        (["pack", "none*.npy", "-o", "x.t7"], 2, "no file matches this pattern"),
        (["pack", LONG + ".npy", "-o", "x.t7"], 2, "File name too long"),
        (["verify", LENET, "--reference", LONG], 3, "File name too long"),
        (["verify", LENET, "--report", LONG], 2, "File name too long"),
        (["verify", LENET, "--reference", "none*.t7"], 3, "none*.t7: no file matches this pattern"),
        (["verify", LENET, "--onnx", "none.onnx"], 2, "There is no file none.onnx"),
        (["conver", LENET], 2, "Did you mean convert?"),
        (["xyzzy"], 2, "No such command 'xyzzy'"),
    ],
)
def test_it_says_what_is_wrong(
    words: list[object], code: int, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == code
    shown = capsys.readouterr().err
    assert said in shown
    for word in ("Traceback", "Errno", "Error", "fault of torchmigrate", "force=", "at byte 0"):
        assert word not in shown
    assert not list(here.iterdir())


@pytest.mark.parametrize("variables", [{"TORCHMIGRATE_CACHE": "/proc/x"}, {"XDG_CACHE_HOME": "/dev/null/x"}])
def test_a_cache_that_can_not_be_written(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TORCHMIGRATE_CACHE", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run("inspect", f"file://{LENET}") == 2
    assert "TORCHMIGRATE_CACHE names another" in capsys.readouterr().err


def test_the_file_at_fault_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    whole = LENET.read_bytes()
    reference = golden.MODELS / "lenet_mnist.reference.t7"
    other = golden.MODELS / "textcnn.reference.t7"
    Path("torn.t7").write_bytes(whole[:2000])
    Path("page.t7").write_bytes(b"<html>")
    tm.dump({"input": lua.numbers(2, 3), "output": lua.numbers(2, 3), "layers": {"a": 1.0}}, "odd.t7")
    tm.dump(tm.LuaTable([("input", 1.0), ("output", 2.0), ("layers", tm.LuaTable.from_list([3.0]))]), "odder.t7")
    rows = [
        (["verify", "torn.t7", "--reference", reference], 3, "torn.t7: "),
        (["verify", LENET, "--reference", "torn.t7"], 3, "torn.t7: "),
        (["verify", LENET, "--reference", "page.t7"], 3, "page.t7: This is not a file of Torch7"),
        (["verify", reference, "--reference", LENET], 3, "lenet_mnist.reference.t7: this holds no model"),
        (["verify", LENET, "--reference", other], 2, "textcnn.reference.t7"),
        (["verify", LENET, "--reference", "odder.t7"], 2, "odder.t7 is no reference"),
    ]
    for words, code, said in rows:
        assert run(*words) == code
        assert said in capsys.readouterr().err


def test_words_of_python_stay_in_python() -> None:
    rows = {
        "x exists already; --force (force=True) replaces it.": "x exists already; --force replaces it.",
        "Pass it: --input-shape {2x3,4x5} (input_shape='{2x3,4x5}').": "Pass it: --input-shape {2x3,4x5}.",
        "Without --input-shape (input_shape=) one is looked for.": "Without --input-shape one is looked for.",
        "in a way that is not known (from Python: `bodies`).": "in a way that is not known.",
        "more than Limits.entries = 5 allow": "more than the limit of 5 allows",
        "the size (2, 3) of --input": "the size (2, 3) of --input",
    }
    assert {text: shell_words(text) for text in rows} == rows
    assert visible("n\udcc3\udca9t\x1b") == r"n\xc3\xa9t\x1b"


def test_what_python_calls_an_option_stands_behind_it() -> None:
    """`--exact (exact=True)`, which the shell shortens; never `exact=True (--exact)`."""
    wrong = re.compile(r"\b[a-z_]+=[^\s()]* \(--")
    package = Path(tm.__file__).parent
    files = [*package.rglob("*.py"), *Path(tm.converters.__file__ or "").parent.rglob("*.py")]
    assert len(files) > 300
    assert [(path.name, found[0]) for path in files for found in wrong.finditer(path.read_text())] == []


@pytest.mark.slow
def test_no_words_of_python_where_a_shape_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    tm.dump(lua.sequential(lua.module("nn.Tanh")), "net.t7")
    run("export", "net.t7")
    tm.dump(lua.sequential(lua.linear(3, 2)), "net2.t7")
    run("export", "net2.t7", "--input-shape", "2x7")
    shown = capsys.readouterr().err
    assert "--input-shape" in shown
    assert "input_shape" not in shown


def program(*words: object, shell: str = "", **environment: str) -> tuple[int, str, str]:
    """Exit code and output of the program in a shell, with redirections."""
    command = " ".join([*PROGRAM, *map(str, words), shell])
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("words", [["layers"], pytest.param(["inspect", LENET], marks=pytest.mark.slow)])
def test_ascii_terminals(words: list[object]) -> None:
    code, shown, errors = program(*words, **ASCII)
    assert (code, errors) == (0, "")
    assert len(shown) > 1000


@pytest.mark.parametrize(
    ("words", "shell", "code"),
    [
        (["layers"], ">&- 2>&-", 0),
        (["layers"], "| true", 0),
        (["layers"], ">/dev/full", 2),
        pytest.param(["layers", "--json"], "| head -c 10", 0, marks=pytest.mark.slow),
        pytest.param(["layers", "--json"], ">/dev/full", 2, marks=pytest.mark.slow),
        pytest.param(["inspect", "none.t7"], ">&- 2>&-", 3, marks=pytest.mark.slow),
        pytest.param(["inspect", LENET], "<&- >&- 2>&-", 0, marks=pytest.mark.slow),
        pytest.param(["convert", "-", "-o", "out"], "<&-", 2, marks=pytest.mark.slow),
        (["inspect", "-"], "<&-", 3),
        # a reader that leaves does not change what is said of the numbers
        pytest.param(["verify", "wrong.t7", "--reference", "reference.t7"], "| true", 1, marks=pytest.mark.slow),
    ],
)
def test_closed_and_full_terminals(words: list[object], shell: str, code: int) -> None:
    tm.dump(lua.linear(3, 2), "wrong.t7")
    tm.dump({"input": lua.numbers(2, 3), "output": lua.numbers(2, 2)}, "reference.t7")
    found, _, errors = program(*words, shell=shell)
    assert found == code
    for word in ("Traceback", "Exception", "fault of torchmigrate", "NoneType"):
        assert word not in errors


@pytest.mark.parametrize("words", [["--timeout", "nan"], ["--timeout", "inf"], ["--max-download", "inf"]])
def test_numbers_that_are_not_finite(words: list[str]) -> None:
    done = CliRunner().invoke(cli.cli, ["convert", "a.t7", "b.t7", "-o", "out", *words])
    assert (done.exit_code, "is no finite number" in done.output) == (2, True)


#: Converts with a limit on the size of each file, as a full disk has one.
_LIMITED = """
import resource, signal, sys
import torchmigrate.folder.run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from torchmigrate.cli.main import main
main(sys.argv[2:])
"""


def limited(size: int, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _LIMITED, str(size), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "words"),
    [
        (5_000, ["convert", LENET, "-o", "a/b/out", "--no-onnx"]),
        (20_000, ["convert", LENET, "-o", "a/b/out", "--no-onnx"]),
        (100, ["extract", LENET, "-o", "a/model.t7"]),
        (100, ["extract", LENET, "-o", "a/model.npz"]),
        (100, ["extract", LENET, "-o", "a/model.safetensors"]),
    ],
)
def test_a_file_that_can_not_grow(size: int, words: list[object], here: Path) -> None:
    done = limited(size, *words)
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr
    for word in ("Traceback", ".part", ".new"):
        assert word not in done.stderr
    assert list(here.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["convert", LENET, "-o", "a/out", "--source-only"],
            "be written",
        ),  # whichever of its files, or a temporary one
        (["convert", LENET, LENET, "-o", "a/out"], "File too large"),
        (["inspect", LENET, "--svg", "a/out.svg"], "File too large"),
    ],
)
def test_where_no_file_can_be_written(words: list[object], said: str, here: Path) -> None:
    command = ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *PROGRAM, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(here.iterdir()) == []


_NO_DISK = "no small disk can be mounted here; test_a_file_that_can_not_grow says the same of single files"

#: Mounts a small disk, which only this process sees, and converts onto it.
_SMALL_DISK = """
mount -t tmpfs -o size=%s none "$1" || exit 99
cd "$1" && shift
"$@"
code=$?
ls -A
exit $code
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", ["0", "16k", "96k"])
def test_a_full_disk(size: str, here: Path) -> None:
    (here / "disk").mkdir()
    disk = _SMALL_DISK % (size if size != "0" else "4k,nr_inodes=1")
    words = ["unshare", "-rm", "bash", "-c", disk, "bash", here / "disk", *PROGRAM, "convert", LENET, "-o", "out"]
    if shutil.which("unshare") is None:
        pytest.xfail(_NO_DISK)
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode == 99 or done.stderr.startswith("unshare:"):
        pytest.xfail(_NO_DISK)
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr
    assert (done.stdout, "Traceback" in done.stderr) == ("", False)

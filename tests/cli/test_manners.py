"""How the command line behaves: completion, colours, silence, Ctrl-C, hints."""

from __future__ import annotations

import errno
import gc
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import golden
import lua
import pytest

import torchmigrate as tm
from torchmigrate.cli import main as cli

LENET = golden.MODELS / "lenet_mnist.t7"
COMMANDS = cli.cli.list_commands(click.Context(cli.cli))


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(word) for word in words])
    return int(stopped.value.code or 0)


def program(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    code = f"from torchmigrate.cli.main import main; main({[str(word) for word in words]!r})"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples_and_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    text = capsys.readouterr().out
    before, options = re.split(r"^[A-Z][\w ]*:$", text, maxsplit=1, flags=re.MULTILINE)
    assert re.search(rf"^  torchmigrate {command}( |$)", before, re.MULTILINE), "no example"
    assert "--json" in options
    for example in re.findall(rf"^  torchmigrate {command}(.*)$", before, re.MULTILINE):
        known = set(re.findall(r"--[a-z0-9-]+", options))
        assert set(re.findall(r"--[a-z0-9-]+", example)) <= known, example


def test_alone_it_shows_what_one_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", shown, re.MULTILINE)
    assert "torchmigrate extract checkpoint.t7 --key opt" in shown


@pytest.mark.parametrize("words", [["nonsense"], ["convert", "--nonsense"], ["pack", "x.npy"]])
def test_wrong_words_point_to_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert "error: " in capsys.readouterr().err


COMPLETIONS = [
    ("torchmigrate ", 1, set(COMMANDS)),
    ("torchmigrate con", 1, {"convert"}),
    ("torchmigrate convert --no", 2, {"--no-onnx", "--no-verify"}),
    ("torchmigrate export --dtype ", 3, {"float16", "float32", "keep"}),
]


@pytest.mark.parametrize(("words", "position", "expected"), COMPLETIONS)
def test_bash_completes(words: str, position: int, expected: set[str]) -> None:
    done = program(_TORCHMIGRATE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(position))
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} >= expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_a_script(shell: str) -> None:
    done = program(_TORCHMIGRATE_COMPLETE=f"{shell}_source")
    assert "_TORCHMIGRATE_COMPLETE" in done.stdout
    assert done.returncode == 0


def colours(text: str) -> bool:
    return "\x1b[3" in text or "\x1b[1;3" in text


def in_terminal(words: list[object], **environment: str) -> str:
    """What the program shows on a terminal."""
    pty = pytest.importorskip("pty")
    main, other = pty.openpty()
    code = f"from torchmigrate.cli.main import main; main({[str(word) for word in words]!r})"
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=other, stderr=other, env={**clean, "TERM": "xterm-256color", **environment}
    ) as process:
        os.close(other)
        shown = b""
        try:
            while block := os.read(main, 4096):
                shown += block
        except OSError:
            pass  # Linux says so when the other end is closed
        process.wait()
    os.close(main)
    return shown.decode()


@pytest.mark.parametrize("words", [["layers", "nn.Linear", "nope"], ["nonsense"], ["inspect", LENET]])
def test_no_color_is_heeded(words: list[object]) -> None:
    assert not colours(in_terminal(words, NO_COLOR="1"))


@pytest.mark.parametrize("words", [["nonsense"], ["inspect", LENET]])
def test_terminals_have_colours_and_pipes_have_none(words: list[object]) -> None:
    assert colours(in_terminal(words))
    done = program(*words)
    assert not colours(done.stdout + done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", LENET, "--shapes"],
        ["verify", LENET],
        ["export", LENET, "-o", "x.onnx"],
        ["convert", LENET, "-o", "x"],
    ],
)
def test_quiet_prints_nothing(
    words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words, "-q") == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (lua.sequential(lua.linear(3, 2)), "next: torchmigrate convert 'my net.t7'\n"),
        (lua.sequential(lua.module("my.Own")), "next: torchmigrate convert 'my net.t7' --lua MyLayer.lua  (or"),
        (tm.LuaTable([("epoch", 3.0)]), "next: torchmigrate extract 'my net.t7'\n"),
        (tm.LuaTable([("a", lua.linear(3, 2)), ("b", lua.linear(2, 3))]), "convert 'my net.t7' --key a\n"),
    ],
)
def test_inspect_names_the_next_command(
    value: Any, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tm.dump(value, "my net.t7")
    assert run("inspect", "my net.t7") == 0
    assert hint in capsys.readouterr().out


def test_lines_are_not_broken_in_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", LENET, "-o", tmp_path / "out") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("next: python -c ")
    assert last.endswith("out'))\"")


def test_verbose_says_each_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", LENET, "-o", tmp_path / "out", "-v", "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["passed"]
    steps = [line.split(" s  ")[1] for line in shown.err.splitlines()]
    assert steps[0] == "reading and converting"
    assert "exporting to ONNX" in steps
    assert steps[-1] == "done"


def test_verbose_says_where_an_error_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.t7").write_bytes(b"text\n")
    assert run("convert", tmp_path / "x.t7", "-o", tmp_path / "out") == 3
    assert "Traceback" not in capsys.readouterr().err
    assert run("convert", tmp_path / "x.t7", "-o", tmp_path / "out", "-v") == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("as_json", [False, True])
def test_interrupted_is_130(as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_args: Any, **_options: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("torchmigrate.extract.extract.load_file", stop)
    assert run("extract", LENET, *(["--json"] if as_json else [])) == 130
    shown = capsys.readouterr()
    assert json.loads(shown.out)["exit_code"] == 130 if as_json else "interrupted" in shown.err


def test_an_interrupt_that_a_library_swallows_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """PyTorch does so in places where it is imported, and fails later, half of it being there."""

    def stop(*_args: Any, **_options: Any) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException as error:
            raise RecursionError("maximum recursion depth exceeded") from error

    monkeypatch.setattr("torchmigrate.extract.extract.load_file", stop)
    assert run("extract", LENET) == 130
    assert capsys.readouterr().err == "error: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupted_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(value: Any, part: Path) -> None:
        part.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("torchmigrate.extract.extract.dump", stop)
    assert run("extract", LENET, "-o", tmp_path / "part.t7") == 130
    assert list(tmp_path.iterdir()) == []


def test_hostile_names_in_errors_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tm.dump({"\x1b]0;owned\x07": 1}, tmp_path / "evil.t7")
    assert run("extract", tmp_path / "evil.t7", "--key", "x") == 2
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "\\x1b]0;owned" in shown


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_no_fault_of_ours(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("torchmigrate.folder.write.save_file", full)
    assert run("convert", LENET, "-o", tmp_path / "out") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_garbage_is_looked_for_less_often_while_a_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    before, usual, seen = gc.get_threshold(), (700, 10, 10), []

    def interrupt(*_: object, **__: object) -> None:
        seen.append(gc.get_threshold())
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.cli, "main", interrupt)
    gc.set_threshold(*usual)
    try:
        assert run("doctor") == 130
        assert seen[0][0] > usual[0]
        assert gc.get_threshold() == usual
        assert gc.isenabled()
    finally:
        gc.set_threshold(*before)

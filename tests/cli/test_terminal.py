"""What commands print on a terminal of 80 columns: names of files stay whole, and what is to be copied is one line."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path

import click
import golden
import lua
import pytest
from rich.console import Console
from rich.progress import Progress

import torchmigrate as tm
from torchmigrate.base.errors import EXIT_OK, EXIT_USAGE
from torchmigrate.base.messages import repeated
from torchmigrate.cli.main import cli, main
from torchmigrate.cli.printing.zoo import progress_columns

LONG = "the_networks_of_the_third_experiment/resnets_with_eighteen_layers/converted_in_the_second_run"
_STYLE = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture
def eighty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns, and an empty folder with one network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    Path("lenet.t7").symlink_to(golden.MODELS / "lenet_mnist.t7")
    tm.dump(lua.sequential(lua.linear(3, 2), lua.module("nn.Tanh")), "small.t7")


def printed(words: str, capsys: pytest.CaptureFixture[str], exit_code: int = EXIT_OK) -> list[str]:
    """The lines of a command, without colours."""
    with pytest.raises(SystemExit) as stopped:
        main(shlex.split(words))
    shown = _STYLE.sub("", capsys.readouterr().out)
    assert stopped.value.code == exit_code, shown
    return [line.rstrip() for line in shown.splitlines()]


@pytest.mark.usefixtures("eighty")
def test_convert_prints_names_and_the_next_command_whole(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(f"convert small.t7 -o {LONG} --no-onnx", capsys)
    assert f"  {LONG}:" in lines
    written = sorted(path.name for path in Path(LONG).iterdir() if path.name != ".torchmigrate")
    assert [line.split()[0] for line in lines if line.startswith("    ")] == written
    assert lines[-1] == f"next: python -c \"import torchmigrate as tm; print(tm.load_converted('{LONG}'))\""
    assert not [line for line in lines if "…" in line]


@pytest.mark.usefixtures("eighty")
def test_a_short_folder_stands_before_each_name(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed("convert small.t7 -o small --no-onnx --no-verify", capsys)
    written = [str(path) for path in sorted(Path("small").iterdir()) if path.name != ".torchmigrate"]
    assert [line.split()[0] for line in lines if line.startswith("  small/")] == written


@pytest.mark.usefixtures("eighty")
@pytest.mark.parametrize(
    ("words", "whole"),
    [
        (f"inspect {LONG}/a.t7", f"next: torchmigrate convert {LONG}/a.t7"),
        (f"export lenet.t7 -o {LONG}/m.onnx", f"{LONG}/m.onnx opset 20"),
        (f"optimizer vgg.t7 -o {LONG}/adam", f"next: tm.load_optimizer('{LONG}/adam', module).optimizer(); see docs"),
        (f"extract {LONG}/a.t7 --key modules -o {LONG}/x.npz", f"next: numpy.load('{LONG}/x.npz')"),
        (f"pack x.json -o {LONG}/x.t7", f"next: th -e \"print(torch.load('{LONG}/x.t7'))\""),
        (f"verify lenet.t7 --save-run {LONG}/run.npz", f"{LONG}/run.npz: the run, for --compare-run on another"),
    ],
    ids=["inspect", "export", "optimizer", "extract", "pack", "verify"],
)
def test_what_is_copied_stands_in_one_line(words: str, whole: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(LONG).mkdir(parents=True)
    Path("small.t7").rename(f"{LONG}/a.t7")
    Path("x.json").write_text("[1, 2]")
    Path("vgg.t7").symlink_to(golden.MODELS / "vgg_checkpoint.t7")
    assert [line for line in printed(words, capsys) if whole in line]


@pytest.mark.slow
@pytest.mark.usefixtures("eighty")
def test_no_derivation_of_tolerances_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed("verify lenet.t7 --report report", capsys)
    assert not [line for line in lines if "rounds to" in line]
    assert "float64 rounds to 1.1e-16" in Path("report/parity.json").read_text("utf-8")


def test_the_display_of_a_collection_keeps_its_bar() -> None:
    name = "a_network_of_a_very_long_name_that_stands_in_a_folder_with_many_others_like_it_number_seventeen"
    out = StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    with Progress(*progress_columns(), console=console) as progress:
        progress.add_task(f"{name}: comparing …", total=None)
        progress.add_task("files, 3 failed", total=1234, completed=617)
        progress.refresh()
    shown = _STYLE.sub("", out.getvalue())
    assert "━" * 10 in shown
    assert "617/1234" in shown
    assert name in re.sub(r"[\s━╸╺0-9/:?-]", "", shown).replace("comparing…", "")


@pytest.mark.usefixtures("eighty")
def test_a_note_that_repeats_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    layers = [lua.module("nn.Tanh", name=f"layer{i}", made_by="me") for i in range(5)]
    tm.dump(lua.sequential(lua.linear(3, 2), *layers), "named.t7")
    lines = printed("convert named.t7 -o named --no-onnx --no-verify", capsys)
    unread = [line for line in lines if "not read" in line]
    assert unread == ["  fields not read at 5 layers (2, 3, 4, …): made_by"]
    found = json.loads("\n".join(printed("convert named.t7 -o named --force --no-onnx --no-verify --json", capsys)))
    assert list(found["unread_fields"]) == ["2", "3", "4", "5", "6"]


def test_notes_name_their_first_paths() -> None:
    notes = [("1", "a"), ("", "b"), ("2", "a"), ("3", "c"), ("4", "a"), ("5", "a"), ("2", "a"), ("", "c")]
    assert repeated(notes) == ["4 layers (1, 2, 4, …): a", "b", "2 layers (3, the top): c"]


@pytest.mark.usefixtures("eighty")
def test_inspect_says_what_each_class_became_where_the_model_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    row = "  nn.SpatialMaxPooling *x2 *"
    plain = printed("inspect lenet.t7", capsys)
    assert [line for line in plain if re.fullmatch(f"{row}MaxPool2d, OverhangingMaxPool or .*", line)], plain
    assert [line for line in printed("inspect lenet.t7 --shapes", capsys) if re.fullmatch(f"{row}MaxPool2d", line)]
    found = json.loads("\n".join(printed("inspect lenet.t7 --shapes --json", capsys)))
    assert [node["became"] for node in found["models"][0]["tree"]["children"]][:3] == ["Conv2d", "Tanh", "MaxPool2d"]


@pytest.mark.usefixtures("eighty")
@pytest.mark.parametrize(
    ("command", "first", "headings"),
    [
        ("convert", "The model", {"Comparison": "--atol", "Many files": "--jobs", "Limits": "--max-download"}),
        ("verify", "The model", {"Comparison": "--atol", "Reference": "--torch7", "What is written": "--bisect"}),
    ],
)
def test_options_stand_under_headings(
    command: str, first: str, headings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(f"{command} --help", capsys)
    found = [line.removesuffix(":") for line in lines if re.fullmatch(r"[A-Z][\w ]+:", line)]
    assert (found[0], found[-1]) == (first, "Other options")
    for heading, option in headings.items():
        after = lines[lines.index(f"{heading}:") :]
        assert [line for line in after[: after.index("")] if line.startswith(f"  {option} ")]
    named = re.findall(r"^  (?:-\w, )?(--[\w-]+)", "\n".join(lines), re.MULTILINE)
    made = cli.get_command(click.Context(cli), command)
    assert made is not None
    options = [option for option in made.get_params(click.Context(made)) if isinstance(option, click.Option)]
    assert sorted(named) == sorted(next(name for name in each.opts if name.startswith("--")) for each in options)


@pytest.mark.usefixtures("eighty")
def test_the_help_of_all_commands_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed("--help", capsys)
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith("...") and "Usage" not in line]
    assert "a parity report." in " ".join(" ".join(lines).split())


@pytest.mark.usefixtures("eighty")
@pytest.mark.parametrize("command", sorted(cli.list_commands(click.Context(cli))))
def test_examples_of_the_help_fit_into_a_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert max(map(len, printed(f"{command} --help", capsys))) <= 80


def test_options_of_one_name_mean_the_same_in_every_command() -> None:
    seen: dict[str, set[tuple[object, ...]]] = {}
    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        for option in command.params:
            if option.name in ("atol", "rtol", "dtype", "opset", "devices", "input_shape", "reference", "stateful"):
                told = option.to_info_dict()
                seen.setdefault(option.name, set()).add((str(told["type"]), told["multiple"], told["help"]))
    assert {name: len(kinds) for name, kinds in seen.items()} == dict.fromkeys(seen, 1)
    assert len(seen) == 8


@pytest.mark.usefixtures("eighty")
def test_convert_takes_tolerances_as_verify_does(capsys: pytest.CaptureFixture[str]) -> None:
    two = lua.module("nn.ConcatTable", modules=[lua.linear(3, 2), lua.linear(3, 4)])
    tm.dump(lua.sequential(two), "two.t7")
    words = "convert two.t7 -o two --no-onnx --json"
    found = json.loads("\n".join(printed(f"{words} --atol 1=0.25", capsys)))
    assert re.search(r"--atol '?\S*1\]?=0.25", found["parity"]["command"])
    found = json.loads("\n".join(printed(f"{words} --force --atol x", capsys, EXIT_USAGE)))
    assert found["error"]["message"].startswith("--atol takes a number such as 1e-4")


@pytest.mark.slow
@pytest.mark.usefixtures("eighty")
def test_source_only_suggests_what_the_folder_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed("convert small.t7 -o small --source-only", capsys)
    assert lines[-1] == 'next: cd small && python -c "from model import Model; print(Model())"'
    command = [sys.executable, "-c", "from model import Model; print(Model())"]
    done = subprocess.run(command, cwd="small", capture_output=True, text=True, check=True)
    assert "Linear(in_features=3, out_features=2" in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("eighty")
def test_convert_writes_float16(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads("\n".join(printed("convert small.t7 -o small --dtype float16 --json", capsys)))
    (onnx,) = [row for row in found["parity"]["backends"] if row["backend"].startswith("onnxruntime")]
    assert (onnx["status"], found["passed"]) == ("passed", True)

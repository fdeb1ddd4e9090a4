"""`torchmigrate convert plan.t7 --weights`: its words, its JSON, its exit codes."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
from golden import FIXTURES

import torchmigrate as tm
from torchmigrate.base.folder_files import MARKER
from torchmigrate.cli.main import main

PLAN = FIXTURES / "lua" / "plan"
WEIGHTS = ["--weights", PLAN / "params.t7", "--weights-key", "params"]
STATS = ["--stats", PLAN / "params.t7", "--stats-key", "bnVars"]


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    return int(stopped.value.code or 0)


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = [PLAN / "plan.t7", *WEIGHTS, *STATS, "-o", out, "--no-onnx", "--no-verify", "--json"]
    assert run("convert", *words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["filled"] == {
        "parameter_tensors": 16,
        "batch_norms": 1,
        "filled": ["parameters", "statistics"],
        "notes": [],
    }
    own, given = (sha256((PLAN / name).read_bytes()).hexdigest() for name in ("plan.t7", "params.t7"))
    origin = f"its layers come from plan.t7 (sha256 {own}), its parameters from params.t7 (sha256 {given}), its running"
    assert said["notes"][0][1].startswith(origin)
    for name in ("config.json", "README.md"):  # whose sha256 of the model is of no file that the user has
        assert origin in (out / name).read_text()
    filled = tm.fill(
        PLAN / "plan.t7",
        weights=PLAN / "params.t7",
        weights_key="params",
        stats=PLAN / "params.t7",
        stats_key="bnVars",
    )
    tm.dump(filled, tmp_path / "filled.t7")
    written = json.loads((out / "config.json").read_text())["source"]["sha256"]
    assert written == sha256((tmp_path / "filled.t7").read_bytes()).hexdigest()
    got = tm.load_converted(out)(tm.to_torch(tm.load(PLAN / "input.t7")))
    assert (got - tm.to_torch(tm.load(PLAN / "output.t7"))).abs().max() < 1e-6


def test_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [PLAN / "one_storage.t7", "--key", "model", *WEIGHTS, "--fresh-stats", "--source-only"]
    assert run("convert", *words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "one_storage.t7 holds 16 parameter tensors, 1 batch normalization; filled: parameters" in said
    assert "what lies beside it was left out: optimState" in said
    assert "running statistics of 1 module were set to mean 0 and variance 1" in said
    assert (tmp_path / "one_storage" / "model.py").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([PLAN / "plan.t7", *WEIGHTS], "running statistics of 1 batch normalizations are not"),
        ([PLAN / "plan.t7", *STATS], "--stats goes with --weights"),
        ([PLAN / "plan.t7", PLAN / "moved.t7", *WEIGHTS], "--weights is for a single file"),
        ([PLAN / "both.t7", *WEIGHTS, "--all-keys"], "--weights is for one network"),
        ([PLAN / "plan.t7", *WEIGHTS, "--call", "f()"], "--call is for a single .lua file"),
        ([PLAN / "both.t7", *WEIGHTS, "--key", "encoder"], "the network has 15 parameters"),
        ([PLAN / "both.t7", *WEIGHTS], "--key decoder"),
    ],
)
def test_it_says_what_is_wrong(
    words: list[object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("convert", *words, "-o", tmp_path / "out") == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_the_weights_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("convert", PLAN / "plan.t7", *WEIGHTS, *STATS, "-o", out, "--source-only") == 0
    weights = out / "model.py"
    weights.write_bytes((PLAN / "params.t7").read_bytes())
    words = ["--weights", weights, "--weights-key", "params", *STATS, "-o", out, "--source-only", "--force"]
    assert run("convert", PLAN / "plan.t7", *words) == 2
    assert weights.read_bytes() == (PLAN / "params.t7").read_bytes()


@pytest.mark.parametrize("source", ["net.lua", "plan.t7"])
@pytest.mark.parametrize("held", ["net", "weights", "stats", "labels", "plugins"])
@pytest.mark.parametrize("more", [[], ["--source-only"]])
def test_a_folder_that_holds_what_is_read_is_refused_before_anything_is_read(
    source: str, held: str, more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"net": source, "weights": "w.t7", "stats": "s.t7", "labels": "words.txt", "plugins": "layers.py"}
    for folder, name in names.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("this can't be read")
        if folder == held:  # it looks as if torchmigrate had written it
            marker = {"format": "torchmigrate-folder", "kind": "converted", "files": [MARKER, name]}
            (tmp_path / folder / MARKER).write_text(json.dumps(marker))
    net, *others = (tmp_path / folder / name for folder, name in names.items())
    options = ("--weights", "--stats", "--labels", "--plugin")
    words = [item for pair in zip(options, others, strict=True) for item in pair]
    assert run("convert", net, *words, "-o", tmp_path / held, "--force", *more) == 2
    assert "which is read; give a folder of its own" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / held / names[held]).read_text() == "this can't be read"

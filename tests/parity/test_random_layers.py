"""Models that draw random numbers when they evaluate: what does not depend on these is compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden
import pytest
import torch
from golden import Row
from planted_faults import Model, planted, rows_reversed

import torchmigrate as tm
from torchmigrate.cli import main as cli
from torchmigrate.shapes.random_layers import drawn_numbers

#: Classes that draw whatever their fields say.
CLASSES = ("nn.Sampler", "nn.Gaussian", "nn.Uniform", "nn.NoiseFill", "nn.GenNoise")

PARITY = golden.FIXTURES / "parity"
DROPOUT = "nn.Dropout at 2.1.2 draws random numbers at each run, in evaluation too, so no two runs agree"


def judged(report: tm.ParityReport) -> dict[str, tuple[bool, bool]]:
    """Path of each layer without layers inside -> was it compared by itself, and in the running network?"""
    layers = report.backends[0].layers
    paths = {layer.path for layer in layers}
    inner = [layer for layer in layers if layer.path and not any(p.startswith(layer.path + ".") for p in paths)]
    return {layer.path: (layer.own is not None, layer.accumulated is not None) for layer in inner}


@pytest.mark.parametrize(
    ("name", "expected", "outputs"),
    [
        (
            "random_branch",
            {
                "1": (True, True),
                "2.1.1": (True, True),
                "2.1.2": (False, False),
                "2.1.3": (True, False),
                "2.2": (True, True),
            },
            ["[2]"],
        ),
        ("random_pooling", {"1": (True, True), "2": (False, False), "3": (True, False), "4": (True, False)}, []),
    ],
)
def test_what_does_not_depend_on_them_is_compared(
    name: str, expected: dict[str, tuple[bool, bool]], outputs: list[str]
) -> None:
    """Layers behind a random one get what it gave in Torch7."""
    report = tm.verify(tm.convert(PARITY / f"{name}.t7"), reference=PARITY / f"{name}.reference.t7")
    assert report
    assert judged(report) == expected
    for backend in report.backends[:2]:
        assert [difference.place for difference in backend.outputs] == outputs
        assert all(difference.largest > 0 for difference in backend.outputs)
    assert any("draws random numbers" in limit for limit in report.verdict.limits)


def test_activations_in_the_file() -> None:
    report = tm.verify(tm.convert(PARITY / "random_recorded.t7"))
    assert report
    assert report.reference.kind == "recorded"
    compared = {path for path, (own, _) in judged(report).items() if own}
    assert compared == {"2.1.1", "2.1.3", "2.2"}  # the input of the first is not in the file
    (remark,) = {layer.remark for layer in report.backends[0].layers if layer.path == "2.1.2"}
    assert "draws random numbers" in remark
    assert any(DROPOUT in limit for limit in report.verdict.limits)


@pytest.mark.parametrize(("name", "compared"), [("binary_trained", {"3"}), ("binary_evaluated", {"2", "3"})])
def test_signs_that_were_drawn_in_training_are_not_judged(name: str, compared: set[str]) -> None:
    """Both files are in evaluation mode; the first holds what it gave in training."""
    report = tm.verify(tm.convert(PARITY / f"{name}.t7"))
    assert report
    assert {path for path, (own, _) in judged(report).items() if own} == compared


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *(("random_branch", path) for path in ("1", "2.1.1", "2.1.3", "2.2")),
        *(("random_recorded", path) for path in ("2.1.1", "2.1.3", "2.2")),
    ],
)
def test_a_wrong_layer_beside_them_is_found(name: str, path: str) -> None:
    reference = PARITY / f"{name}.reference.t7"
    model = Model(PARITY / f"{name}.t7", reference=reference if reference.exists() else None)
    with planted(rows_reversed, "nn.Linear", path):
        report = model.verify(model.convert())
    assert not report
    diverging = report.backends[0].diverging
    assert diverging is not None
    assert diverging.path == path


@pytest.mark.parametrize(
    "words", [[], ["--reference", str(PARITY / "random_branch.reference.t7")]], ids=["itself", "Torch7"]
)
def test_the_rest_of_the_folder_is_written(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    with pytest.raises(SystemExit) as stopped:
        cli.main(["convert", str(PARITY / "random_branch.t7"), "-o", str(folder), *words])
    said = capsys.readouterr().out
    assert stopped.value.code == 0
    assert f"onnx not run: {DROPOUT}" in " ".join(said.split())
    assert {path.name for path in folder.iterdir()} >= {"model.py", "model.safetensors", "parity.json", "report.html"}
    assert not (folder / "model.onnx").exists()
    assert json.loads((folder / "parity.json").read_text())["passed"]


def test_an_export_that_was_asked_for_says_why(tmp_path: Path) -> None:
    conversion = tm.convert(PARITY / "random_branch.t7")
    with pytest.raises(tm.ExportError, match=DROPOUT):
        tm.export_onnx(conversion, tmp_path / "model.onnx", input_shape=(4, 6))


def test_gradients_are_not_compared() -> None:
    report = tm.verify(
        tm.convert(PARITY / "random_branch.t7"), reference=PARITY / "random_branch.reference.t7", gradients=True
    )
    assert report
    assert not any(backend.gradients for backend in report.backends)


def rows() -> list[Any]:
    """The golden cases of modules; by default only those of layers that draw."""
    found = [row for row in golden.layer_rows() if "input" in row.load() and "module" in row.load()]
    draw = {*CLASSES, "nn.Dropout", "nn.SpatialDropout", "nn.ReinforceNormal"}
    return [pytest.param(row, id=str(row), marks=[] if row.typename in draw else [pytest.mark.slow]) for row in found]


@pytest.mark.parametrize("row", rows())
def test_the_traits_tell_who_draws(row: Row) -> None:
    """Nothing else draws, and what says so does."""
    case = row.load()
    conversion = tm.convert(case["module"])
    said = any(record.traits.random for record in conversion.layers)
    given = golden.widened(tm.to_torch(case["input"]))
    before = torch.get_rng_state()
    try:
        with torch.no_grad():
            conversion.module(golden.copied(given))
    except (NotImplementedError, AttributeError):
        return  # a class of nothing but its children, or one that the golden case calls in another way
    assert said == (not torch.equal(torch.get_rng_state(), before))
    assert said == bool(drawn_numbers(conversion, given).layers)


class Jitter(torch.nn.Module):
    """Of a user's own: draws, and makes a choice by it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if float(torch.rand(())) < 0.5 else x - 1


def test_a_layer_of_a_users_own_need_not_say_it() -> None:
    def jitter(layer: tm.Layer) -> Jitter:
        return Jitter()

    Jitter.__module__ = "my_layers"
    tm.converts("my.Jitter")(jitter)
    value = tm.load(PARITY / "random_branch.t7")
    value["modules"][2.0]["modules"][1.0]["modules"][2.0] = tm.LuaObject("my.Jitter", {})
    conversion = tm.convert(value)
    drawn = drawn_numbers(conversion, torch.ones(4, 6))
    assert str(drawn).startswith("my.Jitter at 2.1.2 draws")
    assert drawn.outputs == {(1,)}

"""Networks that run their layers, or add operands, thousands of times: a clean answer in little time, nothing lost."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import golden
import lua
import pytest
import reports
import torch
from click.testing import CliRunner
from networks import chain, conv, view

import torchmigrate as tm
from torchmigrate.base.errors import LimitExceeded, TorchMigrateError, UsageError
from torchmigrate.cli import main as command_line
from torchmigrate.parity.report.comparison import BackendResult
from torchmigrate.parity.report.worst_runs import MOST_RUNS, rows_of_runs
from torchmigrate.shapes.infer import infer_input
from torchmigrate.source.generate import generate
from torchmigrate.source.statements.graphs import users_of


def sum_of(count: int, *, inplace: bool = False, typename: str = "nn.CAddTable") -> tm.LuaObject:
    """A sum of the outputs of so many branches, of which the last one has weights of its own."""
    one = lua.module("nn.MulConstant", constant_scalar=0.9, inplace=False)
    branches = lua.module("nn.ConcatTable", modules=[*[one] * (count - 1), lua.linear(4, 4)])
    return lua.sequential(branches, lua.module(typename, inplace=inplace))


@pytest.mark.parametrize(
    ("count", "typename"),
    [(40, "nn.CAddTable"), pytest.param(1200, "nn.CAddTable", marks=pytest.mark.slow), (41, "nn.CMulTable")],
)
def test_many_operands_are_a_loop(count: int, typename: str) -> None:
    conv = tm.convert(sum_of(count, typename=typename))
    source = generate(conv, torch.from_numpy(lua.numbers(2, 4)))
    assert (source.structured, source.reason) == (True, "")
    assert ("for item in" in source.text) == (count > 40)


@pytest.mark.slow
def test_the_rounding_of_a_long_sum_is_no_failure(tmp_path: Path) -> None:
    tm.dump(sum_of(4000), tmp_path / "net.t7")
    conv = tm.convert(tmp_path / "net.t7")
    report = tm.verify(conv, input_shape=(2, 4))
    assert report, report.summary()
    (single,) = [backend for backend in report.backends if backend.name == "pytorch-cpu-float32"]
    (added,) = [layer.own for layer in single.layers if layer.typename == "nn.CAddTable" and layer.own is not None]
    assert 128 * 2.0**-24 < added.share < 4000 / 2 * 2.0**-24  # more than any other layer may be off


def test_a_nest_of_selections_is_read_without_calls_in_calls() -> None:
    conv = tm.convert(lua.sequential(*[lua.module("nn.SelectTable", index=1) for _ in range(1100)]))
    with pytest.raises(UsageError, match="was not found"):
        infer_input(conv)


def test_deeper_calls_than_there_are_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def deeper(*_: object, **__: object) -> None:
        deeper()

    monkeypatch.setattr("torchmigrate.inspection.inspect.load_file", deeper)
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["inspect", str(golden.MODELS / "lenet_mnist.t7")])
    assert stopped.value.code == LimitExceeded.exit_code
    shown = capsys.readouterr().err
    assert "nested deeper than Python's calls go" in shown
    assert "Traceback" not in shown


def test_of_very_many_runs_a_report_has_the_worst() -> None:
    layers = [replace(reports.layer(i % 3), call=i // 3 + 1) for i in range(MOST_RUNS + 3)]
    layers[7] = replace(layers[7], accumulated=reports.difference(2e-3))  # of layer 1
    layers[10] = replace(layers[10], own=reports.difference(1e-3))
    layers[13] = replace(layers[13], own=None, remark="it draws")
    assert len(rows_of_runs(layers[:MOST_RUNS])) == MOST_RUNS
    rows = rows_of_runs(layers)
    assert [(row["path"], row["runs"], row["unjudged"]) for row in rows] == [
        ("0", MOST_RUNS // 3 + 1, 0),
        ("1", MOST_RUNS // 3 + 1, 1),
        ("2", MOST_RUNS // 3 + 1, 0),
    ]
    found = rows[1]["call"], rows[1]["own"]["max_abs"], rows[1]["accumulated"]["max_abs"]
    assert found == (4, pytest.approx(1e-3), pytest.approx(2e-3))
    assert rows[1]["remark"] == f"the worst of {MOST_RUNS // 3 + 1:,} runs; it draws"
    backend = BackendResult("pytorch-cpu", "failed", "far", reports.RULE, [reports.difference()], layers)
    assert backend.to_json()["first_diverging"]["call"] == 4


@pytest.mark.slow
def test_ten_thousand_runs_of_a_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    twice = lua.sequential(lua.linear(4, 4), lua.module("nn.Tanh"))
    tm.dump(lua.sequential(*[twice] * 4000), "net.t7")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    words = ["convert", "net.t7", "-o", "out", "--no-onnx", "--json", "--input-shape", "2x4"]
    done = CliRunner().invoke(command_line.cli, words, standalone_mode=False)
    took = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    assert done.return_value == 0, done.output
    assert took < 25
    assert Path("out/parity.json").stat().st_size < 100_000
    written = json.loads(Path("out/parity.json").read_text())
    assert {layer["path"]: layer["runs"] for layer in written["backends"][0]["layers"][:2]} == {
        "1.1": 4000,
        "1.2": 4000,
    }


def used(begun: float = 0.0) -> float:
    """Seconds of the processor that this process has used since then."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - begun


REPEATED = [
    lua.module("nn.Repeater", module=lua.linear(2, 2), rho=2.0**31),
    lua.module("nn.RecurrentAttention", modules=[lua.linear(2, 2), lua.linear(2, 2)], nStep=2.0**31, hiddenSize=[2]),
    lua.module(
        "nn.SpatialGlimpse", height=2, width=2, depth=2.0**31, scale=1, module=lua.module("nn.Identity"), modules=[]
    ),
]


@pytest.mark.parametrize("layer", REPEATED, ids=[layer.typename for layer in REPEATED])
def test_a_number_of_repetitions_is_counted_before_they_run(layer: tm.LuaObject) -> None:
    with pytest.raises(LimitExceeded, match=r"is [468],294,967,29\d runs of layers|is 2,147,483,64\d runs of layers"):
        tm.convert(layer)


def test_a_view_of_very_many_numbers_is_no_search_of_all_its_factors() -> None:
    begun = used()
    with pytest.raises(TorchMigrateError):
        infer_input(tm.convert(chain(conv(1, 2, 3), view(2**31), lua.module("nn.Sigmoid"))))
    assert used(begun) < 5


def test_users_of_the_nodes_of_a_graph() -> None:
    graph = SimpleNamespace(nodes=[[0, [[0]]], [1, [[1]]], [-1, [[1, 0], [2]]]], outputs=[[3], [1]])
    assert users_of(graph) == {0: [1], 1: [2, 3, 4], 2: [3], 3: [4]}


@pytest.mark.slow
def test_two_thousand_branches_of_one_layer(tmp_path: Path) -> None:
    begun = used()
    conv = tm.convert(lua.module("nn.ConcatTable", modules=[lua.linear(3, 2)] * 2000))
    assert generate(conv, torch.zeros(2, 3)).structured
    assert used(begun) < 20

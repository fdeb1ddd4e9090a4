"""Modules that run twice: Torch7's second result overwrites the first, as the real Torch7 ran them."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import golden
import lua
import onnxruntime
import pytest
import torch
from memory_rows import TRAITS, case_of, marked
from networks import Graph, table

import torchmigrate as tm
from torchmigrate.base.tensor_trees import leaves
from torchmigrate.folder.write import write
from torchmigrate.model.memory.buffers import Layers
from torchmigrate.model.memory.overwriting import SymbolicRun
from torchmigrate.model.memory.symbols import Buffer

#: The networks of which the quick tests write files too.
QUICK = (
    "Linear in two branches",
    "ReLU in place in two branches",
    "one ReLU everywhere, and a skip connection",
    "a siamese graph",
    "a view, of another size",
)
ALONE = Path(__file__).parents[1] / "source" / "run_alone.py"


@cache
def networks() -> dict[str, tm.LuaTable]:
    return {case["name"]: case for case in tm.load(TRAITS / "run_twice.t7").list()}


def runs(case: tm.LuaTable) -> list[tuple[Any, Any]]:
    """What the network got, and what Torch7 answered."""
    found = [(case["input"], case["output"])]
    if case.get("input2") is not None:
        found.append((case["input2"], case["output2"]))
    return [(tm.to_torch(given), tm.to_torch(expected)) for given, expected in found]


@pytest.mark.parametrize("name", networks())
def test_networks_give_what_torch7_gave(name: str) -> None:
    module = tm.convert(networks()[name]["module"]).module
    for given, expected in runs(networks()[name]):
        with torch.no_grad():
            golden.assert_same(module(golden.copied(given)), expected, name)


#: Every third network is enough for what is written.
WRITTEN = tuple(networks())[::3]


@pytest.mark.parametrize("name", [*QUICK[:3], *(pytest.param(name, marks=pytest.mark.slow) for name in WRITTEN)])
def test_onnx_gives_what_torch7_gave(name: str, tmp_path: Path) -> None:
    case = networks()[name]
    (given, expected), *_ = runs(case)
    exported = tm.export_onnx(tm.convert(case["module"]), tmp_path / "m.onnx", example_input=given)
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    types = {"tensor(int64)": torch.int64}
    inputs = zip(session.get_inputs(), leaves(given), strict=True)
    feeds = {at.name: x.to(types.get(at.type, torch.float32)).numpy() for at, (_, x) in inputs}
    got = [torch.from_numpy(y) for y in session.run(None, feeds)]
    golden.assert_same(got, [y.float() for _, y in leaves(expected)], name)


@pytest.mark.parametrize("names", [QUICK, pytest.param(WRITTEN, marks=pytest.mark.slow)])
def test_folders_give_what_torch7_gave(names: tuple[str, ...], tmp_path: Path) -> None:
    folders = []
    for number, name in enumerate(names):
        (given, expected), *_ = runs(networks()[name])
        conversion = tm.convert(networks()[name]["module"])
        folder = tmp_path / f"case_{number}"
        folder.mkdir()
        write(conversion, folder, given)
        with torch.no_grad():
            golden.assert_same(tm.load_converted(folder)(golden.copied(given)), expected, name)
            torch.save([(given if isinstance(given, list) else [given], conversion.module(golden.copied(given)))],
                       folder / "examples.pt")  # fmt: skip
        folders.append(str(folder))
    done = subprocess.run([sys.executable, str(ALONE), *folders], capture_output=True, text=True, check=True)
    assert {name: found for name, found in json.loads(done.stdout.splitlines()[-1]).items() if found} == {}


def test_the_source_says_what_overwrites(tmp_path: Path) -> None:
    case = networks()["one ReLU everywhere, and a skip connection"]
    write(tm.convert(case["module"]), tmp_path, tm.to_torch(case["input"]))
    forward = (tmp_path / "model.py").read_text().partition("def forward")[2]
    assert "        x = x2  # Torch7 runs one module twice: its second result overwrites the first\n" in forward


def test_a_network_that_overwrites_nothing_stays_as_it_is() -> None:
    relu = lua.module("nn.ReLU", inplace=False)
    module = tm.convert(lua.sequential(lua.linear(4, 4), relu, lua.linear(4, 4), relu)).module
    assert type(module) is torch.nn.Sequential
    assert module[1] is module[3]


def test_the_smallest_container_is_rewritten() -> None:
    relu = lua.module("nn.ReLU", inplace=False)
    skip = table("ConcatTable", lua.module("nn.Identity"), lua.sequential(lua.linear(4, 4), relu))
    block = lua.sequential(relu, skip, lua.module("nn.CAddTable", inplace=False))
    plain = lua.sequential(lua.linear(4, 4), lua.module("nn.Tanh"))
    module = tm.convert(lua.sequential(plain, block, plain, block)).module
    assert [type(part).__name__ for part in module] == ["Sequential", "Graph", "Sequential", "Graph"]
    assert module[1] is module[3]


def test_gradients_reach_the_weights_behind_an_overwritten_result() -> None:
    case = networks()["one ReLU everywhere, and a skip connection"]
    module = tm.convert(case["module"]).module.train()
    module(tm.to_torch(case["input"])).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_a_layer_that_reads_what_it_writes_is_refused() -> None:
    linear = lua.linear(4, 4)
    with pytest.raises(tm.UnsupportedLayers, match=r"nn\.Linear x1 at 1: it runs twice, and reads the very tensor"):
        tm.convert(lua.sequential(linear, lua.module("nn.ReLU", inplace=True), linear))
    notes = tm.convert(lua.sequential(linear, linear), allow_unsupported=True).notes
    assert [path for path, text in notes if "reads the very tensor" in text] == ["1"]
    tm.convert(lua.sequential(linear, lua.module("nn.ReLU", inplace=False), linear))


def test_what_runs_too_often_is_said() -> None:
    tanh = lua.module("nn.Tanh")
    net = table("ConcatTable", tanh, lua.module("nn.Tanh"))
    for _ in range(40):
        net = table("ConcatTable", net, net)
    notes = tm.convert(net, limits=tm.Limits(runs=1 << 60)).notes
    assert [path for path, text in notes if "too often to work out" in text] == [""]


def test_graphs_and_their_tables() -> None:
    """A node that gives a table, which another reads after it was written anew."""
    graph = Graph()
    start = graph(None)
    tanh, linear = lua.module("nn.Tanh"), lua.linear(4, 4)
    first = graph(tanh, start)
    second = graph(tanh, graph(linear, first))
    module = tm.convert(graph.module(start, first, second)).module
    x = torch.randn(2, 4, dtype=torch.float64)
    a, b = module(x)
    assert torch.equal(a, b)
    assert torch.equal(b, torch.tanh(module[1](torch.tanh(x))))


#: Their golden inputs are of another type, which they copy; their fields do not tell so.
COPIES_A_TYPE = {
    ("nn.Convert", "bf -> bf, Float input to a Double module"),
    ("nn.Convert", "bchw -> bchw Long input"),
}


@pytest.mark.parametrize("row", marked("reuses"))
def test_traits_say_what_the_second_run_overwrites(row: dict[str, str]) -> None:
    layers = Layers(tm.convert(case_of(row)["module"]).layers)
    run = SymbolicRun(layers, layers.by_path[""])
    older, given = run.output
    run.layer(layers.by_path[""], (Buffer(("other",)), ("other",)), ("again",))
    if (row["class"], row["variant"]) in COPIES_A_TYPE:
        pytest.xfail("its fields do not tell the type of its input")
    if row["reuses"] != "-":
        assert (run.now(older) != given) == (row["reuses"] in ("output", "storage", "resized", "other"))

"""Whose memory values are: layers that work in place, and layers that copy, as the real Torch7 ran them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import golden
import lua
import onnxruntime
import pytest
import torch
from memory_rows import TRAITS, case_of, marked
from torch import nn

import torchmigrate as tm
from torchmigrate.base.tensor_trees import leaves
from torchmigrate.converters.pointwise.dropout import CopyingDropout
from torchmigrate.folder.write import write
from torchmigrate.model.memory import buffers as memory
from torchmigrate.model.registry import module_form

ALONE = Path(__file__).parents[1] / "source" / "run_alone.py"

EXPANDED = "Torch7 adds several times to numbers that an expanded tensor shows several times; PyTorch refuses"
STRIDED = "the golden input is not contiguous, where Torch7 copies; converted inputs are contiguous"
TYPES = "it copies an input of another type; its fields do not tell which type that is"
TABLE = "it passes on the entries of a table, and copies a tensor; its fields do not tell which it gets"

#: (class, variant) -> why our network differs from the row.
GAPS = {
    ("nn.MaskZero", "by its input, which is masked too"): "Torch7 masks its input in place, ours a copy of it",
    ("nn.MaskSoftMax", "a row is masked whole"): "Torch7 masks its input in place, ours a copy of it",
    ("nn.Collapse", "nInputDim 2, non-contiguous batch"): STRIDED,
    ("nn.Contiguous", "non-contiguous input"): STRIDED,
    ("nn.Reshape", "non-contiguous input"): STRIDED,
    ("nn.Convert", "bf -> bf, Float input to a Double module"): TYPES,
    ("nn.Convert", "bchw -> bchw Long input"): TYPES,
    ("nn.ReverseSequence", "tensor"): TABLE,
    ("nn.ReverseSequence", "tensor, after a forward"): TABLE,
}


@pytest.mark.parametrize("row", marked("output", "forward_writes"))
def test_traits_say_whose_memory_the_output_is(row: dict[str, str]) -> None:
    layers = tm.convert(case_of(row)["module"]).layers
    in_place = {id(record.module) for record in layers if memory.writes(record)}
    run = memory.MemoryRun(memory.Layers(layers), in_place, set())
    parts = list(run._leaves(run.output))
    (given,) = run.input.torch7
    shared = [any(ref.cell == given.cell for ref in part.torch7) for part in parts]
    if row["output"] == "own":
        assert (row["class"], row["variant"]) in GAPS or not any(shared)
    elif row["output"] == "part":
        assert any(shared)
    elif row["output"] == "pass":
        assert all(shared)
        assert bool(run._torch7.writers[given.cell]) == (row["forward_writes"] == "yes")


def in_place_on(output: Any) -> tm.LuaObject:
    """A layer that adds 3 in place to each tensor of a nested output."""
    if isinstance(output, torch.Tensor):
        return lua.module("nn.AddConstant", constant_scalar=3.0, inplace=True)
    return lua.module("nn.ParallelTable", modules=[in_place_on(item) for item in output])


def is_floating(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(is_floating, value))
    return isinstance(value, torch.Tensor) and value.is_floating_point()


@pytest.mark.parametrize("row", marked("output", "forward_writes"))
def test_what_is_written_behind_a_layer_is_seen_before_it_as_in_torch7(row: dict[str, str]) -> None:
    case = case_of(row)
    given, output = tm.to_torch(case["input"]), tm.to_torch(case.get("output"))
    if row["output"] == "-" or not is_floating(output) or not isinstance(given, (torch.Tensor, list)):
        return  # 3 can't be added
    shown = lua.module("nn.ConcatTable", modules=[lua.module("nn.Identity"), in_place_on(output)])
    branch = lua.sequential(case["module"], shown)  # its own output shows what is written, so it must be written
    model = tm.convert(lua.module("nn.ConcatTable", modules=[lua.module("nn.Identity"), branch])).module
    expanded = row["class"] in ("nn.Replicate", "nn.ExpandAs", "nn.Constant")
    try:
        with torch.no_grad():
            kept, _ = model(golden.copied(given))
    except RuntimeError as error:
        if not expanded or "more than one element" not in str(error):
            raise
        pytest.xfail(EXPANDED)
    changed = [not torch.equal(a, b) for (_, a), (_, b) in zip(leaves(kept), leaves(given), strict=True)]
    seen = row["output"] in ("pass", "part") or row["forward_writes"] == "yes"
    if any(changed) != seen and (row["class"], row["variant"]) in GAPS:
        pytest.xfail(GAPS[row["class"], row["variant"]])
    assert any(changed) == seen


@cache
def networks() -> dict[str, tm.LuaTable]:
    return {case["name"]: case for case in tm.load(TRAITS / "shared_memory.t7").list()}


#: The networks of which the quick tests write files too.
QUICK = (
    "Dropout before ReLU(true), which its own branch shows too",
    "Copy of equal types, forced before ReLU(true), which its own branch shows too",
    "WhiteNoise before an in-place layer in a branch",
    "copy read by two nodes, one in place",
    "skip connection after an in-place layer",
    "nested containers",
)


@pytest.mark.parametrize("name", networks())
def test_networks_give_what_torch7_gave(name: str) -> None:
    case = networks()[name]
    module = tm.convert(case["module"]).module
    with torch.no_grad():
        golden.assert_same(module(tm.to_torch(case["input"])), tm.to_torch(case["output"]), name)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in networks()])
def test_onnx_gives_what_torch7_gave(name: str, tmp_path: Path) -> None:
    case = networks()[name]
    given, expected = tm.to_torch(case["input"]), tm.to_torch(case["output"])
    exported = tm.export_onnx(tm.convert(case["module"]), tmp_path / "m.onnx", example_input=given)
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    feeds = {at.name: x.float().numpy() for at, (_, x) in zip(session.get_inputs(), leaves(given), strict=True)}
    got = [torch.from_numpy(y) for y in session.run(None, feeds)]
    golden.assert_same(got, [y.float() for _, y in leaves(expected)], name)


@pytest.mark.parametrize("names", [QUICK, pytest.param(tuple(networks()), marks=pytest.mark.slow)])
def test_folders_give_what_torch7_gave(names: tuple[str, ...], tmp_path: Path) -> None:
    folders = []
    for number, name in enumerate(names):
        case = networks()[name]
        given, expected = tm.to_torch(case["input"]), tm.to_torch(case["output"])
        conversion = tm.convert(case["module"])
        folder = tmp_path / f"case_{number}"
        folder.mkdir()
        assert write(conversion, folder, given) == "", name
        with torch.no_grad():
            golden.assert_same(tm.load_converted(folder)(golden.copied(given)), expected, name)
            torch.save([(given if isinstance(given, list) else [given], conversion.module(golden.copied(given)))],
                       folder / "examples.pt")  # fmt: skip
        folders.append(str(folder))
    done = subprocess.run([sys.executable, str(ALONE), *folders], capture_output=True, text=True, check=True)
    assert {name: found for name, found in json.loads(done.stdout.splitlines()[-1]).items() if found} == {}


def dropout() -> tm.LuaObject:
    return lua.module("nn.Dropout", p=0.5, v2=True)


def table(*modules: tm.LuaObject) -> tm.LuaObject:
    return lua.module("nn.ConcatTable", modules=list(modules))


def shown_copy(copy: tm.LuaObject) -> tm.LuaObject:
    """A layer's output is written in place beside a branch that shows it, and what it got is shown too."""
    written = table(lua.module("nn.Identity"), lua.module("nn.ReLU", inplace=True))
    return table(lua.module("nn.Identity"), lua.sequential(copy, written))


def test_only_copies_that_somebody_needs_are_made() -> None:
    layers = [dropout(), lua.linear(4, 4), shown_copy(dropout())]
    module = tm.convert(lua.sequential(*layers)).module
    assert [type(module[0]), type(module[2][1][0])] == [nn.Dropout, CopyingDropout]


def test_a_copying_dropout_drops_when_it_trains() -> None:
    module = tm.convert(shown_copy(dropout())).module[1][0].train()
    assert set(module(torch.ones(1000)).tolist()) == {0.0, 2.0}


def test_a_plugin_without_a_copying_form_is_noted() -> None:
    class Quiet(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    @tm.converts("my.Quiet", traits=tm.Traits(output="copy"))
    def quiet(layer: tm.Layer) -> nn.Module:
        return Quiet()

    notes = tm.convert(shown_copy(lua.module("my.Quiet"))).notes
    assert [path for path, text in notes if "Torch7 copies its input here" in text] == ["2.1"]

    @module_form("copying", Quiet)
    class Copying(Quiet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

    conversion = tm.convert(shown_copy(lua.module("my.Quiet")))
    assert conversion.notes == []
    kept, (_, written) = conversion.module(-torch.ones(3))
    assert kept.tolist() == [-1.0] * 3
    assert written.tolist() == [0.0] * 3


def test_what_is_too_large_to_follow_is_as_in_torch7() -> None:
    """Tables that hold themselves twice, 40 times over, would never be read to an end."""
    doubled = [table(lua.module("nn.Identity"), lua.module("nn.Identity")) for _ in range(40)]
    layers = [lua.linear(2, 2), lua.module("nn.ReLU", inplace=True), dropout(), *doubled]
    start = time.process_time()
    module = tm.convert(lua.sequential(*layers)).module
    assert time.process_time() - start < 10
    assert module[1].inplace
    assert type(module[2]) is CopyingDropout


def test_thousands_of_layers_are_followed() -> None:
    relu = lua.module("nn.ReLU", inplace=True)
    block = lua.sequential(table(lua.sequential(lua.linear(2, 2), relu, dropout()), lua.module("nn.Identity")),
                           lua.module("nn.CAddTable", inplace=True))  # fmt: skip
    rows = [lua.sequential(*(lua.sequential(block, lua.linear(2, 2)) for _ in range(50))) for _ in range(20)]
    start = time.process_time()
    module = tm.convert(lua.sequential(*rows)).module
    assert time.process_time() - start < 20
    assert not any(getattr(part, "inplace", False) for part in module.modules())

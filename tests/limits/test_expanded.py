"""A small file can't take the machine: views that expand, layers that are shared or ask for gigabytes."""

from __future__ import annotations

import json
import resource
import tracemalloc
from functools import reduce
from pathlib import Path

import lua
import networks
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from networks import chain

import torchmigrate as tm
from torchmigrate.base.errors import LimitExceeded
from torchmigrate.base.memory import is_out_of_memory, memory_refusal
from torchmigrate.base.tensor_trees import count_tensors
from torchmigrate.cli.main import _run, cli
from torchmigrate.extract.extract import extract
from torchmigrate.inspection.inspect import inspect_file
from torchmigrate.model.layer_runs import count_runs


def expanded(*size: int) -> tm.Tensor:
    """A tensor of one element that looks as large as `size`."""
    storage = tm.Storage("torch.FloatStorage", np.ones(1, "f4"))
    return tm.Tensor("torch.FloatTensor", size, (0,) * len(size), 1, storage)


def wide(size: int) -> tm.LuaObject:
    return lua.module("nn.Linear", weight=expanded(size, size), bias=expanded(size))


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), standalone_mode=False)


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    """A file of some kilobytes whose 200 layers expand to 9.8 GB."""
    tm.dump(chain(*(wide(3500) for _ in range(200))), tmp_path / "bomb.t7")
    return tmp_path / "bomb.t7"


@pytest.mark.parametrize(
    "words", [["inspect", "--tensors"], ["extract", "-o", "{}.npz"], ["convert", "-o", "{}"], ["verify"], ["export"]]
)
def test_all_views_together_are_bounded(words: list[str], bomb: Path) -> None:
    tracemalloc.start()
    done = invoke(words[0], str(bomb), *(word.format(bomb.with_suffix("")) for word in words[1:]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(done.exception, LimitExceeded)
    assert (
        "the tensors of the file expand to 269573500 elements, more than Limits.expanded_elements = 268435456"
        in str(done.exception)
    )
    assert "--max-elements" in str(done.exception)
    assert peak < 30_000_000


def test_views_that_are_equal_are_counted_once(tmp_path: Path) -> None:
    one = expanded(5000, 5000)
    twins = [tm.Tensor(one.type, one.size, one.stride, 1, one.storage) for _ in range(100)]
    tm.dump(tm.LuaTable.from_list(twins), tmp_path / "twins.t7")
    assert len(tm.load(tmp_path / "twins.t7").list()) == 100
    twins[50].size = (5001, 5000)
    tm.dump(tm.LuaTable.from_list(twins), tmp_path / "twins.t7")
    limits = tm.Limits(expanded_elements=50_000_000)
    with pytest.raises(LimitExceeded, match=r"of size 5001x5000, of a storage of 1, .* expand to 50005000 elements"):
        tm.load(tmp_path / "twins.t7", limits=limits)
    assert tm.load(tmp_path / "twins.t7", limits=tm.Limits(expanded_elements=50_005_000))


def test_max_elements_raises_the_bound(tmp_path: Path) -> None:
    tm.dump(expanded(2**28 + 2), tmp_path / "large.t7")
    assert isinstance(invoke("inspect", str(tmp_path / "large.t7"), "-q").exception, LimitExceeded)
    assert invoke("inspect", str(tmp_path / "large.t7"), "-q", "--max-elements", str(2**29)).exception is None


def test_statistics_of_an_expanded_tensor_take_no_memory(tmp_path: Path) -> None:
    storage = tm.Storage("torch.FloatStorage", np.array([1, 2, np.nan, 0], "f4"))
    tm.dump(tm.Tensor("torch.FloatTensor", (50_000, 4), (0, 1), 1, storage), tmp_path / "rows.t7")
    tracemalloc.start()
    found = inspect_file(tmp_path / "rows.t7", (), tensors=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_500_000
    assert found.tensors is not None
    (one,) = found.tensors
    assert (one.min, one.max, one.mean, one.nan, one.inf, one.zeros) == (0.0, 2.0, 1.0, 50_000, 0, 50_000)
    assert one.std == pytest.approx((2 / 3) ** 0.5)


def test_an_expanded_tensor_stays_so_in_a_t7_file(tmp_path: Path) -> None:
    tm.dump(tm.LuaTable([("x", expanded(1000, 1000))]), tmp_path / "x.t7")
    extract(tmp_path / "x.t7", tmp_path / "y.t7", key="x")
    assert (tmp_path / "y.t7").stat().st_size < 1000
    assert tm.load(tmp_path / "y.t7").stride == (0, 0)


def test_json_of_an_expanded_tensor(tmp_path: Path) -> None:
    tm.dump(expanded(50_000_000), tmp_path / "x.t7")
    tracemalloc.start()
    found = extract(tmp_path / "x.t7")
    with pytest.raises(tm.UsageError, match=r"JSON of more than 16777216 numbers"):
        extract(tmp_path / "x.t7", full=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.value["mean"], found.value["max"]) == (1, 1)
    assert peak < 1_000_000


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_an_expanded_tensor_is_written_by_and_by(suffix: str, tmp_path: Path) -> None:
    tm.dump(expanded(4_000_000), tmp_path / "x.t7")
    tracemalloc.start()
    extract(tmp_path / "x.t7", tmp_path / f"y.{suffix}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000
    loaded = np.load(tmp_path / f"y.{suffix}")
    loaded = loaded["value"] if suffix == "npz" else loaded
    assert (loaded.shape, loaded.sum()) == ((4_000_000,), 4_000_000)


def doubled(kind: str, times: int) -> tm.LuaObject:
    def twice(module: tm.LuaObject, _: int) -> tm.LuaObject:
        if kind == "gModule":
            graph = networks.Graph()
            start = graph(None)
            return graph.module(start, graph(module, graph(module, start)))
        return networks.table(kind, module, module, dimension=2)

    return reduce(twice, range(times), networks.linear(4, 4))


@pytest.mark.parametrize("kind", ["Sequential", "ConcatTable", "Concat", "gModule"])
@pytest.mark.parametrize("command", ["convert", "verify", "shapes", "svg"])
def test_runs_are_counted_before_anything_runs(kind: str, command: str, tmp_path: Path) -> None:
    tm.dump(doubled(kind, 40), tmp_path / "doubled.t7")
    file, target = str(tmp_path / "doubled.t7"), str(tmp_path / "out")
    words = {
        "convert": ["convert", file, "-o", target],
        "verify": ["verify", file],
        "shapes": ["inspect", file, "--shapes"],
        "svg": ["inspect", file, "--svg", f"{target}.svg"],
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    done = invoke(*words[command])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 5
    if command != "svg":  # a picture shows what is shared as one box
        assert isinstance(done.exception, LimitExceeded)
        assert "2,199,023,255,551 runs of layers" in str(done.exception)
        assert "--max-runs" in str(done.exception)


def test_runs_are_those_that_happen() -> None:
    conv = tm.convert(doubled("ConcatTable", 5))
    runs = 0

    def count(*_: object) -> None:
        nonlocal runs
        runs += 1

    for module in conv.module.modules():
        module.register_forward_hook(count)
    conv.module(torch.zeros(2, 4))
    assert runs == count_runs(conv.module) >= 2**6 - 1  # what Torch7 writes over is a module more


def test_max_runs_raises_the_bound(tmp_path: Path) -> None:
    tm.dump(doubled("ConcatTable", 4), tmp_path / "model.t7")
    words = ["verify", str(tmp_path / "model.t7"), "--no-layers", "-q"]
    assert "31 runs of layers" in str(invoke(*words, "--max-runs", "30").exception)
    assert invoke(*words, "--max-runs", "31").exception is None
    with pytest.raises(LimitExceeded):
        tm.convert(tmp_path / "model.t7", limits=tm.Limits(runs=30))


class Greedy(torch.nn.Module):
    """Has an input only, and asks for all memory."""

    error: Exception = MemoryError("Unable to allocate 8.00 EiB for an array")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.is_meta:
            return x
        raise type(self.error)(*self.error.args)  # anew, since an error keeps where it was raised


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8.00 EiB for an array"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("std::bad_alloc"),
    ],
)
@pytest.mark.parametrize("command", ["convert", "verify"])
def test_memory_that_is_not_there_is_no_fault(
    command: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @tm.converts("my.Greedy")
    def greedy(layer: tm.Layer) -> torch.nn.Module:
        return Greedy()

    monkeypatch.setattr(Greedy, "error", error)
    tm.dump(chain(networks.linear(4, 4), lua.module("my.Greedy")), tmp_path / "model.t7")
    words = [command, str(tmp_path / "model.t7"), "--input-shape", "2x4", "--json"]
    code = _run(words + (["-o", str(tmp_path / "out"), "--no-onnx"] if command == "convert" else []))
    told = json.loads(capsys.readouterr().out)
    assert (code, told["error"]["type"]) == (3, "LimitExceeded")
    assert "There is not enough memory for Greedy at 2" in told["error"]["message"]
    assert not (tmp_path / "out").exists()


def test_memory_that_a_converter_asks_for() -> None:
    @tm.converts("my.Greedy")
    def greedy(layer: tm.Layer) -> torch.nn.Module:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 80000000 bytes. Error 12")

    with pytest.raises(RuntimeError) as caught:
        tm.convert(chain(networks.linear(4, 4), lua.module("my.Greedy")))
    assert str(memory_refusal(caught.value)).startswith(
        "There is not enough memory for my.Greedy at 2: 80000000 bytes were asked for."
    )


@pytest.mark.parametrize(
    "error", [ValueError("bad shape"), RuntimeError("size mismatch"), tm.UsageError("not enough memory")]
)
def test_other_errors_are_not_about_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)
    assert memory_refusal(error) is None


def test_what_pytorch_asserts_is_refused_by_name() -> None:
    clamp = lua.module("nn.HardTanh", min_val=0, max_val=-2, inplace=False)
    with pytest.raises(tm.UnsupportedLayers, match=r"nn\.HardTanh x1 at 2: its fields do not fit together"):
        tm.convert(chain(networks.linear(4, 4), clamp))


def test_values_of_many_dimensions_are_refused_at_once() -> None:
    """Each operator on a tensor of 2,000 dimensions takes as long as on millions of numbers."""
    replicate = lua.module("nn.Replicate", nfeatures=1, dim=1)
    conv = tm.convert(chain(networks.linear(4, 4), *[replicate] * 200))
    with pytest.raises(LimitExceeded, match=r"nn\.Replicate at \d+ would compute a tensor of 65 dimensions"):
        tm.verify(conv, input_shape="2x4")


def test_a_refusal_holds_no_frames_of_c() -> None:
    layer = networks.conv(3, 4, 3)
    layer.fields["kW"] = 1e300
    with pytest.raises(tm.UnsupportedLayers) as done:
        tm.convert(chain(layer))
    (refusal,) = done.value.refusals
    assert refusal.reason.startswith("its fields do not fit together (TypeError: empty(): argument 'size' failed")
    assert "frame #" not in refusal.reason


def nested_tables(levels: int) -> tm.LuaObject:
    """Makes a table of two of what it gets, again and again."""
    return chain(
        *(networks.table("ConcatTable", lua.module("nn.Identity"), lua.module("nn.Identity")) for _ in range(levels))
    )


@pytest.mark.parametrize("shape", [(), ("--input-shape", "2x3")])
def test_tensors_in_tables_are_counted_before_anything_goes_through_them(
    shape: tuple[str, ...], tmp_path: Path
) -> None:
    """Forty layers that give two of what they get make a table of 2^40 tensors, which takes no memory."""
    tm.dump(nested_tables(40), tmp_path / "model.t7")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    words = ["convert", str(tmp_path / "model.t7"), "-o", str(tmp_path / "out"), "--no-onnx", *shape]
    done = invoke(*words, "--max-runs", "10000")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 20
    if not shape:
        assert "input shape of the model was not found" in str(done.exception)
        return
    assert isinstance(done.exception, LimitExceeded)
    assert str(done.exception) == (
        "nn.Identity at 12.1 would give a table of 2,048 tensors, 10,234 with those of the tables before it, on an "
        "input of 2x3; Limits.runs allows 10,000. Pass another input with --input-shape, or allow more with --max-runs "
        "if you trust the file."
    )


def test_max_runs_raises_the_bound_of_tables(tmp_path: Path) -> None:
    tm.dump(nested_tables(4), tmp_path / "model.t7")
    words = ["verify", str(tmp_path / "model.t7"), "--no-layers", "-q", "--input-shape", "2x3", "--max-runs"]
    assert "nn.Sequential at the top would give a table of 16 tensors, 74 with" in str(invoke(*words, "73").exception)
    assert invoke(*words, "74").exception is None


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (torch.zeros(2), 1),
        ([torch.zeros(2), 3.0, [torch.zeros(1)]], 2),
        (reduce(lambda inner, _: [inner, (inner, None)], range(100), [torch.zeros(2)] * 3), 3 << 100),
        ({"a": [], "b": {"c": torch.zeros(1)}}, 1),
        ([], 0),
    ],
)
def test_tensors_are_counted_once_per_list(value: object, count: int) -> None:
    assert count_tensors(value) == count

"""What runs a model: devices and types, TF32, what is not run; and no more than a layer's output held at a time."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import golden
import lua
import pytest
import torch
from torch import nn

import torchmigrate as tm
from torchmigrate.base.tensor_trees import moved
from torchmigrate.parity.judge.tolerances import Rules
from torchmigrate.parity.network_copies import copy_network
from torchmigrate.parity.references.self_reference import compute_self, with_layers
from torchmigrate.parity.runs.layers import compare_layers
from torchmigrate.parity.runs.pytorch import PyTorch, tf32
from torchmigrate.parity.trace import LayerRun, trace
from torchmigrate.parity.verify.verify import backends_for
from torchmigrate.shapes.infer import Guess


def conversion(dtype: str = "f4") -> tm.Conversion:
    layers = [lua.linear(7, 5, dtype=dtype), lua.module("nn.Tanh"), lua.linear(5, 3, seed=4, dtype=dtype)]
    return tm.convert(lua.sequential(*layers))


@pytest.mark.parametrize(
    ("dtype", "devices", "names"),
    [
        ("f4", ["cpu"], ["pytorch-cpu"]),
        ("f8", ["cpu"], ["pytorch-cpu", "pytorch-cpu-float32"]),
        (
            "f4",
            ["cpu", "cuda"],
            ["pytorch-cpu", "pytorch-cuda", "pytorch-cuda-tf32", "pytorch-cuda-float16", "pytorch-cuda-bfloat16"],
        ),
    ],
)
def test_what_is_run(dtype: str, devices: list[str], names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchmigrate.parity.verify.verify.require_devices", list)  # as if there was a GPU
    conv = conversion(dtype)
    report = tm.verify(conv, input_shape=(2, 7), devices=devices)
    assert [b.name for b in backends_for(conv, report.reference, devices, None)] == names
    informs = [b.name for b in report.backends if not b.decides]
    assert informs == [name for name in names if name.endswith(("tf32", "float16"))]


def test_what_was_not_run_is_said() -> None:
    report = tm.verify(conversion(), input_shape=(2, 7))
    absent = {b.name: b.reason for b in report.backends if b.status == "not run"}
    assert absent.keys() == {"onnxruntime", "pytorch-cuda"}
    assert all(absent.values())
    assert "pytorch-cuda" in report.verdict.limits[0]


@pytest.mark.parametrize("device", ["cuda", "cuda:99"])
def test_a_missing_gpu_has_a_reason(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device != "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    expected = "no CUDA device was found" if device == "cuda" else "there are 1 CUDA devices"
    assert PyTorch(device).missing() == expected


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_is_put_back(before: bool, allowed: bool) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    kept = matmul.allow_tf32, cudnn.allow_tf32
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = before
        with tf32(allowed):
            assert (matmul.allow_tf32, cudnn.allow_tf32) == (allowed, allowed)
        assert (matmul.allow_tf32, cudnn.allow_tf32) == (before, before)
        with pytest.raises(ZeroDivisionError), tf32(allowed):
            _ = 1 / 0
        assert (matmul.allow_tf32, cudnn.allow_tf32) == (before, before)
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = kept


def test_nested_tables_move_whole() -> None:
    value = [torch.ones(2), [torch.ones(3, dtype=torch.int64), 5.0], {"a": torch.zeros(1)}]
    found = moved(value, torch.float16, "meta")
    assert [t.device.type for t in (found[0], found[1][0], found[2]["a"])] == ["meta"] * 3
    assert (found[0].dtype, found[1][0].dtype, found[1][1]) == (torch.float16, torch.int64, 5.0)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["pytorch-cuda", "pytorch-cuda-tf32", "pytorch-cuda-float16", "pytorch-cuda-bfloat16"])
def test_on_a_gpu(name: str) -> None:
    report = tm.verify(conversion(), input_shape=(2, 7), devices=["cpu", "cuda"])
    assert report, report.summary()
    result = next(b for b in report.backends if b.name == name)
    assert result.status == "passed", result.reason
    assert bool(result.layers) == result.decides


@pytest.mark.parametrize(
    ("options", "factor"),
    [({}, 1), ({"depth": 16}, 3), ({"gpu": True}, 8), ({"onnx": True}, 2), ({"onnx": True, "gpu": True}, 16)],
)
def test_tolerances_are_derived(options: dict[str, Any], factor: float) -> None:
    plain, found = (Rules(torch.float32, 4096, **o).output() for o in ({"depth": 1}, options))
    assert found.relative_to_largest
    # 1 + 0.5 * sqrt(16) = 3; a single layer has no depth
    assert found.atol == pytest.approx(plain.atol * factor, rel=0.05)
    assert "float32 rounds to 6e-08" in found.reason
    assert "sqrt(4096)" in found.reason


def test_tolerances_of_the_user_go_by_output() -> None:
    rules = Rules(torch.float32, atol={"": 1e-3, "[2]": 0.5})
    assert (rules.output("[1]").atol, rules.output("[2]").atol) == (1e-3, 0.5)
    assert not rules.output("[2]").relative_to_largest


def test_a_batch_of_another_size_is_run() -> None:
    report = tm.verify(conversion(), input_shape=(2, 7))
    assert [(b.batch, b.status) for b in report.backends[0].batches] == [(1, "passed"), (3, "passed")]


def test_a_model_that_mixes_samples_is_not_run_in_other_batches() -> None:
    batches = tm.verify(tm.convert(lua.module("nn.Normalize", p=2)), input_shape=(2, 7)).backends[0].batches
    assert [(b.batch, b.status) for b in batches] == [(1, "passed"), (3, "passed")]
    shaped = lua.sequential(lua.module("nn.View", numElements=14, size=tm.Storage("torch.LongStorage", long(1, 14))))
    report = tm.verify(tm.convert(shaped), input=torch.ones(2, 7))
    assert all(b.status == "not run" for b in report.backends[0].batches)
    assert report


def long(*values: int) -> Any:
    import numpy as np

    return np.array(values, "<i8")


class Counted(nn.Module):
    """Keeps a weak reference to each of its outputs."""

    def __init__(self, kept: list[weakref.ref[torch.Tensor]]) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = x + 1
        self.kept.append(weakref.ref(made))
        return made


def test_activations_are_dropped_as_soon_as_they_are_compared() -> None:
    conv = tm.convert(lua.sequential(*[lua.module("nn.Tanh") for _ in range(30)]))
    network = copy_network(conv)
    kept: list[weakref.ref[torch.Tensor]] = []
    for i, record in enumerate(network.layers[1:]):
        record.module = network.module[i] = Counted(kept)  # type: ignore[index, operator, unused-ignore]
    most = 0
    gc.freeze()  # what other tests left, which would be looked at for each layer

    def count(step: LayerRun) -> None:
        nonlocal most
        gc.collect()
        most = max(most, sum(made() is not None for made in kept))

    trace(network, torch.zeros(2, 3), count)
    assert len(kept) == 30
    assert most <= 3


class Ungraded(torch.nn.Module):
    """A layer that switches the recording of gradients off while the layer in it runs."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        with torch.no_grad():
            return self.inner(x)


def test_a_trace_that_is_interrupted_leaves_the_network_as_it_was() -> None:
    network = copy_network(conversion())
    running: list[int] = []

    def interrupt(step: LayerRun) -> None:
        assert any(module._forward_hooks for module in network.module.modules())
        assert not step.output.requires_grad
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trace(replace(network, module=Ungraded(network.module)), torch.zeros(2, 7), interrupt, running=running)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.module.modules())
    assert torch.is_grad_enabled()
    assert not running, "no layer failed"


def test_a_trace_raises_what_the_network_raises_and_names_the_layer() -> None:
    network = copy_network(conversion())
    running: list[int] = []
    with pytest.raises(RuntimeError):
        trace(network, torch.zeros(2, 8), leave, running=running)
    assert network.layers[running[-1]].path == "1"


def leave(step: LayerRun) -> None:
    """Lets the output stay."""


class Fails(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("planted")


def test_a_layer_that_raises_fails_by_itself_and_in_the_running_network() -> None:
    reference = compute_self(conversion(), Guess(torch.ones(2, 7), "test"))
    network = copy_network(conversion())
    network.layers[2].module = network.module[1] = Fails()  # type: ignore[index, operator, unused-ignore]
    with with_layers(reference) as whole:
        found = compare_layers(network, whole, Rules(torch.float32).layer, Rules(torch.float32).output())
    first, failing = found.results
    assert (first.path, first.call, first.passed) == ("1", 1, True)
    assert first.accumulated is not None
    assert (failing.path, failing.call, failing.shape, failing.passed) == ("2", 1, [], False)
    assert failing.own == failing.accumulated
    assert failing.own is not None
    assert failing.own.problem == "it fails: ZeroDivisionError: planted"
    assert found.output is None


class Twice(nn.Module):
    """Runs what is in it once more than the reference does."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        self.inner(x)
        return self.inner(x)


def test_layers_that_run_more_often_than_the_references_are_refused() -> None:
    reference = compute_self(conversion(), Guess(torch.ones(2, 7), "test"))
    network = copy_network(conversion())
    network.module[1] = Twice(network.module[1])  # type: ignore[index, operator, unused-ignore]
    with with_layers(reference) as whole, pytest.raises(ValueError, match="in another order"):
        compare_layers(network, whole, Rules(torch.float32).layer, Rules(torch.float32).output())


def test_a_batch_of_one_that_the_file_keeps_is_told(tmp_path: Path) -> None:
    """Torch7's View drops it: the activations in the file have a dimension less than the graph's output."""
    conversion = tm.convert(golden.MODELS / "mobile_b32.t7")
    exported = tm.export_onnx(conversion, tmp_path / "model.onnx", input_shape=(2, 1, 12, 12))
    report = tm.verify(conversion, reference="recorded", onnx=exported.path)
    (found,) = [backend for backend in report.backends if backend.name == "onnxruntime-cpu"]
    assert (found.status, found.reason) == ("passed", "the file keeps the batch of one, which Torch7 drops")
    assert report.reference.output.shape == (6,)

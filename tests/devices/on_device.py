"""What is checked on a device. The GPU tests run it on CUDA; a few rows run on the CPU, so that it stays right."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import golden
import torch
from golden import Row

import torchmigrate as tm
from torchmigrate.base.tensor_trees import apply, leaves
from torchmigrate.parity.judge.compare import compare
from torchmigrate.parity.judge.tolerances import Rules, coarser, depth_of, fan_in_of
from torchmigrate.parity.network_copies import copy_network
from torchmigrate.parity.references.dump import load_dump
from torchmigrate.parity.runs.pytorch import tf32

#: (absolute, relative): what golden cases may differ by, times 8 for a GPU's choice of algorithms.
TOLERANCES = {torch.float64: (8e-9, 8e-7), torch.float32: (1.6e-4, 1.6e-4)}


@cache
def rows() -> list[Row]:
    """One case per class, of those that are determined."""
    found = []
    for row in golden.layer_rows():
        case = row.load() if row.index == 0 else {}
        if "output" in case and "module" in case and not case.get("random"):
            found.append(row)
    return found


def cast(value: Any, dtype: torch.dtype, device: str = "cpu") -> Any:
    """Nested tensors on a device, those of floating numbers in a type."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)

    return apply(value, change)


def check_layer(row: Row, device: str, dtype: torch.dtype) -> None:
    """Output and gradient of the input of a golden case."""
    case = row.load()
    conversion = tm.convert(case["module"], mode="saved")
    module = conversion.module.to(device=device, dtype=dtype)
    given = golden.fresh_input(cast(golden.widened(tm.to_torch(case["input"])), dtype, device))
    with tf32(False):
        output = module(golden.copied(given))
        assert {tensor.device.type for tensor in golden.tensors(output) if tensor.dim()} <= {torch.device(device).type}
        expected = cast(tm.to_torch(case["output"]), dtype)
        golden.assert_same(_on_cpu(output), expected, "output", TOLERANCES[dtype])
        if "gradInput" not in case or "gradOutput" not in case:
            return
        golden.backward(output, cast(tm.to_torch(case["gradOutput"]), dtype, device))
    _compare_gradients(given, tm.to_torch(case["gradInput"]), dtype)


def _on_cpu(value: Any) -> Any:
    return apply(value, torch.Tensor.cpu)


def _compare_gradients(given: Any, expected: Any, dtype: torch.dtype) -> None:
    if isinstance(expected, list) and isinstance(given, list):
        for leaf, gradient in zip(given, expected, strict=False):
            _compare_gradients(leaf, gradient, dtype)
    elif isinstance(given, torch.Tensor) and isinstance(expected, torch.Tensor) and given.requires_grad:
        if expected.numel() != given.numel():
            return
        known = coarser(dtype, expected.dtype)  # Torch7 computed some cases in single precision
        golden.assert_same(_on_cpu(golden.gradients(given)), cast(expected, dtype), "gradInput", TOLERANCES[known])


def check_model(name: str, device: str, dtype: torch.dtype) -> None:
    """What a golden model answers, by Torch7's reference."""
    conversion, reference = model(name)
    network = copy_network(conversion, dtype, device)
    with tf32(False):
        output = network.run(tm.to_torch(reference["input"]))
    rules = Rules(
        torch.float32,  # that of most references
        max(map(fan_in_of, conversion.layers), default=1),
        depth_of(conversion.layers),
        gpu=True,
    )
    expected = cast(tm.to_torch(reference["output"]), dtype)
    assert [d.problem for d in compare(output, expected, rules.output()) if not d.passed] == []


def model(name: str) -> tuple[tm.Conversion, tm.LuaTable]:
    """A golden model, and its reference."""
    row = next(row for row in golden.model_rows() if row["name"] == name)
    plugins = [golden.FIXTURES / "plugins" / "shave_crop.py"] if name.startswith("style_shave") else []
    key = None if row["key"] == "-" else row["key"]
    conversion = tm.convert(golden.MODELS / row["file"], key=key, plugins=plugins)
    return conversion, load_dump(golden.MODELS / f"{name}.reference.t7")


def check_state(device: str) -> None:
    """A recurrent layer goes on where it stopped, on the device to which it was moved in between."""
    conversion, reference = model("lm_seqlstm")
    module = conversion.module
    value = tm.to_torch(reference["input"])
    on_cpu = [_run(module, value), _run(module, value)]
    tm.forget(module)
    module.to(device)
    again = [_on_cpu(_run(module, apply(value, partial(_to, device)))) for _ in on_cpu]
    for ours, theirs in zip(again, on_cpu, strict=True):
        golden.assert_same(ours, theirs, "output", TOLERANCES[torch.float32])


def _to(device: str, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(device)


def _run(module: torch.nn.Module, value: Any) -> Any:
    with torch.no_grad(), tf32(False):
        return module(value)


def check_loading(folder: Any, device: str) -> None:
    """`load_converted` puts the weights where they are wanted."""
    conversion, reference = model("mobile_b32")
    conversion.save(folder)
    loaded = tm.load_converted(folder, device=device)
    assert {tensor.device.type for tensor in loaded.state_dict().values()} == {torch.device(device).type}
    value = tm.to_torch(reference["input"])
    output = _run(loaded, apply(value, partial(_to, device)))
    golden.assert_same(_on_cpu(output), _run(conversion.module, value), "output", TOLERANCES[torch.float32])


def largest_error(name: str, device: str, dtype: torch.dtype) -> float:
    """How far a golden model in a type is from Torch7, relative to the largest output; for information."""
    conversion, reference = model(name)
    with tf32(False):
        output = copy_network(conversion, dtype, device).run(tm.to_torch(reference["input"]))
    pairs = zip(leaves(output), leaves(tm.to_torch(reference["output"])), strict=True)
    return max(
        float((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max())
        for (_, ours), (_, theirs) in pairs
    )

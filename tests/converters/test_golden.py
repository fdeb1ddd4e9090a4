"""Every case that the real Torch7 computed, layer by layer: output, gradients, statistics, saving."""

from __future__ import annotations

from typing import Any

import gaps
import golden
import pytest
import torch
from golden import Row

import torchmigrate as tm
from torchmigrate.folder.write import write
from torchmigrate.model.recurrent_state import forget
from torchmigrate.optim.flat_parameters import parameters

ROWS = golden.layer_rows()


def parametrize(step: str) -> Any:
    params = [
        pytest.param(
            row,
            id=str(row),
            marks=[
                *([pytest.mark.xfail(reason=why, strict=True)] if (why := gaps.reason(row, step)) else []),
                *([pytest.mark.slow] if is_slow(row, step) else []),
            ],
        )
        for row in ROWS
        if applies(row, step)
    ]
    return pytest.mark.parametrize("row", params)


def is_slow(row: Row, step: str) -> bool:
    return golden.is_further(row) or (step == "save" and not golden.is_sampled(row, 2))


def applies(row: Row, step: str) -> bool:
    """Does the golden case record what this step compares?"""
    case = row.load()
    if "criterion" in case:
        return {"output": "loss" in case, "gradInput": "gradInput" in case, "save": True}.get(step, False)
    if step == "output":
        return "output" in case
    if step == "gradInput":
        return "gradInput" in case and "gradOutput" in case
    if step == "gradParameters":
        return "gradOutput" in case and case.get("gradParameters") is not None and len(case["gradParameters"]) > 0
    if step == "after":
        return "after" in case
    return True


def convert(row: Row, **options: Any) -> tuple[tm.LuaTable, tm.Conversion]:
    case = row.load()
    value = case.get("criterion") or case["module"]
    return case, tm.convert(value, mode="saved", **options)


def run(case: tm.LuaTable, conversion: tm.Conversion, *, tracked: bool = False) -> tuple[Any, Any]:
    """The leaves that went in, and the output."""
    leaves = golden.fresh_input(golden.widened(tm.to_torch(case["input"])))
    args = [golden.copied(leaves)]
    if "criterion" in case:
        args.append(tm.to_torch(case.get("target")))
    return leaves, conversion.run_tracked(*args) if tracked else conversion.module(*args)


@parametrize("output")
def test_output(row: Row) -> None:
    case, conversion = convert(row)
    _, output = run(case, conversion)
    name = "loss" if "criterion" in case else "output"
    expected = tm.to_torch(case[name])
    half = isinstance(expected, torch.Tensor) and expected.dtype == torch.float16
    golden.assert_same(output, expected, name, None if half else tolerance(conversion))


def tolerance(conversion: tm.Conversion) -> tuple[float, float] | None:
    """That of float32 where a part of the model computes in it, whatever the type of the result."""
    single = any(p.dtype == torch.float32 for p in conversion.module.parameters())
    return golden.TOLERANCES[torch.float32] if single else None


@parametrize("gradInput")
def test_grad_input(row: Row) -> None:
    case, conversion = convert(row)
    leaves, output = run(case, conversion)
    golden.backward(output, tm.to_torch(case.get("gradOutput", 1.0)))
    compare_grad_input(leaves, tm.to_torch(case["gradInput"]), "gradInput", tolerance(conversion))


def compare_grad_input(leaves: Any, expected: Any, what: str, tolerance: tuple[float, float] | None) -> None:
    """Compares where Torch7 returns a gradient; for indices it returns nothing, zeros or what was in the buffer."""
    if isinstance(expected, list):
        assert isinstance(leaves, list)
        for i, (leaf, e) in enumerate(zip(leaves, expected, strict=False), 1):
            compare_grad_input(leaf, e, f"{what}[{i}]", tolerance)
    elif isinstance(leaves, torch.Tensor) and leaves.requires_grad:
        grad = golden.gradients(leaves)
        if isinstance(expected, torch.Tensor) and expected.numel() == 0 and not grad.any():
            return
        golden.assert_same(grad, expected, what, tolerance)


@parametrize("gradParameters")
def test_grad_parameters(row: Row) -> None:
    case, conversion = convert(row, track_gradients=True)
    _, output = run(case, conversion, tracked=True)
    golden.backward(output, tm.to_torch(case["gradOutput"]))
    regions = [region(tensor) for tensor in parameters(case["module"])]
    given = case["gradParameters"].list()
    if "nn.MapTable" in conversion.classes:  # it clones its module at the first forward
        regions *= len(given) // len(regions)
    assert len(regions) == len(given), (
        f"Torch7 has {len(given)} parameters, migrate/optim/flattening.py finds {len(regions)}"
    )
    expected: dict[Any, torch.Tensor] = {}
    counted = set()
    for key, grad in zip(regions, given, strict=True):
        if (key, grad.numpy().tobytes()) not in counted:  # tensors that share their gradient list it twice
            counted.add((key, grad.numpy().tobytes()))
            expected[key] = expected[key] + tm.to_torch(grad) if key in expected else tm.to_torch(grad)
    by_source = conversion.gradients_by_region()
    for key, value in expected.items():
        assert key in by_source, f"no converter read a parameter of size {tuple(value.shape)}"
        path, field, grad = by_source[key]
        got = torch.zeros_like(value) if grad is None else grad
        golden.assert_same(got.reshape(value.shape), value, f"gradient of {path or 'the module'}.{field}")


def region(tensor: tm.Tensor) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    return (id(tensor.storage), tensor.offset, tensor.size, tensor.stride)


@parametrize("after")
def test_running_statistics(row: Row) -> None:
    case, conversion = convert(row)
    run(case, conversion)
    buffers = dict(conversion.module.named_buffers())
    for name, value in tm.to_torch(case["after"]).items():
        golden.assert_same(next(b for n, b in buffers.items() if n.endswith(name)), value, name)


@parametrize("save")
def test_save_and_load(row: Row, tmp_path: Any) -> None:
    case, conversion = convert(row)
    write(conversion, tmp_path, tm.to_torch(case["input"]))
    loaded = tm.load_converted(tmp_path)
    expected, got = conversion.module.state_dict(), loaded.state_dict()
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert repr(loaded) == repr(conversion.module)
    if case.get("random") or case.get("writeOnly") or not ("output" in case or "loss" in case):
        return
    forget(conversion.module)  # a folder does not keep the state of an unfinished sequence
    torch.manual_seed(0)
    _, first = run(case, conversion)
    conversion.module = loaded
    torch.manual_seed(0)
    _, second = run(case, conversion)
    golden.assert_same(second, golden.copied(first), "output of the loaded module", (0.0, 0.0))


def test_unread_fields_are_explained() -> None:
    unread = {}
    for row in ROWS:
        if gaps.reason(row, "output") is None:
            _, conversion = convert(row, allow_unsupported=True)
            for path, names in conversion.unread.items():
                unread[f"{row} {path}"] = names
    assert unread == {}

"""Runs of a layer in Torch7 and here, where Torch7 runs clones in its place."""

from __future__ import annotations

import golden
import lua
import pytest
import torch

import torchmigrate as tm
from torchmigrate.parity.run_pairing import pair_runs

PARITY = golden.FIXTURES / "parity"


@pytest.mark.parametrize(
    ("theirs", "ours", "pairs"),
    [
        # layers: 0 the model, 1 its first, 2 and 3 within that, 4 its second
        ([2, 3, 1, 4, 0], [2, 3, 1, 4, 0], [0, 0, 0, 0, 0]),
        # the first run of layer 1 is left to clones, and with it what is within
        ([4, 2, 3, 1, 4, 0], [2, 3, 1, 4, 2, 3, 1, 4, 0], [0, None, None, None, 1, 0]),
        # layer 2 ran more often here in the first run of layer 1, and as often in the second
        ([2, 1, 2, 2, 1, 0], [2, 2, 1, 2, 2, 1, 0], [None, 0, 2, 3, 1, 0]),
        # a reference of some layers only
        ([2, 4], [2, 3, 1, 4, 0], [0, 0]),
        # after the last run of layer 1
        ([1, 2, 0], [1, 2, 0], [0, 0, 0]),
    ],
)
def test_pairs(theirs: list[int], ours: list[int], pairs: list[int | None]) -> None:
    inner = lua.sequential(lua.linear(3, 4), lua.module("nn.Tanh"))
    layers = tm.convert(lua.sequential(inner, lua.linear(4, 2))).layers
    assert [record.path for record in layers] == ["", "1", "1.1", "1.2", "2"]
    assert pair_runs(layers, theirs, ours) == pairs


@pytest.mark.parametrize(
    ("name", "path", "judged", "left_out"),
    [("first_step", "1.2.1", [2, 3], ""), ("cloned_entries", "1.1.3", [1, 2], "2 outputs in the reference are left")],
)
def test_clones_are_not_compared_with_the_layer(name: str, path: str, judged: list[int], left_out: str) -> None:
    conversion = tm.convert(PARITY / f"{name}.t7")
    report = tm.verify(conversion, reference=PARITY / f"{name}.reference.t7", devices=["cpu"])
    assert report
    layers = report.backends[0].layers
    assert [layer.call for layer in layers if layer.path == path and layer.own is not None] == judged
    assert left_out in "".join(report.reference.notes)
    assert bool(left_out) == any("left out" in note for note in report.reference.notes)


def test_a_fault_in_a_layer_with_clones_is_located() -> None:
    conversion = tm.convert(PARITY / "first_step.t7")
    record = next(record for record in conversion.layers if record.path == "1.2.2")
    with torch.no_grad():
        record.module.weight[1, 2] += 0.05  # type: ignore[index, operator, unused-ignore]
    report = tm.verify(conversion, reference=PARITY / "first_step.reference.t7", devices=["cpu"])
    assert not report
    assert {layer.path for layer in report.backends[0].layers if not layer.passed} >= {"1.2.2"}

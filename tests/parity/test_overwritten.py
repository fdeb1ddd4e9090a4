"""Recorded outputs that Torch7 overwrote before it saved them: they blame no layer, and hide no fault elsewhere."""

from __future__ import annotations

from functools import cache
from typing import Any

import golden
import lua
import numpy as np
import pytest

import torchmigrate as tm
from torchmigrate.parity.references import overwritten_outputs
from torchmigrate.parity.references.recorded import read_recorded


@cache
def networks() -> dict[str, tm.LuaTable]:
    return {case["name"]: case for case in tm.load(golden.FIXTURES / "parity" / "recorded_twice.t7").list()}


@pytest.mark.parametrize("name", networks())
def test_no_layer_is_blamed_for_what_was_written_over_its_output(name: str) -> None:
    conversion = tm.convert(networks()[name]["module"])
    if read_recorded(conversion, None) is None:  # then there is nothing to be judged by
        assert name == "random 15"
        return
    report = tm.verify(conversion, reference="recorded", batches=())
    assert report, report.summary()
    layers = report.backends[0].layers
    assert any(layer.own is not None for layer in layers)
    assert all(layer.remark for layer in layers if layer.own is None)


#: network -> the layers that are not judged, and one whose weight is changed.
JUDGED = {
    "a dropout in place that trained": (["1", "3", "4", ""], "5"),
    "a view of the input, written in place": (["1", "2", ""], "3"),
    "the input, written in place": (["1", "2", ""], "3"),
    "the input of a graph, written in place": (["1", "2", ""], "3"),
    "one layer in place at two places": (["1", "3", "4", "5", "4", ""], ""),
}


@pytest.mark.parametrize("name", JUDGED)
def test_the_other_layers_are_still_judged(name: str) -> None:
    unjudged, changed = JUDGED[name]
    conversion = tm.convert(networks()[name]["module"])
    report = tm.verify(conversion, reference="recorded", batches=())
    assert [layer.path for layer in report.backends[0].layers if layer.own is None] == unjudged
    if changed:
        (module,) = (record.module for record in conversion.layers if record.path == changed)
        module.weight.data.mul_(1.01)
        report = tm.verify(conversion, reference="recorded", batches=())
        assert not report
        assert [layer.path for layer in report.backends[0].layers if not layer.passed] == [changed]


def test_each_layer_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each layer before it."""
    count, x = 60, lua.numbers(2, 4)
    layers = []
    for _ in range(count):
        x = np.tanh(x)
        layers.append(lua.module("nn.Tanh", output=x))
    asked: list[Any] = []
    is_writer = overwritten_outputs.is_writer

    def counted(record: Any, *, leaf: bool) -> bool:
        asked.append(record.path)
        return is_writer(record, leaf=leaf)

    monkeypatch.setattr(overwritten_outputs, "is_writer", counted)
    read_recorded(tm.convert(lua.sequential(lua.linear(4, 4), *layers)), None)
    assert count <= len(asked) <= 4 * count

"""A small file can't take the time: tables that hold one table a hundred times, layers that hold themselves."""

from __future__ import annotations

import math
import resource
from functools import reduce
from pathlib import Path

import lua
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from networks import chain, linear

import torchmigrate as tm
from torchmigrate.base.errors import TorchMigrateError
from torchmigrate.cli.main import cli
from torchmigrate.shapes.infer import infer_input
from torchmigrate.shapes.needs import needs_of
from torchmigrate.shapes.observed_run import Observed
from torchmigrate.t7.nested import nested_count

#: Seconds of the processor that are more than any of these takes, and less than what a fault takes.
SECONDS = 8


def wide(levels: int = 8, times: int = 100) -> tm.LuaTable:
    """A list of a hundred times one list, and so on, with one tensor at the end."""
    start = tm.LuaTable.from_list([tm.Tensor.from_numpy(np.ones((2, 3), "f4"))])
    return reduce(lambda inner, _: tm.LuaTable.from_list([inner] * times), range(levels), start)


def cyclic(times: int = 100) -> tm.LuaTable:
    """A list that holds itself a hundred times."""
    table = tm.LuaTable()
    for i in range(times):
        table[float(i + 1)] = table
    return table


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (3.0, 1),
        (tm.LuaTable(), 1),
        (tm.LuaTable([("x", 1.0)]), 1),
        (tm.LuaTable.from_list([1.0, tm.LuaTable.from_list([2.0, "text"]), tm.LuaTable()]), 4),
        (wide(), 100**8),
        (wide(40, 2), 2**40),
        (cyclic(), math.inf),
        (tm.LuaTable.from_list([1.0, cyclic(1)]), math.inf),
    ],
)
def test_values_in_lists_are_counted_once_per_list(value: tm.Value, count: float) -> None:
    assert nested_count(value) == count


@pytest.mark.parametrize("make", [wide, cyclic])
@pytest.mark.parametrize("words", [["inspect"], ["verify"], ["convert", "--no-onnx", "-o", "{}"]])
def test_tables_that_are_shared_take_no_time(words: list[str], make: type, tmp_path: Path) -> None:
    layer, table = linear(3, 2), make()
    for name in ("output", "gradInput", "input", "_input"):
        layer.fields[name] = table
    model = chain(layer)
    for name in ("output", "gradInput"):
        model.fields[name] = table
    tm.dump(tm.LuaTable([("model", model), ("opt", table), ("history", table)]), tmp_path / "model.t7")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    words = [words[0], str(tmp_path / "model.t7"), *(word.format(tmp_path / "out") for word in words[1:])]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < SECONDS
    assert done.exception is None
    assert len(done.output) < 200_000


def test_a_layer_that_holds_itself_a_hundred_times() -> None:
    layer = lua.module("nn.Tanh")
    layer.fields["modules"] = tm.LuaTable.from_list([layer] * 100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with pytest.raises(TorchMigrateError, match="input shape"):
        infer_input(tm.convert(layer))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < SECONDS


def test_a_view_of_a_number_needs_no_size() -> None:
    call = Observed(calls=[((),)], site=("operator", 0), function="view", arguments=(torch.ones(()), 2, -1))
    site, needs = needs_of(call)
    assert (site, [need(((),)) for need in needs]) == (("operator", 0), [-1])
    strange = Observed(calls=[((2,), (3,))], site=("operator", 0), function="linear", arguments=(None,))
    assert needs_of(strange) == (("operator", 0), [])

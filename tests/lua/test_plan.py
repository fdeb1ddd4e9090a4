"""Networks that are filled with another flat vector, against what Torch7 computed with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from golden import FIXTURES

import torchmigrate as tm
from torchmigrate.lua.plan import fill_with_details

PLAN = FIXTURES / "lua" / "plan"
PARAMS = PLAN / "params.t7"
STATS = {"stats": PARAMS, "stats_key": "bnVars"}


def largest_difference(model: tm.LuaObject, given: tm.Tensor, wanted: tm.Tensor) -> float:
    with torch.no_grad():
        return float((tm.convert(model).module(tm.to_torch(given)) - tm.to_torch(wanted)).abs().max())


@pytest.mark.parametrize(
    ("plan", "key", "output"),
    [
        ("plan.t7", "params", "output.t7"),
        ("plan.t7", "list", "output.t7"),
        ("one_storage.t7", "params", "output.t7"),
        ("moved.t7", "params", "output_moved.t7"),
    ],
)
def test_torch7s_output(plan: str, key: str, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lupa", None)  # no Lua is needed
    model = tm.fill(PLAN / plan, weights=PARAMS, weights_key=key, **STATS)
    assert largest_difference(model, tm.load(PLAN / "input.t7"), tm.load(PLAN / output)) < 1e-6


def test_what_is_said_of_it() -> None:
    whole = fill_with_details(PLAN / "plan.t7", weights=PARAMS, weights_key="params", **STATS)
    assert whole.to_json() == {
        "parameter_tensors": 16,
        "batch_norms": 1,
        "filled": ["parameters", "statistics"],
        "notes": [],
    }
    moved = fill_with_details(PLAN / "moved.t7", weights=PARAMS, weights_key="params", **STATS)
    assert "another order than parameters() lists them" in moved.notes[0]
    checkpoint = fill_with_details(PLAN / "one_storage.t7", weights=PARAMS, weights_key="params", fresh_stats=True)
    assert checkpoint.filled == ("parameters",)
    assert checkpoint.notes[0].endswith("what lies beside it was left out: optimState")
    assert checkpoint.notes[1] == "the running statistics of 1 module were set to mean 0 and variance 1"


def test_one_of_two_networks_that_were_flattened_together() -> None:
    trained = tm.load(PLAN / "both_trained.t7")
    found = fill_with_details(PLAN / "both.t7", key="decoder", weights=trained, weights_key="params")
    assert largest_difference(found.model, trained["input"], trained["output"]) < 1e-6
    assert "29 numbers, those of all networks" in found.notes[1]


def test_what_its_own_training_left_is_no_proof_of_other_parameters() -> None:
    conversion = tm.convert(tm.fill(PLAN / "plan.t7", weights=PARAMS, weights_key="params", **STATS))
    with pytest.raises(tm.UsageError, match="no activations in the file"):
        tm.verify(conversion, reference="recorded")


def test_a_network_gives_its_own_statistics() -> None:
    plan = tm.load(PLAN / "plan.t7")
    own = plan["modules"][4]["running_var"].numpy().copy()
    model = tm.fill(PLAN / "plan.t7", weights=PARAMS, weights_key="params", stats=plan)
    assert np.array_equal(model["modules"][4]["running_var"].numpy(), own)


def test_fresh_statistics() -> None:
    model = tm.fill(PLAN / "plan.t7", weights=PARAMS, weights_key="params", fresh_stats=True)
    norm = model["modules"][4]
    assert norm["running_mean"].numpy().tolist() == [0] * 6
    assert norm["running_var"].numpy().tolist() == [1] * 6


def vector(count: int) -> tm.Tensor:
    return tm.Tensor.from_numpy(np.arange(count, dtype=np.float32))


def numbers(*size: int) -> tm.Tensor:
    return tm.Tensor.from_numpy(np.full(size, 7, np.float32))


def module(typename: str, *modules: tm.LuaObject, **fields: Any) -> tm.LuaObject:
    held = [("modules", tm.LuaTable.from_list(modules))] if modules else []
    return tm.LuaObject(typename, tm.LuaTable([*held, *fields.items()]))


def linear() -> tm.LuaObject:
    return module("nn.Linear", weight=numbers(2, 3), bias=numbers(2), gradWeight=numbers(2, 3), gradBias=numbers(2))


def batch_norm(spread: str = "running_var") -> tm.LuaObject:
    return module("nn.BatchNormalization", running_mean=numbers(2), **{spread: numbers(2)})


def net(*modules: tm.LuaObject) -> tm.LuaObject:
    return module("nn.Sequential", *(modules or (linear(),)))


def nested(times: int) -> tm.LuaObject:
    model = linear()
    for _ in range(times):
        model = net(model, model)
    return model


def with_function() -> tm.LuaObject:
    return module("nn.Linear", weight=numbers(2, 3), parameters=tm.LuaFunction(b""))


def weight_norm() -> tm.LuaObject:
    return module("nn.LinearWeightNorm", v=numbers(2, 3), g=numbers(2), bias=numbers(2), weight=numbers(2, 3))


def hidden() -> tm.LuaObject:
    return module("nn.Linear", weight=numbers(2, 3), bias=numbers(2), inside=batch_norm())


PAIRS = tm.LuaTable.from_list([tm.LuaTable.from_list([vector(2), vector(2)])])


@pytest.mark.parametrize(
    ("make", "weights", "rest", "words"),
    [
        (net, vector(7), {}, r"7 numbers, the network has 8 .*not fill is model\.modules\.1\.bias, of size 2"),
        (net, vector(9), {}, "9 numbers, the network has 8 parameters"),
        (net, numbers(2, 4), {}, "one tensor of size 2x4, not a flat vector"),
        (net, tm.LuaTable([("w", vector(8))]), {}, "a table with the keys w.*weights_key"),
        (net, vector(8), {"weights_key": "w"}, "there is nothing under 'w'"),
        (net, tm.LuaTable.from_list([numbers(3, 2), numbers(2)]), {}, "has the size 3x2, .*weight of the network 2x3"),
        (net, tm.LuaTable.from_list([numbers(2, 3)]), {}, r"1 tensors, .* 2 parameters; .* model\.modules\.1\.bias"),
        (lambda: net(module("nn.Tanh")), vector(8), {}, "the network has no parameters"),
        (lambda: net(linear(), batch_norm()), vector(8), {}, "running statistics of 1 batch normalizations are not"),
        (net, vector(8), {"stats": PAIRS, "fresh_stats": True}, "give one of them"),
        (net, vector(8), {"stats": PAIRS}, "of 1 batch normalizations, the network has 0"),
        (lambda: net(batch_norm("running_std"), linear()), vector(8), {"stats": PAIRS}, "keeps running_std"),
        (with_function, vector(6), {}, "a function of its own for parameters"),
        (weight_norm, vector(10), {}, r"model\.weight is not among what parameters\(\) of nn\.LinearWeightNorm lists"),
        (hidden, vector(8), {}, r"model\.inside has running statistics, and listModules\(\) does not list it"),
    ],
)
def test_what_does_not_fit_changes_nothing(
    make: Callable[[], tm.LuaObject], weights: Any, rest: dict[str, Any], words: str
) -> None:
    model = make()
    with pytest.raises(tm.UsageError, match=words):
        tm.fill(model, weights=weights, **rest)
    stack: list[Any] = [model]
    while stack:
        value = stack.pop()
        if isinstance(value, tm.Tensor):
            assert (value.numpy() == 7).all()
        elif isinstance(value, (tm.LuaTable, tm.LuaObject)):
            stack += [held for _, held in value.items()]


def test_a_list_in_another_order_is_seen() -> None:
    with pytest.raises(tm.UsageError, match="shares its memory with an earlier one, but other numbers are given"):
        tm.fill(PLAN / "moved.t7", weights=PARAMS, weights_key="list", **STATS)


def test_shared_modules_are_not_listed_without_end() -> None:
    tm.fill(nested(3), weights=vector(8))
    with pytest.raises(tm.T7Error, match="listed more than 100,000 times"):
        tm.fill(nested(60), weights=vector(8))


#: Their weight is worked out from others by Torch7, when training ends.
DERIVED = {"nn.LinearWeightNorm"}


def leaves(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    else:
        for part in value:
            yield from leaves(part)


@pytest.mark.parametrize("package", ["nn", "rnn", "nngraph", "dpnn", "nnx", "stn"])
def test_layers_of_every_class(package: str) -> None:
    count = 0
    for row in tm.load(PLAN / f"layers_{package}.t7").list():
        cases = tm.load(FIXTURES / "layers" / row["file"])
        for number, recorded in row["cases"].items():
            case = cases[number]
            model = case["module"]
            if case["class"] in DERIVED:
                with pytest.raises(tm.UsageError, match="is not among what"):
                    tm.fill(model, weights=recorded["vector"])
                continue
            tm.fill(model, weights=recorded["vector"], stats=model if has_statistics(model) else None)
            with torch.no_grad():
                got = list(leaves(tm.convert(model).module(tm.to_torch(case["input"]))))
            wanted = list(leaves(tm.to_torch(recorded["output"])))
            assert len(got) == len(wanted)
            for a, b in zip(got, wanted, strict=True):
                assert a.numel() == b.numel()
                torch.testing.assert_close(a.flatten(), b.flatten(), rtol=1e-4, atol=1e-5, check_dtype=False)
            count += 1
    assert count


def has_statistics(model: tm.LuaObject) -> bool:
    stack: list[Any] = [model]
    while stack:
        item = stack.pop()
        if "running_mean" in item:
            return True
        stack += item["modules"].list() if "modules" in item else []
    return False

"""From a state that Torch7 saved, PyTorch lands where Torch7 landed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import golden
import lua
import numpy as np
import pytest
import torch
from torch import nn

import torchmigrate as tm
from torchmigrate.optim.convert import optimizer_beside
from torchmigrate.optim.flat_parameters import flatten
from torchmigrate.optim.flat_positions import trace
from torchmigrate.optim.methods import adam_bound
from torchmigrate.optim.state import OptimizerState

OPTIM = golden.FIXTURES / "optim"

#: Where the rules are the same, only rounding is left.
SAME = 1e-9

#: The classes of torch.optim whose rule is another than Torch7's.
OTHER_RULE = ("adam", "asgd")


def cases(*methods: str) -> list[Any]:
    return [
        pytest.param(case, id=f"{method}: {case['variant']}")
        for method in methods
        for case in tm.load(OPTIM / f"{method}.t7").list()
    ]


RESUMED = [pytest.param(case, id=case["variant"]) for case in tm.load(OPTIM / "resumed.t7").list()]


def flat_steps(case: tm.LuaTable, **options: Any) -> tuple[OptimizerState, list[torch.Tensor]]:
    """The flat parameters after each of the recorded gradients, and the state before the first."""
    conversion = tm.convert(case["model"])
    state = tm.convert_optimizer(conversion, case["before"]["state"], **options)
    parameters = dict(conversion.module.named_parameters())
    _, places = trace(conversion)
    before = tm.to_torch(case["before"]["x"])
    with torch.no_grad():
        for place in places:
            parameters[place.name].copy_(place.take(before))
    optimizer = state.optimizer()
    scheduler = state.scheduler(optimizer)
    after = []
    for gradient in tm.to_torch(case["gradients"]):
        for place in places:
            parameters[place.name].grad = place.take(gradient)
        optimizer.step(lambda: 0.0)
        if scheduler is not None:
            scheduler.step()
        flat = torch.zeros_like(before)
        for place in places:
            flat[place.index] = parameters[place.name].detach()
        after.append(flat)
    return state, after


@pytest.mark.parametrize("case", cases("sgd", "adamax", "rmsprop", "adagrad", "adadelta"))
def test_stock_optimizers_go_on(case: tm.LuaTable) -> None:
    state, after = flat_steps(case)
    assert state.method == case["method"]
    assert state.optimizer_class.__module__.startswith("torch.optim")
    for got, expected in zip(after, tm.to_torch(case["after"]), strict=True):
        torch.testing.assert_close(got, expected, atol=SAME, rtol=0)


@pytest.mark.parametrize("case", cases("sgd", "adam", "adamax", "rmsprop", "adagrad", "adadelta", "asgd", "nag"))
def test_exact_optimizers_go_on(case: tm.LuaTable) -> None:
    _, after = flat_steps(case, exact=True, method=case["method"])
    for got, expected in zip(after, tm.to_torch(case["after"]), strict=True):
        torch.testing.assert_close(got, expected, atol=SAME, rtol=0)


@pytest.mark.parametrize("case", cases("adam"))
def test_stock_adam_stays_within_its_bound(case: tm.LuaTable) -> None:
    state, after = flat_steps(case)
    (note,) = state.notes
    options = case["before"]["state"]
    beta2, epsilon, steps = options.get("beta2", 0.999), options.get("epsilon", 1e-8), int(options["t"])
    expected = [tm.to_torch(case["before"]["x"]), *tm.to_torch(case["after"])]
    allowed = torch.zeros_like(expected[0])
    second = tm.to_torch(options["v"])
    assert f"{adam_bound(steps + 1, beta2, epsilon, second):.1e} of itself" in note
    for k, got in enumerate(after):
        # what is left of the second moments after k more steps is at least beta2 ** k of them
        bound = adam_bound(steps + 1 + k, beta2, epsilon, second * beta2**k)
        allowed += bound * (expected[k + 1] - expected[k]).abs()
        difference = (got - expected[k + 1]).abs()
        assert (difference <= 1.01 * allowed + SAME).all()
        assert difference.max() > SAME / 2, "the rules are said to differ"


def test_stock_asgd_stays_within_its_bound() -> None:
    (case,) = tm.load(OPTIM / "asgd.t7").list()
    state, after = flat_steps(case)
    assert "6e-08" in state.notes[0]
    expected = [tm.to_torch(case["before"]["x"]), *tm.to_torch(case["after"])]
    moved = sum((b - a).abs() for a, b in pairwise(expected))
    assert ((after[-1] - expected[-1]).abs() <= 6e-8 * moved + SAME).all()


def trained_on(case: tm.LuaTable, state: OptimizerState, module: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of the module after the steps that Torch7 made after it had written the checkpoint."""
    criterion = tm.convert(case["criterion"]).module
    module.train()
    optimizer = state.optimizer(module)
    scheduler = state.scheduler(optimizer)
    for value, target in zip(tm.to_torch(case["inputs"]), tm.to_torch(case["targets"]), strict=True):

        def closure(value: Any = value, target: Any = target) -> torch.Tensor:
            optimizer.zero_grad()
            loss = criterion(module(value), target)
            loss.backward()
            return loss

        if state.method != "nag":
            closure()
        optimizer.step(closure if state.method == "nag" else None)
        if scheduler is not None:
            scheduler.step()
    return {name: tensor for name, tensor in module.state_dict().items() if "num_batches" not in name}


@pytest.mark.parametrize("exact", [False, True], ids=["stock", "exact"])
@pytest.mark.parametrize("case", RESUMED)
def test_training_goes_on(case: tm.LuaTable, exact: bool) -> None:
    conversion = tm.convert(case["checkpoint"], key="model")
    method = case["method"]
    options: dict[str, Any] = {"exact": exact, "method": "nag" if method == "nag" else None}
    if not exact and (method == "nag" or "by number" in case["variant"]):
        with pytest.raises(tm.UsageError, match="--exact"):
            tm.convert_optimizer(conversion, **options)
        return
    state = tm.convert_optimizer(conversion, **options)
    assert (state.method, state.key) == (method, "optimState")
    got = trained_on(case, state, conversion.module)
    tolerance = SAME if exact or method not in OTHER_RULE else 1e-5
    for name, expected in tm.convert(case["after"]).module.state_dict().items():
        if "num_batches" not in name:
            torch.testing.assert_close(got[name], expected, atol=tolerance, rtol=0, msg=name)


def by_variant(word: str) -> tm.LuaTable:
    return next(row.values[0] for row in RESUMED if word in str(row.values[0]["variant"]))


def test_rates_by_parameter_become_groups() -> None:
    state = tm.convert_optimizer(tm.convert(by_variant("by parameter")["checkpoint"], key="model"))
    assert [(group.names, dict(group.options)) for group in state.groups] == [
        (("0.weight", "4.weight"), {"lr": 0.05, "weight_decay": 1e-2}),
        (("0.bias", "1.weight", "1.bias", "4.bias"), {"lr": 0.1, "weight_decay": 0.0}),
    ]


def test_what_torch7_does_not_train_stays() -> None:
    case = by_variant("SeqLSTM")
    conversion = tm.convert(case["checkpoint"], key="model")
    state = tm.convert_optimizer(conversion)
    assert state.not_trained == ("0.lstm.bias_hh_l0",)
    assert any("bias_hh_l0" in note for note in state.notes)
    assert not trained_on(case, state, conversion.module)["0.lstm.bias_hh_l0"].any()


def test_state_of_models_flattened_together_is_split() -> None:
    state = tm.convert_optimizer(tm.convert(by_variant("flattened together")["checkpoint"], key="model"))
    assert "20 of the 327 numbers of the state belong to no parameter of this model" in state.notes


def test_golden_checkpoints_have_their_state_found() -> None:
    found = {}
    for name in ("charrnn_checkpoint", "dcgan_discriminator", "lm_seqlstm", "mlp_batchnorm_regression",
                 "resnet_bottleneck_B", "vgg_checkpoint"):  # fmt: skip
        state = tm.convert_optimizer(tm.convert(golden.MODELS / f"{name}.t7"))
        found[name] = (state.method, state.key, sum(t.numel() for e in state.tensors.values() for t in e.values()))
        state.optimizer()
    # each vector as long as the model, and the steps of each parameter
    assert found == {
        "charrnn_checkpoint": ("rmsprop", "optim_state", 4948 + 10),
        "dcgan_discriminator": ("adam", "optimState", 2 * 11289 + 12),
        "lm_seqlstm": ("adam", "optim_state", 2 * 5128 + 9),
        "mlp_batchnorm_regression": ("rmsprop", "optimState", 1602 + 7),
        "resnet_bottleneck_B": ("adam", "optimState", 2 * 12380 + 68),
        "vgg_checkpoint": ("sgd", "optimState", 41073),
    }


def test_single_precision_goes_on_in_single_precision() -> None:
    conversion = tm.convert(golden.MODELS / "vgg_checkpoint.t7")
    optimizer = tm.convert_optimizer(conversion).optimizer()
    dtypes = {entry["momentum_buffer"].dtype for entry in optimizer.state.values()}
    assert dtypes == {torch.float32}
    first = conversion.module.get_parameter("0.weight")
    flat = tm.to_torch(conversion.value["optimState"]["dfdx"])
    torch.testing.assert_close(optimizer.state[first]["momentum_buffer"].reshape(-1), flat[: first.numel()])


def test_two_optimizers_do_not_share_their_state() -> None:
    state = tm.convert_optimizer(tm.convert(by_variant("nngraph")["checkpoint"], key="model"))
    first, second = state.optimizer(), state.optimizer()
    for parameter in first.param_groups[0]["params"]:
        parameter.grad = torch.ones_like(parameter)
    before = [entry["exp_avg"].clone() for entry in second.state.values()]
    first.step()
    assert all(torch.equal(a, b["exp_avg"]) for a, b in zip(before, second.state.values(), strict=True))


def test_scheduler_is_restored_from_its_own_state_dict() -> None:
    state = tm.convert_optimizer(tm.convert(by_variant("nesterov")["checkpoint"], key="model"))
    optimizer = state.optimizer()
    scheduler = state.scheduler(optimizer)
    assert scheduler is not None
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05 / 1.04)
    assert scheduler.state_dict()["lr_lambdas"] == [{"decay": 0.01}]
    assert state.state_dict()["param_groups"][0]["lr"] == pytest.approx(0.05 / 1.04)


def test_computed_parameters_are_refused() -> None:
    row = next(row for row in golden.layer_rows() if row.typename == "nn.WeightNorm")
    with pytest.raises(tm.UsageError, match="computed from the numbers of the file"):
        tm.convert_optimizer(tm.convert(row.load()["module"]), lua.value({"evalCounter": 1, "learningRate": 0.1}))


def linear_state(**fields: Any) -> tuple[tm.Conversion, tm.LuaTable]:
    return tm.convert(lua.linear(3, 2)), lua.value(fields)


def eight(seed: int = 0) -> Any:
    return np.abs(lua.numbers(8, seed=seed)).astype("f8")


WRONG = [
    ({"learningRate": 0.1}, {}, "--method"),
    ({"learningRate": 0.1}, {"method": "sgdd"}, "sgd, adam"),
    ({"dir_bufs": 1, "Hdiag": 1}, {}, "optim.lbfgs"),
    ({"dfdx": eight()[:5], "momentum": 0.9}, {}, "8 parameters"),
    ({"m": eight()}, {"method": "adam"}, "has no v"),
    ({"dfdx": eight(), "momentum": 0.9}, {"method": "rmsprop"}, "leaves no dfdx"),
    ({"evalCounter": 1.5}, {}, "should be a count"),
    ({"evalCounter": 1, "momentum": "much"}, {}, "should be a number"),
    ({"evalCounter": 1, "weightDecays": 3}, {}, "should be a tensor"),
    ({"evalCounter": 1}, {"config": "nowhere"}, "There is no key"),
    ({"evalCounter": 1}, {"key": "evalCounter"}, "is no table"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "options", "message"), WRONG)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], options: dict[str, Any], message: str) -> None:
    conversion, state = linear_state(**fields)
    with pytest.raises(tm.UsageError, match=message):
        tm.convert_optimizer(conversion, lua.value({"optimState": state, **dict(state.items())})
                             if "key" in options or "config" in options else state, **options)  # fmt: skip


def test_options_that_contradict_each_other_are_refused() -> None:
    conversion, state = linear_state(evalCounter=1, learningRate=0.1, momentum=0.9, nesterov=True)
    with pytest.raises(tm.UsageError, match="Nesterov"):
        tm.convert_optimizer(conversion, state).optimizer()


def test_doubts_and_defaults_are_told() -> None:
    conversion, state = linear_state(dfdx=eight(), momentum=0.9, epoch=3)
    notes = tm.convert_optimizer(conversion, state).notes
    assert any("optim.nag leaves the same fields" in note for note in notes)
    assert any("Torch7's default 0.001 is taken" in note for note in notes)
    assert any("reads no epoch" in note for note in notes)


def test_options_in_a_table_of_their_own() -> None:
    conversion = tm.convert(lua.linear(3, 2))
    value = lua.value({"optimState": {"m": eight(), "v": eight(1), "t": 7}, "optimConfig": {"learningRate": 0.25}})
    state = tm.convert_optimizer(conversion, value, config="optimConfig")
    assert (state.method, state.options["lr"], state.key) == ("adam", 0.25, "optimState")
    assert not any("default" in note for note in state.notes)


def test_states_are_told_apart_by_their_size() -> None:
    states = {"G": {"m": eight(), "v": eight(), "t": 1}, "D": {"m": eight()[:5], "v": eight()[:5], "t": 1}}
    conversion = tm.convert(lua.linear(3, 2))
    assert tm.convert_optimizer(conversion, lua.value(states)).key == "G"
    states["D"] = states["G"]
    with pytest.raises(tm.UsageError, match=r"(?s)Several.*key G.*key D"):
        tm.convert_optimizer(conversion, lua.value({**states, "D": dict(states["G"])}))


def test_states_beside_models_are_converted_unasked() -> None:
    assert optimizer_beside(tm.convert(golden.MODELS / "lenet_mnist.t7")) == (None, "")
    state, reason = optimizer_beside(tm.convert(golden.MODELS / "vgg_checkpoint.t7"))
    assert state is not None
    assert (state.method, reason) == ("sgd", "")
    conversion = tm.convert(lua.value({"model": lua.linear(3, 2), "optimState": {"m": eight(), "v": eight()[:3]}}))
    state, reason = optimizer_beside(conversion)
    assert state is None
    assert "has 3 numbers" in reason


def test_modules_shared_very_often_are_counted_once() -> None:
    module = lua.linear(2, 2)
    for _ in range(60):
        module = lua.sequential(module, module)
    assert flatten(module).size == 6


def test_rmsprop_begins_with_its_initial_mean() -> None:
    conversion, state = linear_state(initialMean=1, learningRate=0.1)
    found = tm.convert_optimizer(conversion, state)
    assert all(
        torch.equal(entry["square_avg"], torch.ones_like(entry["square_avg"])) for entry in found.tensors.values()
    )


#: The weight of nn.WeightNorm is computed from its direction and its length.
COMPUTED = {"nn.WeightNorm"}


def test_every_layer_keeps_its_parameters() -> None:
    first = {row.typename: row for row in reversed(golden.layer_rows())}
    lost = {}
    for typename, row in first.items():
        module = row.load().get("module")
        if module is None or flatten(module).size == 0 or typename in COMPUTED:
            continue
        flat, places = trace(tm.convert(module))
        known = torch.cat([place.index[place.index >= 0] for place in places])
        if known.unique().tolist() != list(range(flat.size)) or any(not p.whole and not p.foreign for p in places):
            lost[typename] = [place.name for place in places]
    assert lost == {}

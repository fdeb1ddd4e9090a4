"""From Lua objects to modules: sharing, ties, refusals, unread fields, in-place layers."""

from __future__ import annotations

from pathlib import Path

import lua
import numpy as np
import pytest
import torch
from torch import nn

import torchmigrate as tm
from torchmigrate.model import registry


def test_module_met_twice_is_one_module() -> None:
    shared = lua.linear(4, 4)
    conversion = tm.convert(lua.sequential(shared, lua.module("nn.Tanh"), shared))
    assert conversion.module[0] is conversion.module[2]
    assert conversion.layers[1].paths == ["1", "3"]
    assert conversion.module_names() == {"": "", "1": "0", "2": "1", "3": "0"}


def test_tied_weights_stay_tied_and_are_saved_once(tmp_path: Path) -> None:
    first, second = lua.linear(3, 5), lua.linear(3, 5, seed=7)
    second.fields["weight"] = first["weight"]
    conversion = tm.convert(lua.module("nn.ConcatTable", modules=[first, second]))
    a, b = conversion.module
    assert a.weight is b.weight
    assert a.bias is not b.bias
    conversion.save(tmp_path / "out")
    loaded = tm.load_converted(tmp_path / "out")
    assert loaded[0].weight is loaded[1].weight
    assert loaded[0].bias is not loaded[1].bias


def test_flattened_parameters_get_storages_of_their_own() -> None:
    storage = tm.Storage("torch.DoubleStorage", lua.numbers(18))
    layers = [
        lua.module(
            "nn.Linear", weight=lua.tensor_view(storage, 1 + 9 * i, 2, 3), bias=lua.tensor_view(storage, 7 + 9 * i, 2)
        )
        for i in range(2)
    ]
    module = tm.convert(lua.module("nn.ConcatTable", modules=layers)).module
    pointers = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    assert len(pointers) == 4
    for i, layer in enumerate(module):
        np.testing.assert_array_equal(layer.weight.detach().numpy(), storage.data[9 * i : 9 * i + 6].reshape(2, 3))
        assert layer.weight.untyped_storage().nbytes() == 6 * 8


def test_every_unsupported_layer_is_named_with_its_path() -> None:
    model = lua.sequential(
        lua.module("my.First"), lua.sequential(lua.linear(2, 2), lua.module("my.Second")), lua.module("my.First")
    )
    with pytest.raises(tm.UnsupportedLayers) as caught:
        tm.convert(model)
    found = [(refusal.typename, refusal.path) for refusal in caught.value.refusals]
    assert found == [("my.First", "1"), ("my.Second", "2.2"), ("my.First", "3")]
    text = str(caught.value)
    assert "my.First x2 at 1, 3" in text
    assert "my.Second x1 at 2.2" in text


def test_allow_unsupported_raises_only_when_run() -> None:
    conversion = tm.convert(lua.sequential(lua.linear(3, 2), lua.module("my.Layer")), allow_unsupported=True)
    assert [refusal.typename for refusal in conversion.refusals] == ["my.Layer"]
    with pytest.raises(NotImplementedError, match=r"my\.Layer at 2 was not converted"):
        conversion.module(torch.zeros(1, 3, dtype=torch.float64))


def test_alias() -> None:
    conversion = tm.convert(
        lua.sequential(lua.linear(3, 2), lua.module("my.Rectifier")), aliases={"my.Rectifier": "nn.ReLU"}
    )
    assert isinstance(conversion.module[1], nn.ReLU)
    assert conversion.layers[2].typename == "my.Rectifier"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lua.module("nn.Linear", bias=lua.numbers(3)), "it has no field 'weight'"),
        (lua.module("nn.Linear", weight="x"), "its field 'weight' should be a tensor and is 'x'"),
        (lua.module("nn.Linear", weight=lua.numbers(3)), "its fields do not fit together"),
        (
            lua.module("nn.Linear", weight=lua.numbers(3, 2), bias=lua.numbers(2)),
            r"'bias' of shape \(2,\).* needs \(3,\)",
        ),
        (lua.module("nn.Sequential", modules=[1.0]), "its '1' should be a module and is 1.0"),
        (lua.module("nn.Sequential", modules="x"), "should be a list of modules"),
        (lua.module("nn.Concat", dimension=1.5, modules=[]), "should be a whole number and is 1.5"),
    ],
)
def test_broken_layers_are_refused_with_the_field(model: tm.LuaObject, words: str) -> None:
    with pytest.raises(tm.UnsupportedLayers, match=words):
        tm.convert(model)


def test_module_that_contains_itself_is_refused() -> None:
    model = lua.sequential()
    model["modules"][1] = model
    with pytest.raises(tm.UnsupportedLayers, match="contains itself"):
        tm.convert(model)


def test_nesting_without_end_is_refused() -> None:
    model = lua.linear(1, 1)
    for _ in range(3000):
        model = lua.sequential(model)
    with pytest.raises(tm.UnsupportedLayers, match="nested more than"):
        tm.convert(model)


def test_method_replaced_by_a_lua_function_is_refused() -> None:
    layer = lua.linear(2, 2)
    layer.fields["updateOutput"] = tm.LuaFunction(b"\x1bLJ")
    with pytest.raises(tm.UnsupportedLayers, match="the file replaces its updateOutput by a Lua function"):
        tm.convert(layer)


def test_unread_fields_are_reported() -> None:
    layer = lua.linear(2, 3)
    layer.fields["temperature"] = 0.7
    layer.fields["gradWeight"] = layer["weight"]
    assert tm.convert(lua.sequential(layer)).unread == {"1": ["temperature"]}


def test_half_is_widened_and_said() -> None:
    conversion = tm.convert(lua.linear(2, 3, dtype="f2"))
    assert conversion.module.weight.dtype == torch.float32
    assert any("half precision" in text for _, text in conversion.notes)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([("nn.ReLU", True)], [False]),  # the caller's own input
        ([("Linear", None), ("nn.ReLU", True)], [False]),  # nobody else sees a fresh output
        ([("nn.Identity", None), ("nn.ReLU", True)], [False]),  # still the caller's
    ],
)
def test_inplace_stays_only_where_it_can_be_seen(layers: list[tuple[str, bool | None]], expected: list[bool]) -> None:
    made = [lua.linear(2, 2) if name == "Linear" else lua.module(name, inplace=flag) for name, flag in layers]
    module = tm.convert(lua.sequential(*made)).module
    assert [child.inplace for child in module if hasattr(child, "inplace")] == expected


def test_an_in_place_sum_can_be_trained_where_its_first_branch_makes_a_tensor() -> None:
    def branches(*first: tm.LuaObject) -> tm.LuaObject:
        made = lua.module("nn.ConcatTable", modules=[lua.sequential(*first), lua.module("nn.Identity")])
        return lua.sequential(lua.linear(2, 2), made, lua.module("nn.CAddTable", inplace=True))

    relu = lua.module("nn.ReLU", inplace=True)
    module = tm.convert(branches(lua.linear(2, 2), relu)).module
    assert not module[2].inplace
    module(torch.randn(3, 2, dtype=torch.float64)).sum().backward()
    module = tm.convert(branches(relu)).module
    assert module[1][0][0].inplace  # it changes what the second branch hands on
    assert not module[2].inplace  # nobody reads its first operand again


def test_saved_mode_follows_each_layer() -> None:
    model = lua.sequential(
        lua.linear(2, 2), lua.module("nn.Dropout", p=0.5, v2=True, train=False), lua.module("nn.Tanh")
    )
    model.fields["train"] = True
    model["modules"][3].fields["train"] = True
    module = tm.convert(model, mode="saved").module
    assert [module.training, *(child.training for child in module)] == [True, False, False, True]
    assert not any(child.training for child in tm.convert(model).module.modules())


def test_weights_that_are_no_numbers_are_told() -> None:
    weight = lua.numbers(5, 3)
    weight[2, 1] = np.nan
    layer = lua.module("nn.Linear", weight=weight, bias=lua.numbers(5))
    assert ("1", "its weight holds NaN or Inf") in tm.convert(lua.sequential(layer)).notes


def test_another_converter_keeps_the_traits_of_the_class() -> None:
    known = registry.traits_of("nn.Dropout")
    assert known.output == "copy"
    registry.converts("nn.Dropout", override=True)(registry.find("nn.Identity"))
    assert registry.traits_of("nn.Dropout") == known
    registry.converts("nn.Dropout", traits=tm.Traits(output="pass"), override=True)(registry.find("nn.Identity"))
    assert registry.traits_of("nn.Dropout").output == "pass"


SIZES = {"nInputPlane": 2.0, "nOutputPlane": 3.0, "kW": 3.0, "kH": 3.0, "dW": 1.0, "dH": 1.0, "padW": 0.0, "padH": 0.0}


@pytest.mark.parametrize(
    ("made", "alias"),
    [
        (lua.module("my.AddConst", constant_scalar=2.0, inplace=False), "nn.AddConstant"),
        (lua.module("my.ReLU"), "nn.ReLU"),
        (lua.module("my.Conv", weight=np.zeros((3, 2, 3, 3)), bias=np.zeros(3), **SIZES), ""),
        (
            lua.module("my.SpatialConv", weight=np.zeros((3, 2, 3, 3)), bias=np.zeros(3), **SIZES),
            "nn.SpatialConvolution",
        ),
        (lua.module("my.AddConst", scalar=2.0), ""),  # a field that nn.AddConstant has not
        (lua.module("nn.MyLinear", weight=np.zeros((3, 2)), bias=np.zeros(4)), ""),  # that do not fit together
        (lua.module("nn.MyTanh"), ""),  # a name alone says too little
    ],
)
def test_an_unknown_class_with_the_fields_of_a_known_one_suggests_an_alias(made: tm.LuaObject, alias: str) -> None:
    with pytest.raises(tm.UnsupportedLayers) as caught:
        tm.convert(lua.sequential(made, made))
    assert {refusal.alias for refusal in caught.value.refusals} == {alias}
    assert (f"pass --alias {made.typename}={alias}" in str(caught.value)) == bool(alias)
    assert str(caught.value).count("--alias") == (2 if alias else 1)


def test_a_container_of_another_type_than_its_layers_changes_nothing() -> None:
    """`nn.Sequential():add(net:float())` is of Torch7's default type, Double, and runs its layers as they are."""
    net = lua.sequential(lua.linear(3, 2, dtype="f4"))
    net.fields["_type"] = "torch.DoubleTensor"
    net["modules"][1].fields["_type"] = "torch.FloatTensor"
    conv = tm.convert(net)
    assert conv.module(torch.ones(4, 3)).dtype == torch.float32
    assert conv.notes == []

"""An object of another author's class of the same name is converted as what it is, or refused."""

from __future__ import annotations

import lua
import project_checks as checks
import pytest
import torch

import torchmigrate as tm

OTHERS = [
    (lua.module("nn.AddScalar", scalar=3.0), "it has scalar"),
    (lua.module("nn.ReplicateAdd", weight=lua.numbers(3)), "it has weight"),
    (lua.module("nn.Rectifier", threshold=0.5), "it has threshold"),
    (lua.module("nn.FeatExpander", n=2, relu=lua.module("nn.ReLU")), "it has relu"),
    (lua.module("nn.OuterProd", normalize=True), "it has normalize"),
    (lua.module("nn.Reverse", dim=1, copies=False), "it has copies"),
    (lua.module("nn.ReinforceCategorical", bMomentum=0.9), "hang on chance"),
    (lua.module("nn.CAddTable", weight=lua.numbers(2)), "it has weight"),
    (lua.module("nn.JoinTable", dimension=1, bias=lua.numbers(2)), "it has bias"),
    (lua.module("nn.SoftMax", weight=lua.numbers(3)), "it has weight"),
    (lua.module("nn.Scale", height=3, width=4, output=lua.numbers(1, 3, 4)), "scales all of a batch"),
]


@pytest.mark.parametrize(("made", "reason"), OTHERS, ids=[made.typename for made, _ in OTHERS])
def test_settings_that_the_class_has_not_are_refused(made: tm.LuaObject, reason: str) -> None:
    assert reason in checks.refused(made)


def test_what_an_author_notes_on_a_layer_of_torch7_is_told_and_not_refused() -> None:
    made = lua.module("nn.CAddTable", reuse=True, learningRate=0.1)
    assert tm.convert(made).unread == {"": ["reuse", "learningRate"]}
    inside = lua.module("nn.Sequential", modules=[lua.module("nn.ReLU")], weight=lua.numbers(2))
    assert tm.convert(inside).unread == {"": ["weight"]}


def test_names_and_leftovers_say_nothing() -> None:
    made = lua.module("nn.Rectifier", label="first", output=lua.numbers(2, 3), mapped=lua.numbers(2))
    assert tm.convert(made).module(torch.tensor([-1.0, 2.0])).tolist() == [0, 2]


def test_the_user_can_say_that_it_is_the_known_class() -> None:
    made = lua.module("nn.Rectifier", threshold=0.5)
    conversion = tm.convert(made, aliases={"nn.Rectifier": "nn.Rectifier"})
    assert conversion.module(torch.tensor([-1.0, 2.0])).tolist() == [0, 2]
    assert conversion.unread == {"": ["threshold"]}

"""Finding the model inside a checkpoint."""

from __future__ import annotations

import golden
import lua
import pytest

import torchmigrate as tm
from torchmigrate.model.locate import locate
from torchmigrate.model.supported_classes import table

NET, OTHER, LOSS = lua.linear(2, 3), lua.linear(3, 2), lua.module("nn.MSECriterion")
TRAINER = tm.LuaObject("my.Trainer", lua.value({"net": NET, "opt": {"lr": 0.1}}))


@pytest.mark.parametrize(
    ("checkpoint", "key", "found"),
    [
        (NET, None, ""),
        (lua.value({"epoch": 3, "model": NET, "criterion": LOSS}), None, "model"),
        (lua.value({"protos": {"rnn": NET, "criterion": LOSS}, "opt": {}}), None, "protos.rnn"),
        (lua.value({"protos": {"rnn": NET, "gru": OTHER}}), "protos.gru", "protos.gru"),
        (lua.value([NET, OTHER]), "2", "2"),
        (lua.value({"model": NET, "best_model": OTHER}), None, "model"),
        (lua.value({"criterion": LOSS}), None, "criterion"),
        (lua.value({"net": NET, "same": NET}), None, "net"),
        (tm.LuaObject("tds.Hash", lua.value({"net": NET})), None, "net"),
        (lua.value({"trainer": TRAINER}), "trainer.net", "trainer.net"),
        (lua.value({"trainer": TRAINER, "best": OTHER}), None, "best"),
    ],
)
def test_finds(checkpoint: tm.LuaTable, key: str | None, found: str) -> None:
    assert locate(checkpoint, key).key == found


@pytest.mark.parametrize(
    ("checkpoint", "key", "words"),
    [
        (
            lua.value({"opt": {}, "loss": 3}),
            None,
            r"this holds no model. What it holds: a table with 2 entries \(opt, loss\)",
        ),
        (
            lua.value([NET, OTHER]),
            None,
            r"(?s)holds 2 models; choose one:.*--key 1  \(nn.Linear, 9 parameters\).*--key 2  \(nn.Linear, 8",
        ),
        (lua.value({"model": NET}), "modle", r"no key 'modle' at the top; there is: model"),
        (lua.value({"a": {"model": NET}}), "a.x", r"no key 'x' in a; there is: model"),
        (lua.value({"model": NET, "opt": {}}), "opt", "no Torch7 module but a table"),
        (1.0, None, "this holds no model. What it holds: number, 1"),
        (tm.LuaObject("tds.Vec", lua.value([1, 2])), None, "holds no model. What it holds: .*tds.Vec"),
        (TRAINER, None, r"(?s)holds <my.Trainer with 2 fields>, in which.*--key net  \(nn.Linear, 9 parameters\)"),
        (lua.value({"a": {"t": TRAINER}}), None, r"(?s)a table with 1 entry \(a\), in which.*--key a.t.net"),
    ],
)
def test_says_what_there_is(checkpoint: tm.LuaTable, key: str | None, words: str) -> None:
    with pytest.raises(tm.ModelNotFound, match=words):
        locate(checkpoint, key)


def test_a_class_with_an_alias_is_a_module() -> None:
    held = tm.LuaObject("my.Model", lua.value({"weight_": 1, "net": NET}))
    with pytest.raises(tm.ModelNotFound, match="--key net"):
        tm.convert(held)
    assert tm.convert(held, aliases={"my.Model": "nn.Identity"}).key == ""


def test_passed_over_models_are_said() -> None:
    conversion = tm.convert(lua.value({"model": NET, "best_model": OTHER}))
    assert any("best_model" in text for _, text in conversion.notes)


@pytest.mark.parametrize("row", golden.model_rows(), ids=lambda row: row["name"])
def test_golden_models(row: dict[str, str]) -> None:
    value = tm.load(golden.MODELS / row["file"])
    key = "" if row["key"] == "-" else row["key"]
    assert locate(value, key or None, table().keys()).key == key
    if row["name"] not in ("autoencoder_list", "wordrnn_two_protos", "dqn_rectifier"):  # two models in one file
        assert locate(value, None, table().keys()).key == key

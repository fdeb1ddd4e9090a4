"""Activations that Torch7 left in a file: found, judged, told from ones that are older than the weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import golden
import lua
import numpy as np
import pytest
import torch

import torchmigrate as tm
from torchmigrate.folder.verify_folder import VerifyOptions, verify_path
from torchmigrate.parity.references.recorded import read_recorded

#: model -> (runs that are judged, is Torch7's own input in the file?)
FRESH = {
    "alexnet_grouped_lrn": (20, False),
    "googlenet_aux": (62, False),
    "mobile_b32": (5, False),
    "siamese_cosine": (21, True),
    "stn_affine6": (11, True),
    "superres_vgg7": (10, False),
}

#: Saved after a step of an optimizer: model -> (runs that are judged, of these with the weights before it, the step)
PROVEN = {
    "charrnn_checkpoint": (37, 5, "optim.rmsprop, by its state in the file"),
    "dcgan_discriminator": (12, 6, "optim.adam, by its state in the file"),
    "enet_unpooling": (140, 69, "SGD, lr 0.001"),
    "lenet_mnist": (12, 4, "SGD, lr 0.05"),
    "lm_sequencer_fastlstm": (10, 8, "SGD, lr 0.1"),
    "mlp_batchnorm_regression": (6, 3, "optim.rmsprop, by its state in the file"),
    "resnet_bottleneck_B": (81, 44, "optim.adam, by its state in the file"),
}

#: Saved after a step of Adam, without its state.
UNKNOWN = "autoencoder_list"

#: Saved after weights were multiplied by hand, of which nothing in the file tells.
CHANGED = "multitask_tables"


def convert(name: str) -> tm.Conversion:
    row = next(row for row in golden.model_rows() if row["name"] == name)
    plugins = [golden.FIXTURES / "plugins" / "shave_crop.py"] if name.startswith("style_shave") else []
    return tm.convert(golden.MODELS / row["file"], key=None if row["key"] == "-" else row["key"], plugins=plugins)


@pytest.mark.parametrize("name", FRESH)
def test_activations_that_belong_to_the_weights_agree(name: str) -> None:
    judged, own_input = FRESH[name]
    report = tm.verify(convert(name), batches=())
    assert report, report.summary()
    assert report.reference.kind == "recorded"
    assert report.verdict.level == ("passed" if own_input else "partly")
    assert report.proven == own_input
    assert own_input or report.verdict.title.startswith("PARTLY COMPARED (")
    assert (report.reference.probe is None) == own_input
    layers = report.backends[0].layers
    assert sum(layer.own is not None for layer in layers) == judged
    assert all(layer.remark for layer in layers if layer.own is None)


#: Those that take long.
LARGE = ("enet_unpooling", "resnet_bottleneck_B")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in PROVEN]
)
def test_activations_older_than_the_weights_are_proven_with_the_weights_before_the_last_step(name: str) -> None:
    judged, proven, step = PROVEN[name]
    report = tm.verify(convert(name), batches=())
    assert report, report.summary()
    assert report.reference.kind == "recorded"
    assert any(f"before the last step ({step})" in note for note in report.reference.notes)
    for layers in (backend.layers for backend in report.backends if backend.layers):
        assert sum(layer.own is not None for layer in layers) == judged
        assert sum(f"proven before the last step ({step})" in layer.remark for layer in layers) == proven
    older = [layer for layer in report.backends[0].layers if "not judged: older" in layer.remark]
    assert older == []


def test_activations_older_than_the_weights_are_not_judged_where_the_step_is_unknown() -> None:
    report = tm.verify(convert(UNKNOWN), layers=False, batches=())
    assert report, report.summary()
    assert report.reference.kind == "self", "the next best"
    assert any("older than its weights" in note for note in report.reference.notes)
    forced = tm.verify(convert(UNKNOWN), reference="recorded", batches=())
    assert forced, forced.summary()
    assert forced.verdict.level == "partly"
    assert forced.verdict.title.startswith("PARTLY COMPARED (")
    assert "older than the weights" in forced.verdict.meaning
    older = [layer for layer in forced.backends[0].layers if "not judged: older than the weights" in layer.remark]
    assert [layer.typename for layer in older] == ["nn.Linear", "nn.Linear"]
    assert all(layer.own is None for layer in older)
    assert any(layer.own is not None and layer.own.passed for layer in forced.backends[0].layers)


def test_weights_that_were_changed_without_a_step_look_like_a_wrong_conversion() -> None:
    report = tm.verify(convert(CHANGED), reference="recorded", batches=())
    assert not report
    assert {layer.typename for layer in report.backends[0].layers if not layer.passed} == {"nn.Linear"}


def test_every_other_model_has_none() -> None:
    others = [row["name"] for row in golden.model_rows() if row["name"] not in {*FRESH, *PROVEN, UNKNOWN, CHANGED}]
    assert [name for name in others if read_recorded(convert(name), None) is not None] == []


def test_a_file_without_activations_is_refused_by_name() -> None:
    with pytest.raises(tm.UsageError, match="no activations"):
        tm.verify(convert("vgg_checkpoint"), reference="recorded")


def chain(*, inplace: bool, wrong: float = 0.0) -> tm.LuaObject:
    """Linear, Tanh, Linear, Threshold, Linear as Torch7 leaves them after a forward: an in-place layer overwrites."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3, 5))
    linears = [lua.linear(5, 4, seed=1), lua.linear(4, 6, seed=2), lua.linear(6, 2, seed=3)]

    def forward(obj: tm.LuaObject, x: np.ndarray) -> np.ndarray:
        return x @ obj["weight"].numpy().T + obj["bias"].numpy()

    first = forward(linears[0], x)
    second = np.tanh(first)
    third = forward(linears[1], second)
    fourth = np.where(third > 0.1, third, -0.5)
    fifth = forward(linears[2], fourth)
    tensors = [tm.Tensor.from_numpy(y) for y in (first, second, third, fourth, fifth)]
    if inplace:
        tensors[2] = tensors[3]
    threshold = lua.module("nn.Threshold", threshold=0.1, val=-0.5, inplace=inplace)
    modules = [linears[0], lua.module("nn.Tanh"), linears[1], threshold, linears[2]]
    for module, tensor in zip(modules, tensors, strict=True):
        module.fields["output"] = tensor
    model = lua.sequential(*modules)
    model.fields["output"] = tensors[-1]
    weight = np.array(linears[1]["weight"].numpy())
    weight[2, 1] += wrong
    linears[1].fields["weight"] = tm.Tensor.from_numpy(weight)
    return model


@pytest.mark.parametrize("inplace", [False, True])
def test_an_output_that_was_overwritten_is_judged_with_what_overwrote_it(inplace: bool) -> None:
    report = tm.verify(tm.convert(chain(inplace=inplace)))
    assert report, report.summary()
    layers = {layer.path: layer for layer in report.backends[0].layers}
    assert layers["1"].own is None
    assert "is not in the file" in layers["1"].remark
    assert all(layers[path].own is not None for path in ("2", "4", "5"))
    assert layers["3"].own is not None
    assert ("written over by nn.Threshold at 4" in layers["3"].remark) == inplace
    assert ("judged together" in layers["4"].remark) == inplace


@pytest.mark.parametrize("inplace", [False, True])
def test_a_wrong_layer_is_wrong_and_not_stale(inplace: bool) -> None:
    report = tm.verify(tm.convert(chain(inplace=inplace, wrong=1e-3)))
    assert not report
    diverging = report.backends[0].diverging
    assert diverging is not None
    assert (diverging.path, diverging.typename) == ("3", "nn.Linear")


def test_the_smallest_part_holds_what_wrote_over_its_output(tmp_path: Path) -> None:
    tm.dump(chain(inplace=True, wrong=1e-3), tmp_path / "faulty.t7")
    made = verify_path(tmp_path / "faulty.t7", VerifyOptions(bisect=tmp_path / "failing")).reproduction
    assert made is not None
    assert (made.path, made.typename) == ("3", "nn.Linear")
    part = tm.load(made.folder / "module.t7")
    assert [module.typename for module in part["modules"].list()] == ["nn.Linear", "nn.Threshold"]
    assert "nn.Threshold, which wrote over its output" in (made.folder / "reproduce.py").read_text()
    done = subprocess.run(
        [sys.executable, str(made.folder / "reproduce.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.endswith("FAILED\n")


def test_an_input_is_found_in_a_graph() -> None:
    conversion = convert("charrnn_checkpoint")
    found = read_recorded(conversion, None)
    assert found is not None
    judged = [key for key in found.layers if key not in found.unjudged]
    first = [key for key in judged if conversion.layers[key[0]].typename == "OneHot"]
    assert first, "the layer at the very front is judged, since the graph holds its input"


def test_the_same_seed_gives_the_same_report(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        torch.manual_seed(len(texts))
        texts.append(tm.verify(convert("mobile_b32")).write(tmp_path / name).read_text())
    assert texts[0] == texts[1]


@pytest.mark.parametrize("kind", ["cyclic", "huge", "an object", "empty"])
def test_hostile_activations_are_left_alone(kind: str) -> None:
    model = lua.sequential(lua.linear(5, 4), lua.module("nn.Tanh"))
    storage = tm.Storage("torch.DoubleStorage", np.zeros(1))
    cyclic = tm.LuaTable()
    cyclic[1.0] = cyclic
    output = {
        "cyclic": cyclic,
        "huge": tm.Tensor("torch.DoubleTensor", (1 << 20, 1 << 20), (0, 0), 1, storage),
        "an object": lua.module("nn.Tanh"),
        "empty": tm.Tensor("torch.DoubleTensor", (), (), 1, None),
    }[kind]
    for path in (1.0, 2.0):
        model["modules"][path].fields["output"] = output
    report = tm.verify(tm.convert(model))
    assert report, report.summary()
    assert report.reference.kind == "self"


def test_a_layer_that_ran_before_and_runs_again_overwrites_too() -> None:
    """One ReLU in place runs behind the first two of three linear layers; of its runs the file holds the last."""
    linears = [lua.linear(4, 4, seed=seed) for seed in (1, 2, 3)]

    def forward(obj: tm.LuaObject, x: np.ndarray) -> np.ndarray:
        return x @ obj["weight"].numpy().T + obj["bias"].numpy()

    first = np.maximum(forward(linears[0], np.random.default_rng(5).normal(size=(3, 4))), 0)
    second = np.tanh(first)
    third = np.maximum(forward(linears[1], second), 0)
    relu, tanh = lua.module("nn.ReLU", threshold=0, val=0, inplace=True), lua.module("nn.Tanh")
    last = lua.module("nn.Sigmoid")
    fourth = forward(linears[2], third)
    outputs = [tm.Tensor.from_numpy(y) for y in (first, second, third, fourth, 1 / (1 + np.exp(-fourth)))]
    for module, output in zip((linears[0], tanh, linears[1], linears[2], last), outputs, strict=True):
        module.fields["output"] = output
    relu.fields["output"] = outputs[2]
    model = lua.sequential(linears[0], relu, tanh, linears[1], relu, linears[2], last)
    model.fields["output"] = outputs[4]
    report = tm.verify(tm.convert(model), reference="recorded")
    assert report, report.summary()

"""A folder from strangers: config.json may say anything, and gives one kind of error with the place."""

from __future__ import annotations

import copy
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lua
import networks
import pytest
from networks import chain
from safetensors.torch import load_file, save_file

import torchmigrate as tm
from torchmigrate.folder.open_folder import open_folder

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("folders") / "net"
    first = networks.linear(4, 4)
    second = networks.linear(4, 4)
    second.fields["weight"] = first["weight"]
    tm.convert(chain(first, lua.module("nn.Mul", weight=lua.numbers(1, dtype="f4")), second)).save(made)
    return made


def nested(depth: int, inner: Any) -> dict[str, Any]:
    found = inner
    for _ in range(depth):
        found = {"class": "torch.nn.Sequential", "children": {"0": found}}
    return found


def doubled(times: int) -> dict[str, Any]:
    """Modules that hold the one before them twice."""
    found: dict[str, Any] = {"class": "torch.nn.ReLU"}
    for i in range(times):
        found = {"class": "torch.nn.Sequential", "children": {"0": found, "1": {"shared": times - i}}}
    return found


def of(*path: str, to: Any) -> Change:
    """A change of one part."""

    def change(config: dict[str, Any]) -> None:
        part = config
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = to

    return change


LINEAR = ("architecture", "children", "0")
TEXTS = {"tensors": "architecture", "tied": "tied", "training": "training", "layers": "layers", "notes": "notes"}
HOSTILE: dict[str, tuple[Change, str]] = {
    **{f"no {name}": (lambda config, name=name: config.pop(name), f"lacks {name}") for name in TEXTS},  # type: ignore[misc]
    **{f"{name} is a number": (of(name, to=3), f"{name} should be") for name in (*TEXTS, "source", "architecture")},
    "source lacks a part": (lambda config: config["source"].pop("key"), "lacks source.key"),
    "a note of one": (of("notes", to=[["x"]]), r"notes\[0\] should be a pair"),
    "a layer that is a text": (of("layers", to=["x"]), r"layers\[0\] should be an object"),
    "tied sets the class": (of("tied", to={"__class__": "0.weight"}), "tied.__class__"),
    "tied sets a method": (of("tied", to={"forward": "0.weight"}), "tied.forward"),
    "tied to a method": (of("tied", to={"0.weight": "0.forward"}), "tied.0.weight"),
    "tied to another size": (of("tied", to={"0.weight": "0.bias"}), "tied.0.weight"),
    "tied to a number": (of("tied", to={"0.weight": 3}), "tied.0.weight should be a text"),
    "a tensor that is not there": (of("tensors", "0.weight", to="nothing"), "tensors.0.weight"),
    "a tensor of another size": (
        lambda config: config["tensors"].update({"0.weight": config["tensors"]["0.bias"]}),
        "0.weight has the size",
    ),
    "a tensor of no module": (of("tensors", "9.weight", to="linear1.bias"), "tensors and architecture .* 9.weight"),
    "no class": (of(*LINEAR, to={}), "children.0.class should be"),
    "a class of the system": (of(*LINEAR, "class", to="os.system"), "os.system"),
    "a class that is a function": (of(*LINEAR, "class", to="torch.nn.Linear.forward"), "torch.nn.Linear.forward"),
    "a class of no module": (of(*LINEAR, "class", to="torchmigrate.nothing.At"), "torchmigrate.nothing.At"),
    "a class that is no module": (of(*LINEAR, "class", to="torchmigrate.model.build.Build"), "no module class"),
    "a class that is a number": (of(*LINEAR, "class", to=3), "children.0.class should be"),
    "shared with itself": (of(*LINEAR, to={"shared": 0}), "before it is complete"),
    "shared with what comes later": (of(*LINEAR, to={"shared": 7}), "children.0.shared"),
    "shared with a text": (of(*LINEAR, to={"shared": "0"}), "children.0.shared"),
    "shared with a negative one": (of(*LINEAR, to={"shared": -1}), "children.0.shared"),
    "args that are a list": (of(*LINEAR, "args", to=[]), "children.0.args should be"),
    "an argument that nobody knows": (of(*LINEAR, "args", "in_futures", to=3), "children.0 can't be made"),
    "the device": (of(*LINEAR, "args", "device", to="cuda"), "args has device"),
    "an attribute of torch": (of(*LINEAR, "args", "bias", to={"dtype": "load"}), "args.bias is an argument of unknown"),
    "a module of torch": (of(*LINEAR, "args", "bias", to={"dtype": "_dynamo"}), "args.bias is an argument of unknown"),
    "a dtype that is a number": (of(*LINEAR, "args", "bias", to={"dtype": 3}), "args.bias is an argument of unknown"),
    "a tensor of text": (of(*LINEAR, "args", "bias", to={"tensor": "x"}), "args.bias is an argument of unknown"),
    "a tensor of negative size": (of(*LINEAR, "args", "bias", to={"tensor": [-1]}), "args.bias is an argument"),
    "a tensor beyond measure": (of(*LINEAR, "args", "bias", to={"tensor": [2**40, 2**40]}), "args.bias has no size"),
    "a float of text": (of(*LINEAR, "args", "bias", to={"float": "x"}), "args.bias is an argument of unknown"),
    "an empty object": (of(*LINEAR, "args", "bias", to={}), "args.bias is an argument of unknown"),
    "a tuple of nothing": (of(*LINEAR, "args", "bias", to={"tuple": 3}), "args.bias is an argument of unknown"),
    "a size beyond measure": (of(*LINEAR, "args", "in_features", to=2**40), "0.weight has the size"),
    "a size beyond 64 bits": (of(*LINEAR, "args", "in_features", to=2**70), "children.0 can't be made"),
    "a negative size": (of(*LINEAR, "args", "in_features", to=-4), "children.0 can't be made"),
    "a text for a size": (of(*LINEAR, "args", "in_features", to="4"), "children.0 can't be made"),
    "layers without end": (
        of(*LINEAR, to={"class": "torch.nn.LSTM", "args": {"input_size": 4, "hidden_size": 4, "num_layers": 10**9}}),
        "it makes more tensors than there are",
    ),
    "a name with a dot": (
        of("architecture", to={"class": "torch.nn.Sequential", "children": {"a.b": {"class": "torch.nn.ReLU"}}}),
        "architecture can't be made",
    ),
    "deep nesting": (of("architecture", to=nested(300, {"class": "torch.nn.ReLU"})), "nested more than|nested deeper"),
    "deep lists": (of(*LINEAR, "args", "bias", to=json.loads("[" * 900 + "]" * 900)), "nested deeper|no config.json"),
    "doubled 40 times": (of("architecture", to=doubled(40)), "runs of layers"),
    "training of numbers": (of("training", to=[3]), r"training\[0\] should be a text"),
    "training of no module": (of("training", to=["__class__"]), r"training\[0\] should be the name of a module"),
    "a version beyond measure": (of("format_version", to=10**400), r"version 1000000000\d{10};"),
    "a class of a million letters": (of(*LINEAR, "class", to="torch.nn." + "A" * 10**6), "characters are left out"),
    "frozen is a text": (of("frozen", to="0.weight"), "frozen should be a list"),
    "frozen is a method": (of("frozen", to=["forward"]), r"frozen\[0\] should be the name of a parameter"),
    "training of nothing": (of("training", to=None), "training should be a list"),
}


@pytest.mark.parametrize("opened", [tm.load_converted, open_folder])
@pytest.mark.parametrize("name", HOSTILE)
def test_each_place_is_checked(name: str, opened: Callable[[Path], Any], folder: Path, tmp_path: Path) -> None:
    change, words = HOSTILE[name]
    config = copy.deepcopy(json.loads((folder / "config.json").read_text()))
    change(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with pytest.raises((tm.UsageError, tm.T7Error), match=words):
        opened(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 5


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '"x"', "{", "null", '{"format": "torchmigrate", "format_version": 1}', "[" * 100_000]
)
def test_other_texts_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(tm.UsageError, match=r"config\.json"):
        tm.load_converted(tmp_path)


@pytest.mark.parametrize("content", [b"", b"x" * 100, (2**60).to_bytes(8, "little") + b"{}"])
def test_weights_that_are_none_are_refused(content: bytes, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(tm.UsageError, match="does not fit config"):
        tm.load_converted(tmp_path)


def test_a_good_folder_loads(folder: Path, tmp_path: Path) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({**state, "more": next(iter(state.values())).clone()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    module = tm.load_converted(tmp_path)
    assert module.get_submodule("0").weight is module.get_submodule("2").weight


@pytest.mark.parametrize("name", ["nothing", "0.weight", "0..1", "forward"])
def test_a_layer_of_no_module_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["layers"][1]["module"] = name
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(tm.UsageError, match="layers should be layers whose modules are there"):
        open_folder(tmp_path)

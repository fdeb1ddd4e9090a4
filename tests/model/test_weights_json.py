"""Lists of layers in JSON, as waifu2x exports weights: read as the network that they are, or refused with a reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import golden
import pytest

import torchmigrate as tm
from torchmigrate.cli import main as cli

FILES = golden.FIXTURES / "files"


@pytest.mark.parametrize("name", ["layers", "layers_old"])
def test_a_list_of_layers_computes_what_torch7_computed(name: str) -> None:
    case = tm.load(FILES / "layers.answers.t7")[name]
    conversion = tm.convert(FILES / f"{name}.json")
    golden.assert_same(conversion.module(tm.to_torch(case["input"])), tm.to_torch(case["output"]), name)
    assert any("nn.LeakyReLU(0.1), as in waifu2x" in note for _, note in conversion.notes)


def test_inspect_and_convert_show_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            cli.main(list(map(str, words)))
        assert not stopped.value.code
        return capsys.readouterr().out

    text = run("inspect", FILES / "layers.json")
    assert "7,559 bytes, json" in text
    assert "nn.LeakyReLU(0.1), as in waifu2x" in text
    assert "nothing in it tells when it was written" in text
    assert "model: nn.Sequential, 504 parameters" in text
    told = json.loads(run("inspect", FILES / "layers.json", "--json"))
    assert (told["format"], told["models"][0]["parameters"]) == ("json", 504)
    assert told["contents"]["model_config"]["entries"]["arch_name"]["text"] == "'upconv_7'"
    words = ("convert", FILES / "layers.json", "--no-onnx", "--no-verify", "-o", tmp_path / "out")
    assert "note: the file lists the weights of convolutions only" in run(*words)
    told = json.loads(run(*words, "--force", "--json"))
    assert (told["key"], told["parameters"]) == ("model", 504)


def test_it_may_be_packed_and_read_from_bytes() -> None:
    data = (FILES / "layers_old.json").read_bytes()
    for form in (data, gzip.compress(data), b" \n" + data):
        assert tm.load(form)["model"].typename == "nn.Sequential"


def layers(**changes: Any) -> bytes:
    """A list of two layers, the second one with other fields."""
    found = json.loads((FILES / "layers_old.json").read_text())
    found[1].update(changes)
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nInputPlane": 3}, "takes 3 planes, but the layer before it gives 4"),
        ({"class_name": "nn.Linear"}, "do not stand in a row (nn.Linear)"),
        ({"class_name": ["nn.Linear"]}, "do not stand in a row (['nn.Linear'])"),
        ({"dilationW": 2}, "is dilated"),
        ({"kW": 2}, "The weight of layer 2 has the size (1, 4, 3, 3); its fields say (1, 4, 3, 2)"),
        ({"kW": 0}, "has a kW of 0"),
        ({"kW": True}, "has a kW of True"),
        ({"kW": 1e30}, "has a kW of"),
        ({"bias": ["a"]}, "The bias of layer 2 is no list of numbers"),
        ({"bias": [[1.0], 2.0]}, "The bias of layer 2 is no list of numbers"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(tm.T7Error) as refused:
        tm.load(layers(**changes))
    assert said in str(refused.value)


def test_a_network_with_branches_is_refused() -> None:
    found = json.loads((FILES / "layers_old.json").read_text())
    found[0]["model_config"] = {"arch_name": "resnet_14l"}
    with pytest.raises(tm.T7Error, match=r"do not stand in a row \(resnet_14l.*Convert the .t7 file"):
        tm.load(json.dumps(found).encode())


@pytest.mark.parametrize("text", ["[{}]", '[{"a": 1}, 2]', "[{", '[{"weight": ', "[" + "[" * 100_000])
def test_other_json_is_no_file_of_torch7(text: str) -> None:
    with pytest.raises(tm.T7Error, match="This is not a file of Torch7"):
        tm.load(text.encode())

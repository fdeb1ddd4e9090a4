"""`convert` on files of the kinds that people keep beside and around their models, in text and as JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import golden
import lua
import pytest

import torchmigrate as tm
from torchmigrate.cli import main as cli

FILES = golden.FIXTURES / "files"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["convert", *map(str, words)])
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out, said.err


def answers(name: str) -> dict[str, tuple[Any, Any]]:
    """Key of each network -> its input, and what Torch7 answered."""
    cases = tm.load(FILES / "answers.t7")[name].list()
    return {case["key"]: (tm.to_torch(case["input"]), tm.to_torch(case["output"])) for case in cases}


NO_MODELS = {
    "vocab": "vocabulary, 30 words with their indices",
    "vocab_bytes": "vocabulary, 31 words with their indices",
    "words": "names, list of 300 texts",
    "rows": "list of 300, each a list",
    "channel_means": "0.485, 0.456, 0.406",
    "loader": "data set, dataLoader with 6 fields",
    "symbols": "list of 2, each a SymbolsManager",
    "trees": "list of 3, each a Tree",
}


@pytest.mark.parametrize("name", NO_MODELS)
def test_what_is_no_model_is_called_so(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = FILES / f"{name}.t7"
    for words in ([], ["--all-keys"]):
        code, _, error = run(capsys, file, "-o", tmp_path / "out", *words)
        assert code == 3
        assert f"{name}.t7: this holds no model. What it holds: " in error
        assert NO_MODELS[name] in error
    code, text, _ = run(capsys, file, "-o", tmp_path / "out", "--json")
    told = json.loads(text)
    assert (code, told["exit_code"], told["error"]["type"]) == (3, 3, "NoModel")
    assert NO_MODELS[name] in told["error"]["message"]
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "code", "offers"),
    [
        ("held_agent", 2, {"network": 32, "target_network": 32}),
        ("held_in_table", 2, {"trainer.network": 32, "trainer.target_network": 32}),
        ("held_nets", 4, {"model.nets.encoder": 28, "model.nets.decoder": 45}),
        ("classless_other", 2, {"modules.1": 15, "modules.2": 10}),
    ],
)
def test_networks_in_objects_of_other_classes_are_offered(
    name: str, code: int, offers: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _, error = run(capsys, FILES / f"{name}.t7", "-o", tmp_path / "out")
    assert found == code
    lines = [line.split("  (")[0] for line in error.splitlines() if line.startswith("  --")]
    assert sorted(lines) == sorted([*(f"  --key {key}" for key in offers), "  --all-keys"])
    for key, parameters in offers.items():
        (line,) = [line for line in error.splitlines() if line.startswith(f"  --key {key}  (nn.")]
        assert line.endswith(f", {parameters} parameters)")
    found, text, _ = run(capsys, FILES / f"{name}.t7", "-o", tmp_path / "out", "--json")
    assert (found, json.loads(text)["exit_code"]) == (code, code)
    assert all(f"--key {key}" in json.loads(text)["error"]["message"] for key in offers)


@pytest.mark.parametrize(
    "name", ["held_agent", *(pytest.param(name, marks=pytest.mark.slow) for name in ("held_nets", "classless"))]
)
def test_all_keys_converts_each_network(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (FILES / f"{name}.t7", "--all-keys", "--no-onnx", "-o", tmp_path / "out")
    code, text, error = run(capsys, *words)
    assert (code, error) == (0, "")
    cases = answers(name)
    assert f"{len(cases)} of {len(cases)} models are in " in text
    for key, (value, output) in cases.items():
        module = tm.load_converted(tmp_path / "out" / (key or "model"))
        golden.assert_same(module(value), output, key)
        golden.assert_same(tm.convert(FILES / f"{name}.t7", key=key or None).module(value), output, key)
    code, text, _ = run(capsys, *words, "--json", "--force")
    told = json.loads(text)
    assert (code, told["models"].keys(), told["failed"]) == (0, cases.keys(), {})
    code, text, error = run(capsys, *words)  # the folders are there
    assert code == 2
    assert error == ""
    assert text.count("not converted: ") == len(cases)
    code, text, _ = run(capsys, *words, "--json")
    assert {entry["exit_code"] for entry in json.loads(text)["failed"].values()} == {2}


def test_all_keys_takes_one_file_and_no_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = FILES / "held_agent.t7"
    assert run(capsys, file, "--all-keys", "--key", "network", "-o", tmp_path / "out")[0] == 2
    assert run(capsys, file, file, "--all-keys", "-o", tmp_path / "out")[0] == 2


def test_a_table_with_the_fields_of_a_container_says_so(tmp_path: Path) -> None:
    conversion = tm.convert(FILES / "classless.t7")
    ((value, output),) = answers("classless").values()
    golden.assert_same(conversion.module(value), output, "classless")
    assert any("those of an nn.Sequential" in text for _, text in conversion.notes)


def test_a_network_in_a_function_or_below_a_number_is_found() -> None:
    net = lua.linear(2, 3)
    closed = tm.LuaTable([("feval", tm.LuaFunction(b"\x1bLJ", lua.value([{"name": "model", "value": net}]), 8))])
    with pytest.raises(tm.ModelNotFound, match=r"--key feval.upvalues.1.value  \(nn.Linear, 9 parameters\)"):
        tm.convert(closed)
    assert tm.convert(closed, key="feval.upvalues.1.value").parameter_count == 9
    assert tm.convert(tm.LuaTable([(b"\xff", net)])).parameter_count == 9
    assert tm.convert(tm.LuaTable([(1.5, net), (2.5, 3.0)])).parameter_count == 9


def test_a_layer_that_nobody_knows_is_no_empty_file(tmp_path: Path) -> None:
    for fields in ({"gradInput": lua.numbers(0)}, {"weight": lua.numbers(2, 3)}, {"modules": [lua.linear(2, 3)]}):
        with pytest.raises(tm.UnsupportedLayers):
            tm.convert(lua.module("my.Layer", **fields))
    with pytest.raises(tm.UnsupportedLayers):
        tm.convert(lua.module("nn.Nobodys", kW=2, kH=3))  # all that a run leaves was taken from it


def test_labels_and_preprocessing_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (FILES / "labels_options.t7", "--no-onnx", "-o", tmp_path / "out")
    code, text, _ = run(capsys, *words)
    assert code == 0
    lines = [
        "mean: 0.5, 0.25, 0.125 (opt.mean)",
        "std: 1, 2, 4 (opt.std)",
        "scale: 0.0039 (opt.scale)",
        "labels: 2 (opt.classes): no, yes",
        "not in the file: channel order (`torchmigrate convert` takes --channel-order)",
    ]
    card = (tmp_path / "out" / "README.md").read_text()
    for line in lines:
        assert line in text
        assert line.split(" (")[0] in card
    config = json.loads((tmp_path / "out" / "config.json").read_text())["preprocessing"]
    assert (config["mean"], config["labels"], config["found"]["std"]) == ([0.5, 0.25, 0.125], ["no", "yes"], "opt.std")
    code, text, _ = run(capsys, *words, "--json", "--force")
    assert json.loads(text)["preprocessing"] == config


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "no\nyes, maybe\n"),
        ("labels.json", '["no", "yes, maybe"]'),
        ("labels.json", '{"1": "no", "2": "yes, maybe"}'),
        ("labels.json", '{"yes, maybe": 1, "no": 0}'),
        ("labels.t7", ""),
    ],
)
def test_options_add_labels_and_preprocessing(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text:
        (tmp_path / name).write_text(text)
    else:
        tm.dump(lua.value({"classes": ["no", "yes, maybe"]}), tmp_path / name)
    words = ["--labels", tmp_path / name, "--mean", "1,2,3", "--std", "0.5", "--channel-order", "bgr", "--no-onnx"]
    code, said, _ = run(capsys, FILES / "labels_none.t7", "-o", tmp_path / "out", "--no-verify", *words)
    assert code == 0
    assert "labels: 2 (--labels): no, yes, maybe" in said
    assert "not in the file" not in said
    config = json.loads((tmp_path / "out" / "config.json").read_text())["preprocessing"]
    assert config == {
        "mean": [1.0, 2.0, 3.0],
        "std": [0.5],
        "channel_order": "bgr",
        "labels": ["no", "yes, maybe"],
        "found": {"mean": "--mean", "std": "--std", "channel_order": "--channel-order", "labels": "--labels"},
    }


@pytest.mark.parametrize(
    ("name", "text"), [("none.txt", ""), ("odd.json", "[1, 2]"), ("torn.json", "["), ("missing.txt", None)]
)
def test_a_file_without_labels_is_refused(
    name: str, text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    code, _, error = run(capsys, FILES / "labels_none.t7", "-o", tmp_path / "out", "--labels", tmp_path / name)
    assert code == 2
    assert name in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("beside", "planes", "found"),
    [
        ("meanstdCache.t7", 3, "meanstdCache.t7 beside the model"),
        ("model.stats.t7", 3, "model.stats.t7 beside the model"),
        ("meanstd.t7", 4, None),  # not of these planes
        ("other.t7", 3, None),
    ],
)
def test_statistics_beside_the_model_are_taken(beside: str, planes: int, found: str | None, tmp_path: Path) -> None:
    from torchmigrate.folder.run import ConvertOptions, convert_file

    shutil.copy(FILES / "channel_means.t7", tmp_path / beside)
    tm.dump(lua.sequential(lua.linear(planes, 2)), tmp_path / "model.t7")
    options = ConvertOptions(no_onnx=True, no_verify=True)
    known = convert_file(tmp_path / "model.t7", tmp_path / "out", options, print).conversion.preprocessing
    assert known.found.get("mean") == found
    assert known.mean == ((0.485, 0.456, 0.406) if found else None)
    assert (f"{beside} beside the model has 3 means" in " ".join(known.lines())) == (planes == 4)

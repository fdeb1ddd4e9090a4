"""What inspect says of files of the kinds that people keep beside and around their models, in text and as JSON."""

from __future__ import annotations

import json
from typing import Any

import golden
import pytest

import torchmigrate as tm
from torchmigrate.cli import main as cli
from torchmigrate.inspection.inspect import inspect_file
from torchmigrate.model.supported_classes import table

FILES = golden.FIXTURES / "files"


def look(capsys: pytest.CaptureFixture[str], name: str, *words: str) -> tuple[str, dict[str, Any]]:
    """The text and the JSON of `inspect`."""
    texts = []
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["inspect", str(FILES / f"{name}.t7"), *words, *more])
        assert not stopped.value.code
        texts.append(capsys.readouterr().out)
    return texts[0], json.loads(texts[1])


@pytest.mark.parametrize(("name", "parameters"), [("onehot_double", 87), ("onehot_untyped", 50)])
def test_a_graph_without_a_list_of_modules_is_shown_whole(name: str, parameters: int) -> None:
    (model,) = inspect_file(FILES / f"{name}.t7", table().keys(), "protos.rnn").models
    conversion = tm.convert(FILES / f"{name}.t7")
    assert conversion.parameter_count == model.parameters == parameters
    assert [node.path for node in model.tree.walk()] == [record.path for record in conversion.layers]


#: File -> the kind and the line of all that is in it.
WHOLE = {
    "vocab": ("vocabulary", "30 words with their indices"),
    "vocab_bytes": ("vocabulary", "31 words with their indices"),
    "words": ("names", "list of 300 texts: word1, word2, word3, word4, …"),
    "rows": ("list", "list of 300, each a list"),
    "channel_means": ("statistics", "mean 0.485, 0.456, 0.406"),
    "loader": ("data set", "dataLoader with 6 fields"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_is_one_thing_is_told_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kind, line = WHOLE[name]
    text, told = look(capsys, name)
    assert list(told["contents"]) == [""]
    assert told["contents"][""]["kind"] == kind
    assert line in told["contents"][""]["text"]
    assert line in text
    assert len(text.splitlines()) < 15
    assert f"torchmigrate extract {FILES / name}.t7" in text
    assert told["models"] == []


@pytest.mark.parametrize(
    ("name", "path", "kind", "line"),
    [
        ("loader", ("", "classes"), "names", "list of 2 texts: cat, dog"),
        ("loader", ("", "sampleSize"), "numbers", "3, 8, 8"),
        ("symbols", ("1", "idx2symbol"), "names", "list of 4 texts: <S>, <E>, <U>, a"),
        ("symbols", ("2",), "object", "SymbolsManager with 4 fields"),
        ("trees", ("1",), "tree", "Tree with 15 nodes"),
        ("held_in_table", ("trainer", "network"), "model", "nn.Sequential"),
    ],
)
def test_objects_of_other_classes_are_opened(
    name: str, path: tuple[str, ...], kind: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, told = look(capsys, name)
    contents = told["contents"]
    for key in path[:-1]:
        contents = contents[key]["entries"]
    assert contents[path[-1]] == {**contents[path[-1]], "kind": kind, "text": line}
    assert line in text


@pytest.mark.parametrize(
    ("name", "models", "following"),
    [
        ("held_agent", {"network": 32, "target_network": 32}, "network, or --all-keys"),
        (
            "held_in_table",
            {"trainer.network": 32, "trainer.target_network": 32},
            "--key trainer.network, or --all-keys",
        ),
        ("held_beside", {"model": 16, "trainer.network": 32, "trainer.target_network": 32}, "--key model"),
        (
            "held_nets",
            {"model": 73, "model.nets.encoder": 28, "model.nets.decoder": 45},
            "coder, or --all-keys",
        ),
        ("held_deep", {"True.a.b.c.d.e.f.g": 9}, "held_deep.t7"),
        ("classless", {"": 23}, "classless.t7"),
    ],
)
def test_networks_in_objects_of_other_classes_are_shown(
    name: str, models: dict[str, int], following: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, told = look(capsys, name)
    assert {model["key"]: model["parameters"] for model in told["models"]} == models
    for key, parameters in models.items():
        assert f"{key}: " * bool(key) in text
        assert f", {parameters} parameters" in text
    assert text.rstrip().endswith(following)


LABELS = {
    "labels_confusion": {"labels": ["cat", "dog", "owl"]},
    "labels_class2idx": {"labels": ["cat", "dog", "owl"]},
    "labels_options": {"labels": ["no", "yes"], "mean": [0.5, 0.25, 0.125], "std": [1, 2, 4], "scale": 0.0039},
    "labels_dataset": {"labels": ["left", "right"], "mean_image": [3, 40, 40]},
    "labels_top": {"labels": ["no", "yes"], "mean": [1, 2, 3], "std": [4, 5, 6]},
    "labels_ivocab": {"labels": ["a", "b", "c", "d"]},
    "onehot_double": {"labels": [*"abcdef "]},
    "labels_none": {},
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_and_preprocessing_are_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text, told = look(capsys, name)
    known = told["preprocessing"]
    places = known.pop("found", {})
    assert known == LABELS[name]
    assert places.keys() == known.keys()
    assert all(f"({place})" in text for place in places.values())
    missing = [line for line in text.splitlines() if line.startswith("not in the file: ")]
    assert len(missing) == 1
    assert ("labels" in missing[0]) == ("labels" not in known)

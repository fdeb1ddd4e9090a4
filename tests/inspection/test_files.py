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

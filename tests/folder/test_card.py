"""README.md and parity.json of a converted folder: uses first, one line of verdict, and no number twice."""

from __future__ import annotations

import json
import re
from pathlib import Path

import golden
import lua
import pytest

import torchmigrate as tm
from torchmigrate.folder.run import ConvertedFolder, ConvertOptions, convert_file
from torchmigrate.parity.report.report import compact, finite


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> ConvertedFolder:
    """A small model with fields that repeat in its notes."""
    folder = tmp_path_factory.mktemp("card")
    tm.dump(lua.sequential(lua.linear(3, 2), lua.module("nn.Tanh")), folder / "small.t7")
    return convert_file(folder / "small.t7", folder / "out", ConvertOptions(no_onnx=True), print)


def test_uses_stand_first_then_limits_then_the_verdict(converted: ConvertedFolder) -> None:
    card = (converted.folder / "README.md").read_text("utf-8")
    assert re.findall(r"^## (\w+)", card, re.MULTILINE) == ["Use", "Data", "Limits", "Parity", "Files"]
    assert converted.report is not None
    (verdict,) = [line for line in card.splitlines() if converted.report.verdict.title in line]
    assert verdict.startswith("**NOT COMPARED**: ")
    assert verdict.endswith(" All numbers: [report.html](report.html).")
    for limit in converted.report.verdict.limits:
        assert limit in card
    assert "| backend |" not in card


def test_without_a_comparison_the_card_says_so(tmp_path: Path) -> None:
    tm.dump(lua.sequential(lua.linear(3, 2)), tmp_path / "small.t7")
    options = ConvertOptions(no_onnx=True, no_verify=True)
    convert_file(tmp_path / "small.t7", tmp_path / "out", options, print)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "\n## Parity\n\nIt was not compared with Torch7.\n" in card
    assert "report.html" not in card


def test_parity_json_has_no_spaces_and_all_that_the_report_holds(converted: ConvertedFolder) -> None:
    assert converted.report is not None
    text = (converted.folder / "parity.json").read_text("ascii")
    held = finite(converted.report.to_json())
    assert json.loads(text) == held
    assert len(text) < 0.75 * len(json.dumps(held, indent=1))
    assert len(text.splitlines()) > len(held)  # a line for each property and each layer, for those who compare files


@pytest.mark.parametrize("held", [{}, {"a": []}, {"a": [1, {"b": [2.5]}], "c": {"d": None}, "é": "é"}])
def test_compact_text_is_the_same_json(held: dict[str, object]) -> None:
    assert json.loads(compact(held)) == held


def test_a_reference_of_torch7_is_named_in_one_line(tmp_path: Path) -> None:
    options = ConvertOptions(no_onnx=True, reference=golden.MODELS / "lenet_mnist.reference.t7")
    convert_file(golden.MODELS / "lenet_mnist.t7", tmp_path / "out", options, print)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert [line for line in card.splitlines() if line.startswith("**PASSED**: ")]

"""docs/parity.schema.json describes every parity.json, and all that is in it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden
import jsonschema
import pytest
import reports

import torchmigrate as tm
from torchmigrate.parity.judge.compare import Difference
from torchmigrate.parity.report.comparison import BackendResult
from torchmigrate.parity.report.report import ParityReport

SCHEMA: dict[str, Any] = json.loads((Path(__file__).parents[2] / "docs" / "parity.schema.json").read_text())


def strict(schema: Any) -> Any:
    """The same schema with no room for properties that it does not describe."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(item) for name, item in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def golden_report(name: str) -> ParityReport:
    return tm.verify(
        tm.convert(golden.MODELS / f"{name}.t7"), reference=golden.MODELS / f"{name}.reference.t7", devices=["cpu"]
    )


def not_a_number() -> ParityReport:
    broken = Difference("", False, "NaN", (2,), max_abs=float("nan"), mean_abs=float("inf"), snr_db=float("-inf"))
    return reports.by_hand(backends=[BackendResult("pytorch-cpu", "failed", "NaN", None, [broken])])


REPORTS: dict[str, Callable[[Path], ParityReport]] = {
    "against a dump": reports.dumped,
    "a failure": lambda folder: reports.dumped(folder, broken=True),
    "against itself": lambda folder: reports.verified(),
    "one layer": lambda folder: reports.verified(2),
    "without layers": lambda folder: reports.verified(layers=False),
    "nothing ran": lambda folder: reports.by_hand(backends=[], model=[]),
    "NaN": lambda folder: not_a_number(),
    "hostile": lambda folder: reports.hostile(),
    "tables": lambda folder: golden_report("multitask_tables"),
    "recurrent": lambda folder: golden_report("lm_sequencer_fastlstm"),
}


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS)
def test_real_reports(make: Callable[[Path], ParityReport], tmp_path: Path) -> None:
    report = make(tmp_path)
    written = json.loads(report.write(tmp_path).read_text(), parse_constant=pytest.fail)
    jsonschema.Draft202012Validator(strict(SCHEMA)).validate(written)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["format"], "other"),
        (["passed"], "yes"),
        (["verdict", "level"], "good"),
        (["source", "sha256"], "abc"),
        (["backends", 0, "status"], "ok"),
        (["backends", 0, "outputs", 0, "max_abs"], "large"),
        (["backends", 0, "layers", 0, "call"], 0),
    ],
)
def test_what_is_wrong_is_refused(path: list[Any], value: Any, tmp_path: Path) -> None:
    written = json.loads(reports.by_hand().write(tmp_path).read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(written)
    broken = copy.deepcopy(written)
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(broken)

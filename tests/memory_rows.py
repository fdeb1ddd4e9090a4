"""Rows of fixtures/traits/output_memory.tsv: whose memory the outputs of layers are, and what writes there."""

from __future__ import annotations

import csv
from typing import Any

import golden
import pytest

import torchmigrate as tm

TRAITS = golden.FIXTURES / "traits"


def memory_rows() -> list[dict[str, str]]:
    with (TRAITS / "output_memory.tsv").open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def marked(*columns: str) -> list[Any]:
    """The rows; the first of each class and outcome, as these columns say it, is not slow."""
    met: set[tuple[str, ...]] = set()
    found = []
    for row in memory_rows():
        outcome = (row["class"], *(row[column] for column in columns))
        marks = [pytest.mark.slow] if outcome in met else []
        met.add(outcome)
        found.append(pytest.param(row, marks=marks, id=f"{row['file'].removesuffix('.t7')}[{row['case']}]"))
    return found


def case_of(row: dict[str, str]) -> tm.LuaTable:
    return golden.read_cases(row["file"])[int(row["case"]) - 1]

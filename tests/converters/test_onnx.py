"""Layers exported to ONNX: ONNX Runtime must answer what Torch7 did. One case of half the classes; all if `slow`."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import gaps
import golden
import pytest
import torch
from golden import Row

import torchmigrate as tm
from torchmigrate.onnx.runtime import open_session, run_session
from torchmigrate.parity.runs.onnx_runtime import feeds_of

#: |a - b| <= absolute + relative * |b| of float32 kernels
TOLERANCE = (1e-4, 1e-4)


def rows() -> list[Any]:
    """Every case that can be exported; the first batched one of a third of the classes is not slow."""
    candidates = [row for row in golden.layer_rows() if gaps.exportable(row)]
    chosen: dict[str, Row] = {}
    for row in sorted(candidates, key=_unbatched):
        chosen.setdefault(row.typename, row)
    marked = []
    for row in candidates:
        usual = chosen[row.typename] == row and row.package != "projects" and crc32(row.typename.encode()) % 3 == 0
        marks: list[Any] = [] if usual else [pytest.mark.slow]
        if why := gaps.reason(row, "onnx"):
            marks.append(pytest.mark.xfail(reason=why, strict=True))
        marked.append(pytest.param(row, id=str(row), marks=marks))
    return marked


def _unbatched(row: Row) -> bool:
    return not row.load().get("batched")


@pytest.mark.parametrize("row", rows())
def test_onnx(row: Row, tmp_path: Path) -> None:
    case = row.load()
    conversion = tm.convert(case["module"])
    value = tm.to_torch(case["input"])
    exported = tm.export_onnx(conversion, tmp_path / "layer.onnx", example_input=value)
    session = open_session(exported.path)
    got = run_session(session, feeds_of(conversion, session, value))
    expected = list(golden.tensors(tm.to_torch(case["output"])))
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        tolerance = golden.TOLERANCES[torch.float16] if theirs.dtype == torch.float16 else TOLERANCE
        golden.assert_same(ours.to(theirs.dtype), theirs, "output", tolerance)

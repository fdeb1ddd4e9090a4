"""Steps and layers of which only what Torch7's backward pass handed back tells (fixtures/generate/handed_back.lua)."""

from __future__ import annotations

import golden
import pytest
from planted_faults import FAULTS, planted
from reports import judged_by_record

FOLDER = golden.FIXTURES / "parity"

#: File -> its first layer with weights, its last one, and what is said of the first.
SAID = {
    "one_sample": ("1", "3", "its input is not in the file; judged by its gradInput, gradWeight and gradBias"),
    "siamese": ("1.1.1", "1.2.3", "its input is not in the file; judged by its gradInput, gradWeight and gradBias"),
    "frames": ("1", "6", "its input is not in the file; judged by its gradInput, gradWeight and gradBias"),
    "decayed": ("2", "10", "proven before the last step (SGD with a weight decay of 0.008, lr 0.03)"),
}


@pytest.mark.parametrize("name", SAID)
def test_every_layer_of_a_right_conversion_is_proven(name: str) -> None:
    first, last, remark = SAID[name]
    report = judged_by_record(FOLDER / f"handed_back_{name}.t7")
    assert report.proven, report.summary()
    said = {layer.path: layer.remark for layer in report.backends[0].layers}
    assert said[first].startswith(remark)
    assert "before the last step" in said[last]


QUICK = (("one_sample", "weight x 1.01"), ("siamese", "bias forgotten"), ("frames", "bias + 0.001"))

WRONG = [
    pytest.param(name, path, fault, marks=() if (name, fault) in QUICK else pytest.mark.slow)
    for name, (first, last, _) in SAID.items()
    for path in (first, last)
    for fault in ("bias + 0.001", "bias - 0.001", "bias forgotten", "weight x 1.01", "rows reversed")
    if (name, path, fault) != ("one_sample", "3", "rows reversed")  # it has one row
]


@pytest.mark.parametrize(("name", "path", "fault"), WRONG)
def test_a_fault_is_found_and_located(name: str, path: str, fault: str) -> None:
    typename = "nn.TemporalConvolution" if (name, path) in (("frames", "1"), ("frames", "3")) else "nn.Linear"
    with planted(FAULTS[fault], typename, path) as applied:
        report = judged_by_record(FOLDER / f"handed_back_{name}.t7")
    assert any(applied)
    assert not report
    assert next(layer.path for layer in report.backends[0].layers if not layer.passed) == path

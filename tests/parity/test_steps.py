"""Steps that leave other states, with learning rates of their own, or reach layers in other ways (steps.lua)."""

from __future__ import annotations

import golden
import pytest
from planted_faults import FAULTS, planted
from reports import judged_by_record

FOLDER = golden.FIXTURES / "parity"

#: File -> (title, path of a layer with weights, what is said of its last run)
SAID = {
    "rprop": ("PASSED", "4", "proven before the last step (optim.rprop, by its state in the file)"),
    "lbfgs": ("PASSED", "4", "proven before the last step (optim.lbfgs, by its state in the file)"),
    # a search along a line that failed: the weights went back, and the activations are of where it ended
    "cg": ("PASSED", "4", "proven before the last step (optim.cg, by its state in the file, times 87.88)"),
    "options_apart": ("PASSED", "4", "proven before the last step (optim.sgd, by its state in the file)"),
    "rates": ("PARTLY COMPARED (1 of 4 layers with weights)", "4", "not judged: older than the weights"),
    "twice": ("PARTLY COMPARED (2 of 3 layers with weights)", "1.1.4", "proven before the last step (SGD, lr 0.04)"),
    "joined": ("PASSED", "4.2.3", "proven before the last step (SGD, lr 0.03)"),
    "behind": (
        "PARTLY COMPARED (4 of 5 layers with weights)",
        "10",
        "proven before the last step (SGD, lr 0.03)",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_a_right_conversion_does_not_fail(name: str) -> None:
    title, path, remark = SAID[name]
    report = judged_by_record(FOLDER / f"step_{name}.t7")
    assert report, report.summary()
    assert report.verdict.title == title
    assert [layer for layer in report.backends[0].layers if layer.path == path][-1].remark.startswith(remark)


@pytest.mark.parametrize(
    ("name", "typename", "path"),
    [
        ("rprop", "nn.Linear", "4"),
        ("lbfgs", "nn.Linear", "4"),
        ("cg", "nn.Linear", "6"),
        ("options_apart", "nn.Linear", "4"),
        ("twice", "nn.Linear", "1.1.4"),
        ("joined", "nn.SpatialConvolution", "4.2.3"),
        ("behind", "nn.Linear", "10"),
    ],
)
@pytest.mark.parametrize(
    "fault", ["weight x 1.01", "rows reversed", pytest.param("bias + 0.001", marks=pytest.mark.slow)]
)
def test_a_fault_is_found_and_located(name: str, typename: str, path: str, fault: str) -> None:
    with planted(FAULTS[fault], typename, path) as applied:
        report = judged_by_record(FOLDER / f"step_{name}.t7")
    assert any(applied)
    assert not report
    assert next(layer.path for layer in report.backends[0].layers if not layer.passed) == path

"""What layers in place, dropout, decays and clipped gradients leave in files of Torch7 (in_place.lua, clipped.lua)."""

from __future__ import annotations

import golden
import pytest
from planted_faults import FAULTS, planted
from reports import judged_by_record

FOLDER = golden.FIXTURES / "parity"

#: File -> (title, path of a layer, what is said of it)
SAID = {
    "dropped_channels": ("PASSED", "3", "it ran in training mode, in which it is random"),
    "dropped_in_place": (
        "PARTLY COMPARED (1 of 2 layers with weights)",
        "3.1",
        "it ran in training mode, in which it is random",
    ),
    "taken_back": ("PASSED", "3", "not judged: a backward pass has changed its output since"),
    "behind_taken_back": (
        "PARTLY COMPARED (0 of 4 layers with weights)",
        "4",
        "not judged: a backward pass has changed what it got since",
    ),
    "written_over_behind": ("PASSED", "3.1.1.3", "its output was written over by nn.CAddTable at 3.2"),
    "nothing_through": (
        "PARTLY COMPARED (0 of 2 layers with weights)",
        "2",
        "not judged: nn.ReLU at 3 wrote over its output, and let nothing through",
    ),
    "channel_without_variance": ("PASSED", "3", "its output was written over by nn.LeakyReLU at 4"),
    "decayed": (
        "PASSED",
        "5",
        "proven before the last step (SGD with a weight decay of 0.02, lr 0.05)",
    ),
    "masked_first": (
        "PARTLY COMPARED (2 of 4 layers with weights)",
        "2",
        "not judged: 23 of 72 recorded numbers of nn.Linear at 1, which it reads, are exactly 0",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_a_right_conversion_does_not_fail(name: str) -> None:
    title, path, remark = SAID[name]
    report = judged_by_record(FOLDER / f"{name}.t7")
    assert report, report.summary()
    assert report.verdict.title == title
    (layer,) = [layer for layer in report.backends[0].layers if layer.path == path]
    assert layer.remark.startswith(remark)


@pytest.mark.parametrize(("name", "typename", "path"), [
    ("dropped_channels", "nn.SpatialConvolution", "2"),
    ("dropped_channels", "nn.Linear", "5"),
    ("channel_without_variance", "nn.Linear", "2"),
    ("channel_without_variance", "nn.BatchNormalization", "3"),
    ("decayed", "nn.Linear", "2"),
    ("decayed", "nn.Linear", "5"),
    ("decayed", "nn.Linear", "7"),
    ("masked_first", "nn.Linear", "3"),
])  # fmt: skip
@pytest.mark.parametrize("fault", ["weight x 1.01", "bias + 0.001", "rows reversed"])
def test_a_fault_is_found_and_located(name: str, typename: str, path: str, fault: str) -> None:
    with planted(FAULTS[fault], typename, path) as applied:
        report = judged_by_record(FOLDER / f"{name}.t7")
    assert any(applied)
    assert not report
    assert next(layer.path for layer in report.backends[0].layers if not layer.passed) == path


@pytest.mark.parametrize(("name", "typename", "path"), [
    ("behind_taken_back", "nn.Linear", "3.1.1"),
    ("written_over_behind", "nn.Linear", "3.1.1.3"),
    ("taken_back", "nn.Linear", "6"),  # there was a backward pass: a step may have followed
    ("decayed", "nn.BatchNormalization", "4"),  # which alone tells how long the step was
    ("nothing_through", "nn.Linear", "2"),
    ("nothing_through", "nn.Linear", "4"),
])  # fmt: skip
@pytest.mark.parametrize("fault", ["weight x 1.01", "rows reversed"])
def test_a_fault_that_a_step_may_have_made_is_not_passed(name: str, typename: str, path: str, fault: str) -> None:
    with planted(FAULTS[fault], typename, path) as applied:
        report = judged_by_record(FOLDER / f"{name}.t7")
    assert any(applied)
    assert not report.proven


@pytest.mark.parametrize(("name", "path"), [("last", "6"), ("one_number", "5"), ("decayed", "4"), ("tenth", "3.1.1.4")])
def test_clipped_gradients_that_were_zeroed_make_no_right_layer_fail(name: str, path: str) -> None:
    report = judged_by_record(FOLDER / f"clipped_{name}.t7")
    assert report, report.summary()
    assert not report.proven
    (layer,) = [layer for layer in report.backends[0].layers if layer.path == path]
    assert layer.remark.startswith("not judged: older than the weights")


def test_clipped_gradients_of_the_first_layer_make_it_no_failure() -> None:
    report = judged_by_record(FOLDER / "clipped_kept.t7")
    assert report, report.summary()
    (layer,) = [layer for layer in report.backends[0].layers if layer.path == "1"]
    assert layer.own is None
    assert layer.remark.endswith("its gradInput shows that its weight is right, but nothing judges its bias")
    with planted(FAULTS["bias + 0.001"], "nn.Linear", "1"):
        assert not judged_by_record(FOLDER / "clipped_kept.t7")  # which is more than larger gradients explain

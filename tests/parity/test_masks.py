"""Recorded outputs in which a script's mask, written in place, set numbers to 0 after the layer ran."""

from __future__ import annotations

import golden
import planted_faults
import pytest
import torch
from torch import nn

import torchmigrate as tm
from torchmigrate.parity.masks import find_mask

FOLDER = golden.FIXTURES / "parity"

#: File -> (verdict, paths of the layers that were judged without what the mask set to 0, how many numbers of how many)
RECOGNISED = {
    "masked_answer": ("PASSED", ["3", ""], "27 of 72"),
    "masked_linear": ("PASSED", ["4"], "23 of 56"),
    "masked_planes": ("PASSED", ["2"], "47 of 180"),
    "masked_graph": ("PASSED", ["7", ""], "34 of 80"),
    "masked_trained": ("PASSED", ["6", ""], "12 of 32"),
    "masked_relu": ("PASSED", ["5"], "9 of 56"),
    "masked_relu_in_place": ("PASSED", ["3"], "13 of 72"),
}

#: File -> (verdict, paths of the layers that can't be judged, since too few numbers are left, how many of how many)
TOO_FEW = {
    "masked_columns": ("PASSED", ["4"], "16 of 56"),  # by the answer of the whole network, which the mask did not reach
    "masked_most": ("PASSED", ["4"], "41 of 56"),
    "masked_answer_column": ("PARTLY COMPARED (3 of 4 layers with weights)", ["6", ""], "8 of 24"),
    "masked_whole": ("PARTLY COMPARED (3 of 4 layers with weights)", ["6", ""], "24 of 24"),
}

#: File -> path of the layer whose zeros may be its own doing, and what converts it.
FAILED: dict[str, tuple[str, dict[str, str]]] = {
    "masked_relu_answer": ("3", {}),  # no layer behind shows what it gave
    "no_mask": ("3", {"my.Winners": "nn.ReLU"}),
}


def verify(name: str, aliases: dict[str, str] | None = None) -> tm.ParityReport:
    return tm.verify(tm.convert(FOLDER / f"{name}.t7", aliases=aliases), reference="recorded", batches=())


def remarked(report: tm.ParityReport, text: str) -> list[str]:
    return [layer.path for layer in report.backends[0].layers if text in layer.remark]


@pytest.mark.parametrize("name", RECOGNISED)
def test_a_mask_that_was_written_in_place_is_recognised(name: str) -> None:
    title, paths, count = RECOGNISED[name]
    report = verify(name)
    assert report, report.summary()
    assert report.verdict.title == title
    remark = f"{count} recorded numbers are exactly 0 and were left out: something wrote over them after the layer ran"
    assert remarked(report, remark) == paths
    assert all(layer.own is not None for layer in report.backends[0].layers)
    assert any("judged without numbers that something set to 0" in limit for limit in report.reference.limits)


def test_a_mask_in_a_sum_that_was_written_into_another_output_and_in_views() -> None:
    report = verify("masked_views")
    assert report, report.summary()
    assert remarked(report, "17 of 64 recorded numbers are exactly 0") == ["3"]
    assert remarked(report, "13 of 48 recorded numbers are exactly 0") == ["4", "5", ""]


def test_the_layers_beside_a_mask_are_proven_before_the_last_step() -> None:
    assert remarked(verify("masked_trained"), "proven before the last step (SGD, lr 0.05)") == ["2", "4"]


@pytest.mark.parametrize("name", TOO_FEW)
def test_a_layer_of_which_a_mask_leaves_too_little_is_not_judged(name: str) -> None:
    title, paths, count = TOO_FEW[name]
    report = verify(name)
    assert report, report.summary()
    assert report.verdict.title == title
    assert remarked(report, f"not judged: {count} recorded numbers are exactly 0") == paths
    assert all(layer.own is None for layer in report.backends[0].layers if layer.path in paths)


@pytest.mark.parametrize("name", FAILED)
def test_zeros_that_the_layer_may_have_made_are_no_mask(name: str) -> None:
    path, aliases = FAILED[name]
    report = verify(name, aliases)
    assert not report
    assert next(layer.path for layer in report.backends[0].layers if not layer.passed) == path


@pytest.mark.parametrize(("name", "typename", "path"), [
    ("masked_answer", "nn.Linear", "2.2.3"),
    ("masked_linear", "nn.Linear", "2"),
    ("masked_linear", "nn.Linear", "4"),
    ("masked_linear", "nn.Linear", "6"),
    ("masked_planes", "nn.SpatialConvolution", "2"),
    ("masked_planes", "nn.SpatialBatchNormalization", "3"),
    ("masked_columns", "nn.Linear", "6"),
    ("masked_graph", "nn.Linear", "4"),
    ("masked_views", "nn.Linear", "4"),
    ("masked_trained", "nn.Linear", "6"),
    ("masked_relu", "nn.Linear", "4"),
    ("masked_relu_in_place", "nn.Linear", "5"),
])  # fmt: skip
@pytest.mark.parametrize("fault", ["weight x 1.01", "bias + 0.001"])
def test_a_fault_beside_a_mask_is_found_and_located(name: str, typename: str, path: str, fault: str) -> None:
    with planted_faults.planted(planted_faults.FAULTS[fault], typename, path) as applied:
        report = verify(name)
    assert applied
    assert not report
    assert next(layer.path for layer in report.backends[0].layers if not layer.passed) == path


@pytest.mark.parametrize(("name", "path"), [("masked_relu", "6"), ("masked_relu_in_place", "2")])
def test_a_fault_of_the_layer_that_shows_a_mask_is_found(name: str, path: str) -> None:
    with planted_faults.planted(planted_faults.FAULTS["weight x 1.01"], "nn.Linear", path) as applied:
        report = verify(name)
    assert applied
    assert not report
    assert path in [layer.path for layer in report.backends[0].layers if not layer.passed]


def test_a_fault_where_a_mask_left_too_little_is_not_passed() -> None:
    with planted_faults.planted(planted_faults.FAULTS["weight x 1.01"], "nn.Linear", "4"):
        assert not verify("masked_columns")
    with planted_faults.planted(other_column, "nn.Linear", "6") as applied:
        assert verify("masked_answer_column").verdict.level == "partly"
    assert applied


def other_column(module: nn.Module) -> bool:
    """The row of the weight whose numbers the mask set to 0."""
    with torch.no_grad():
        module.get_parameter("weight")[1] *= 2
    return True


@pytest.mark.parametrize(("name", "path"), [
    ("masked_linear", "5"),
    ("masked_most", "5"),
    ("masked_columns", None),  # what it got is not known
    ("masked_planes", "4"),
    ("masked_relu", "5"),
])  # fmt: skip
def test_a_layer_that_makes_zeros_and_lost_that_is_not_passed(
    name: str, path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: nn.ReLU, x: torch.Tensor) -> torch.Tensor:
        return x

    monkeypatch.setattr(nn.ReLU, "forward", forward)
    report = verify(name)
    assert not report.proven
    failed = (layer.path for layer in report.backends[0].layers if not layer.passed)
    assert next(failed, None) == path


@pytest.mark.parametrize(("recorded", "every_slice", "enough"), [
    ([[1.0, 0.0], [3.0, 4.0]], True, True),
    ([[1.0, 0.0], [3.0, 0.0]], False, True),
    ([[1.0, 0.0], [3.0, 0.0]], True, False),  # nothing of the second column
    ([[1.0, 2.0], [0.0, -0.0]], True, False),  # nothing of the second row
    ([[1.0, 0.0], [0.0, 0.0]], False, False),
    ([[0.0, 0.0], [0.0, 0.0]], False, False),
    ([[1.0, 2.0], [3.0, 4.0]], True, None),
])  # fmt: skip
def test_what_a_mask_leaves(recorded: list[list[float]], every_slice: bool, enough: bool | None) -> None:
    ours = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    mask = find_mask(ours, torch.tensor(recorded), every_slice=every_slice)
    assert (None if mask is None else mask.enough) == enough
    if mask is not None:
        assert torch.equal(mask.without(ours), torch.tensor(recorded))
        assert torch.equal(mask.filled(torch.tensor(recorded), ours), ours)


def test_zeros_that_the_layer_gives_too_are_no_mask() -> None:
    numbers = torch.tensor([0.0, 1.0, 2.0])
    assert find_mask(numbers, numbers.clone(), every_slice=True) is None
    assert find_mask(numbers, numbers[:2], every_slice=True) is None

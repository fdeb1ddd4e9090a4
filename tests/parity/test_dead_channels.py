"""Batch normalizations of channels that are one large number each, where the rounding of a mean is all that is left."""

from __future__ import annotations

import json

import golden
import pytest
import torch
from planted_faults import FAULTS, planted
from torch import nn

import torchmigrate as tm
from torchmigrate.cli.printing.reports import show_report
from torchmigrate.parity.judge.compare import Tolerance
from torchmigrate.parity.runs.rounded_means import rounded_means

FOLDER = golden.FIXTURES / "parity"

#: File -> (title, what is said of its batch norm at 3)
SAID = {
    "dead_channel": ("PASSED", "compared in training mode, * in 1 of 5 channels the mean is so large"),
    "nearly_dead_channel": ("PASSED", "compared in training mode, * in 2 of 5 channels the mean is so large"),
    "dead_channel_in_place": (
        "PASSED",
        "its output was written over by nn.LeakyReLU at 4; in 1 of 5 channels the mean is so large",
    ),
    "dead_channel_trained": ("PASSED", "proven before the last step (SGD, lr 0.05)* in 1 of 5 channels the mean is so"),
    "dead_channels": (
        "PARTLY COMPARED (2 of 3 layers with weights)",
        "not judged: each of its channels is one number throughout the batch",
    ),
}


def verify(name: str) -> tm.ParityReport:
    return tm.verify(tm.convert(FOLDER / f"{name}.t7"), reference="recorded", batches=())


@pytest.mark.parametrize("name", SAID)
def test_rounding_of_a_mean_is_no_failure_and_is_said(name: str) -> None:
    title, said = SAID[name]
    report = verify(name)
    assert report, report.summary()
    assert report.verdict.title == title
    (layer,) = [layer for layer in report.backends[0].layers if layer.path == "3"]
    first, _, second = said.partition("*")
    assert layer.remark.startswith(first)
    assert second in layer.remark
    if layer.own is not None:
        assert layer.own.atol >= layer.own.max_abs > 0.001


def test_every_form_of_the_report_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    report = verify("dead_channel")
    limit = "1 of 6 runs of layers was judged, in some channels, up to what the rounding of a mean makes of them."
    assert limit in report.verdict.limits
    assert limit in report.markdown()
    remark = "in 1 of 5 channels the mean is so large beside the deviation that its rounding shows: they were judged"
    assert remark in json.dumps(report.to_json()["backends"])
    assert remark in report.html()
    assert limit in report.html()
    show_report(report)
    assert limit in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("name", "fault"), [
    ("dead_channel", "eps x 1000"),
    ("dead_channel", "rows reversed"),
    ("dead_channel", "weight x 1.01"),
    ("dead_channel_in_place", "rows reversed"),
    ("nearly_dead_channel", "bias + 0.001"),
    ("dead_channel_trained", "rows reversed"),
])  # fmt: skip
def test_a_fault_in_another_channel_is_found(name: str, fault: str) -> None:
    with planted(FAULTS[fault], "nn.BatchNormalization", "3") as applied:
        report = verify(name)
    assert any(applied)
    assert not report
    assert next(layer.path for layer in report.backends[0].layers if not layer.passed) == "3"


def test_a_dead_channel_that_is_farther_off_than_its_rounding_fails() -> None:
    def other_bias(module: nn.Module) -> bool:
        with torch.no_grad():
            module.get_parameter("bias")[1] += 0.2
        return True

    with planted(other_bias, "nn.BatchNormalization", "3"):
        assert not verify("dead_channel")


@pytest.mark.parametrize(("module", "training", "size", "channels"), [
    (nn.BatchNorm1d(3), True, (6, 3), 1),
    (nn.BatchNorm1d(3), False, (6, 3), None),
    (nn.BatchNorm2d(3), True, (2, 3, 4, 5), 1),
    (nn.InstanceNorm2d(3), False, (2, 3, 4, 5), 2),
    (nn.LayerNorm(3), True, (6, 3), None),
])  # fmt: skip
def test_where_the_rounding_of_a_mean_shows(
    module: nn.Module, training: bool, size: tuple[int, ...], channels: int | None
) -> None:
    x = torch.randn(size, generator=torch.Generator().manual_seed(0))
    x[:, 1] = 1234.5
    found = rounded_means(module, x, Tolerance(7.6e-6, 0.0, True, "", 2 * 2.0**-24), training=training)
    assert (None if found is None else int((found.allowed > 0).sum())) == channels
    assert found is None or found.enough

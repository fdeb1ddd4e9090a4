"""The verdict says what a comparison shows, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import reports
import torch
from torch import nn

from torchmigrate.parity.judge.compare import compare
from torchmigrate.parity.reference_numbers import Reference
from torchmigrate.parity.report.comparison import BackendResult, ModelLayer
from torchmigrate.parity.report.report import ParityReport
from torchmigrate.parity.report.verdict import is_summary
from torchmigrate.parity.runs.unseen_weights import UnseenWeights


def result(name: str, status: str, *, decides: bool = True) -> BackendResult:
    outputs = [] if status == "not run" else [reports.difference()]
    return BackendResult(name, status, "why", reports.RULE, outputs, [], decides)


@pytest.mark.parametrize("kind", ["dump", "live", "recorded"])
def test_only_torch7s_numbers_prove_parity(kind: str) -> None:
    report = reports.by_hand(kind=kind)
    assert (report.verdict.level, report.verdict.title) == ("passed", "PASSED")


def recorded(judged: list[bool], weights: list[int], **changes: Any) -> ParityReport:
    """Layers with activations in the file, whose outputs were compared with the model itself."""
    results = [reports.layer(i, own=1e-7 if known else None) for i, known in enumerate(judged, 1)]
    backend = BackendResult("pytorch-cpu", "passed", "", reports.RULE, [reports.difference()], results)
    model = [ModelLayer(("",), "nn.Sequential", "Sequential", sum(weights))]
    model += [ModelLayer((str(i),), "nn.Linear", "Linear", count, count) for i, count in enumerate(weights, 1)]
    reference = Reference(
        "recorded", "what was judged is right", torch.zeros(2, 6), torch.zeros(2, 6), torch.float32, probe=torch.ones(1)
    )
    return reports.by_hand(backends=[backend], model=model, reference=reference, **changes)


@pytest.mark.parametrize(
    ("judged", "weights", "title"),
    [
        ([True, True, True], [6, 0, 6], "PASSED"),
        ([True, False, True], [6, 0, 6], "PASSED"),
        ([True, True, False], [6, 0, 6], "PARTLY COMPARED (1 of 2 layers with weights)"),
        ([False, True, False], [6, 0, 6], "PARTLY COMPARED (0 of 2 layers with weights)"),
        ([True], [0], "PARTLY COMPARED (0 of 0 layers with weights)"),
    ],
)
def test_layers_with_weights_decide_where_the_ends_are_not_torch7s(
    judged: list[bool], weights: list[int], title: str
) -> None:
    report = recorded(judged, weights)
    assert report, "nothing failed"
    assert report.verdict.title == title
    assert report.proven == (title == "PASSED")
    written = report.to_json()
    assert (written["proven"], written["verdict"]["title"]) == (report.proven, title)
    assert report.summary().startswith(f"{title} against the activations that Torch7 left in the file: ")
    assert title in report.markdown()
    assert title in report.html()


def test_why_a_layer_was_not_judged_is_said() -> None:
    report = recorded([True, False], [6, 6])
    report.backends[0].layers[1].remark = "its output is not in the file"
    assert "The others were not: 1: its output is not in the file." in report.verdict.meaning


def test_constant_outputs_prove_little_and_empty_ones_nothing() -> None:
    rule = reports.RULE
    constant = compare(torch.full((2, 3), 0.5), torch.full((2, 3), 0.5), rule, details=True)
    report = reports.by_hand(backends=[BackendResult("a", "passed", "", rule, constant)])
    assert report.verdict.title == "PARTLY COMPARED (0 of 10 layers with weights)"
    assert "Output is the same number everywhere (0.5): that it agrees proves little." in report.verdict.limits
    empty = compare(torch.zeros(0, 3), torch.zeros(0, 3), rule, details=True)
    report = reports.by_hand(backends=[BackendResult("a", "passed", "", rule, empty)])
    assert not report.proven
    assert "Output is empty: nothing was compared." in report.verdict.limits
    mixed = compare([torch.zeros(0), torch.ones(1)], [torch.zeros(0), torch.ones(1)], rule, details=True)
    report = reports.by_hand(backends=[BackendResult("a", "passed", "", rule, mixed)])
    assert not report.proven, "the reference has one output"
    report.reference = replace(report.reference, output=[torch.zeros(0), torch.ones(1)])
    assert report.proven
    assert "Output[1] is empty: nothing was compared." in report.verdict.limits


@pytest.mark.parametrize(
    ("given", "answered", "proven"),
    [
        (torch.eye(2, 6), torch.tensor([[1.0, 2, 3], [1, 2, 3]]), False),
        (torch.eye(2, 6), torch.tensor([[1.0, 2, 3], [1, 2, 3 + 1e-5]]), False),
        (torch.eye(2, 6), torch.tensor([[1.0, 2, 3], [1, 2, 3.1]]), True),
        (torch.ones(2, 6), torch.tensor([[1.0, 2, 3], [1, 2, 3]]), True),
        (torch.eye(1, 6), torch.tensor([[1.0, 2, 3]]), True),
        ([torch.eye(2, 6), torch.ones(1)], torch.tensor([[1, 2, 3], [1, 2, 3]]), False),
        (torch.eye(2, 6), [torch.eye(2, 6), torch.tensor([[1.0, -torch.inf], [1, -torch.inf]])], False),
    ],
)
def test_an_output_that_is_the_same_for_all_samples_proves_nothing(given: Any, answered: Any, proven: bool) -> None:
    backend = BackendResult("a", "passed", "", reports.RULE, compare(answered, answered, reports.RULE, details=True))
    reference = Reference("dump", "it agrees", given, answered, torch.float32)
    report = reports.by_hand(backends=[backend], reference=reference)
    assert report
    assert report.proven is proven
    assert any("is the same for all samples" in limit for limit in report.verdict.limits) is not proven


@pytest.mark.parametrize(
    ("module", "given", "unseen"),
    [
        (nn.Linear(4, 3), torch.zeros(2, 4), True),
        (nn.Linear(4, 3), torch.eye(2, 4), False),
        (nn.Linear(4, 3), torch.empty(0, 4), False),
        (nn.LSTM(4, 3), torch.zeros(2, 1, 4), True),
        (nn.Embedding(4, 3), torch.zeros(2, dtype=torch.long), False),
        (nn.ReLU(), torch.zeros(2, 4), False),
        (nn.ConvTranspose2d(1, 1, 2), torch.zeros(1, 1, 3, 3), True),
    ],
)
def test_weights_that_multiply_zeros_only_are_not_seen(module: nn.Module, given: torch.Tensor, unseen: bool) -> None:
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    assert UnseenWeights().has(module, given) is unseen
    assert all(torch.equal(p, before[name]) for name, p in module.named_parameters())


@pytest.mark.parametrize("kind", ["self", "run", "a kind to come"])
def test_nothing_else_does(kind: str) -> None:
    report = reports.by_hand(kind=kind)
    assert report
    assert (report.verdict.level, report.verdict.title) == ("rounding", "NOT COMPARED")
    assert "not that the mapping is right" in report.summary()


@pytest.mark.parametrize(
    ("statuses", "level"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "not run"], "passed"),
        (["passed", "failed"], "failed"),
        (["failed", "not run"], "failed"),
        (["not run", "not run"], "nothing"),
        ([], "nothing"),
    ],
)
def test_all_backends_together(statuses: list[str], level: str) -> None:
    report = reports.by_hand(backends=[result(str(i), status) for i, status in enumerate(statuses)])
    assert report.verdict.level == level
    assert bool(report) is (level == "passed")


def test_what_is_information_does_not_decide() -> None:
    backends = [result("a", "passed"), result("b", "failed", decides=False)]
    report = reports.by_hand(backends=backends)
    assert report
    assert report.verdict.level == "passed"
    assert "For information, without a say in the verdict: b (failed)." in report.verdict.limits
    assert "`b` (information)" in report.markdown()
    assert not reports.by_hand(backends=backends[1:])


def test_limits() -> None:
    limits = reports.by_hand().verdict.limits
    assert limits[0] == "Not run, so not covered: pytorch-cuda (no CUDA device was found)."
    assert limits[1] == "One input was compared, of size 2x6. Others were not."
    layers = [reports.layer(1), reports.layer(2, own=None)]
    backend = BackendResult("a", "passed", "", reports.RULE, [reports.difference()], layers)
    assert "1 of 2 runs of layers could not be judged" in " ".join(reports.by_hand(backends=[backend]).verdict.limits)
    layers[0].shape = [(2, 600)]
    assert "1 of 2 runs of layers was compared by summary" in " ".join(
        reports.by_hand(backends=[backend]).verdict.limits
    )
    backend.layers = []
    assert "The layers were not compared one by one" in " ".join(reports.by_hand(backends=[backend]).verdict.limits)


@pytest.mark.parametrize(
    ("compared", "shapes", "summary"),
    [
        ((66,), [(2, 8, 32, 32)], True),
        ((2, 8), [(2, 8)], False),
        ((66,), [(66,), (70,)], False),
        ((66,), [(4, 4)], False),
        ((), [], False),
    ],
)
def test_summaries(compared: tuple[int, ...], shapes: list[tuple[int, ...]], summary: bool) -> None:
    assert is_summary(compared, shapes) is summary

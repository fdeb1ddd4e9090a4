"""The verdict says what a comparison shows, and what it does not."""

from __future__ import annotations

import pytest
import reports

from torchmigrate.parity.report.comparison import BackendResult
from torchmigrate.parity.report.verdict import is_summary


def result(name: str, status: str, *, decides: bool = True) -> BackendResult:
    outputs = [] if status == "not run" else [reports.difference()]
    return BackendResult(name, status, "why", reports.RULE, outputs, [], decides)


@pytest.mark.parametrize("kind", ["dump", "live", "recorded"])
def test_only_torch7s_numbers_prove_parity(kind: str) -> None:
    report = reports.by_hand(kind=kind)
    assert (report.verdict.level, report.verdict.title) == ("passed", "PASSED")


@pytest.mark.parametrize("kind", ["self", "run", "a kind to come"])
def test_nothing_else_does(kind: str) -> None:
    report = reports.by_hand(kind=kind)
    assert report
    assert (report.verdict.level, report.verdict.title) == ("rounding", "NOT COMPARED WITH TORCH7")
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

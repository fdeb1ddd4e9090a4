"""The Markdown summary: short, and whatever a file calls its layers stays text."""

from __future__ import annotations

import html
import re
from pathlib import Path

import golden
import pytest
import reports

from torchmigrate.cli import main as cli
from torchmigrate.parity.report.comparison import BackendResult
from torchmigrate.parity.report.markdown import WORST, code


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table whose first heading this is."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading}"))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_a_report_that_passed() -> None:
    text = reports.by_hand().markdown()
    assert text.startswith(
        "### Parity: ✅ PASSED\n\n`nn.Linear.t7`. The converted model computes what Torch7 computed,"
    )
    assert [row[:5] for row in rows(text, "backend")] == [
        ["`pytorch-cpu`", "**passed**", "1e-07", "1e-07", "0.5 %"],
        ["`onnxruntime-cpu`", "**passed**", "3e-06", "3e-06", "15 %"],
        ["`pytorch-cuda`", "`not run`", *["\N{EN DASH}"] * 3],
    ]
    assert "- Not run, so not covered: pytorch-cuda (no CUDA device was found)." in text
    assert text.endswith("`torchmigrate verify nn.Linear.t7 --device cpu --device cuda`\n")
    assert len(text) < 2500


def test_the_worst_layers_come_first(tmp_path: Path) -> None:
    layers = [reports.layer(i, own=i * 1e-7) for i in range(1, 50)]
    layers[11] = reports.layer(12, own=1e-3)
    backend = BackendResult("pytorch-cpu", "failed", "far off", reports.RULE, [reports.difference(1e-3)], layers)
    text = reports.by_hand(backends=[backend]).markdown()
    found = rows(text, "worst layers")
    assert [row[0] for row in found] == ["`12`", "`49`", "`48`", "`47`", "`46`"]
    assert len(found) == WORST
    assert found[0][-2:] == ["0.001", "50\N{MULTIPLICATION SIGN} **fails**"]
    assert "### Parity: ❌ FAILED" in text


def test_compared_with_itself() -> None:
    text = reports.by_hand(kind="self").markdown()
    assert "NOT COMPARED" in text
    assert "PASSED" not in text
    assert "result (rounding only)" in text
    assert "This is not a proof of parity." in text


def test_nothing_ran() -> None:
    text = reports.by_hand(backends=[], model=[]).markdown()
    assert "NOTHING WAS COMPARED" in text
    assert rows(text, "backend") == []


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a|b",
        "a`b",
        "``",
        "\\|",
        "a\\",
        "<!-- x -->",
        "[a](http://evil)",
        "http://evil/www.evil.com",
        "&lt;b&gt;",
        " a ",
        "",
        "x\n| y |\n# z",
        "@everyone #1",
        "*a* _b_ ~c~",
        reports.HOSTILE,
    ],
)
def test_code_shows_any_text_as_it_is(text: str) -> None:
    shown = code(text)
    assert "\n" not in shown
    assert "|" not in shown
    if shown.startswith("`"):
        assert shown == f"`{text}`"
        assert "`" not in text
        assert "\\" not in text
        return
    inner = re.fullmatch(r"<code>([A-Za-z0-9 .,:;=+()%'&#-]*)</code>", shown)
    assert inner, shown
    assert not re.search(r"//|www\.|&(?!#[0-9]+;)", inner[1])
    assert html.unescape(inner[1]) == text.replace("\n", "\\x0a").replace("\u202e", "\\x202e").replace("\x1b", "\\x1b")


def test_long_text_is_cut() -> None:
    assert len(code("x" * 10_000)) < 400


def test_hostile_names_stay_in_their_cell() -> None:
    text = reports.hostile().markdown()
    assert "<script" not in text
    assert "<img" not in text
    assert "\u202e" not in text
    assert all(
        len(row) == wide for heading, wide in (("backend", 7), ("worst layers", 6)) for row in rows(text, heading)
    )
    outside = re.sub(r"`[^`\n]*`|<code>[^<\n]*</code>", "", text)
    assert "@" not in outside
    assert "[l]" not in outside
    assert "alert" not in outside


def test_two_runs_give_the_same_text() -> None:
    assert reports.by_hand().markdown() == reports.by_hand().markdown()


def test_verify_writes_it_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, reference = golden.MODELS / "lenet_mnist.t7", golden.MODELS / "lenet_mnist.reference.t7"
    words = ["verify", str(model), "--reference", str(reference), "--markdown", str(tmp_path / "summary.md")]
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 0
    assert "PASSED" in (tmp_path / "summary.md").read_text().splitlines()[0]

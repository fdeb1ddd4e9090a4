"""report.html: all that parity.json holds, in words, tables and charts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import reports
from pages import body_rows, cells, depth_chart, page_of, read_page, tables, values, words

from torchmigrate.parity.judge.compare import Difference
from torchmigrate.parity.report import html
from torchmigrate.parity.report.comparison import BackendResult
from torchmigrate.parity.report.report import finite

TEMPLATES = Path(html.__file__).parent / "templates"


def test_numbers_of_the_outputs_are_those_of_the_json(tmp_path: Path) -> None:
    report = reports.dumped(tmp_path, broken=True)
    written = json.loads(report.write(tmp_path).read_text())
    found = tables(read_page((tmp_path / "report.html").read_text()))
    fields = ["max_abs", "mean_abs", "p99_abs", "max_rel", "mean_rel", "p99_rel", "largest", "atol", "rtol"]
    fields += ["needed_atol", "worst_got", "worst_expected", "cosine", "snr_db"]
    compared = [backend["outputs"] for backend in written["backends"] if backend["outputs"]]
    assert {len(outputs) for outputs in compared} == {2}
    for columns in zip(*compared, strict=True):
        table = found[f"Statistics of output{columns[0]['place']}"]
        expected = [each[field] for field in fields for each in columns if each[field] is not None]
        assert [float(value) for value in values(table)] == expected
        text = " ".join(words(row) for row in body_rows(table))
        for each in columns:
            assert f"[{', '.join(map(str, each['worst']))}]" in text
            assert f"{each['agreement']['top1']} of {each['agreement']['samples']}" in text


def test_numbers_of_the_layers_are_those_of_the_json(tmp_path: Path) -> None:
    report = reports.by_hand(10)
    written = json.loads(report.write(tmp_path).read_text())
    rows = body_rows(tables(page_of(report))["All layers"])
    layers = written["backends"][0]["layers"]
    assert len(rows) == len(layers) == 10
    for row, layer in zip(rows, layers, strict=True):
        assert [float(value) for value in values(row)] == [layer["own"]["max_abs"], layer["accumulated"]["max_abs"]]
        shown = [cell.text.strip() for cell in cells(row)]
        assert shown[1:5] == [layer["path"], layer["class"], layer["module"], "2x6"]
        assert shown[5].split() == ["✓", "within"]


def test_a_remark_of_several_layers_is_a_footnote() -> None:
    report = reports.by_hand(10)
    for backend in report.backends:
        backend.layers[:] = [
            replace(layer, remark=("once alone in the table", "said of layer after layer")[place > 0])
            for place, layer in enumerate(backend.layers)
        ]
    page = page_of(report)
    rows = body_rows(tables(page)["All layers"])
    assert [cells(row)[-1].text.strip() for row in rows] == ["once alone in the table", *["note 1"] * 9]
    assert {link["href"] for link in rows[-1].all("a")} == {"#remark-1"}
    assert [
        (note["id"], note.text) for note in page.all("li") if note.attributes.get("id", "").startswith("remark")
    ] == [("remark-1", "said of layer after layer")]


def test_backends_are_all_listed_with_their_reason() -> None:
    rows = [" ".join(row.text.split()) for row in body_rows(tables(page_of(reports.by_hand()))["Backends"])]
    assert len(rows) == 3
    assert rows[0].startswith("pytorch-cpu ✓ passed 1e-07")
    assert "10 of 10" in rows[0]
    assert rows[1].startswith("onnxruntime-cpu ✓ passed 3e-06 15 %")
    assert rows[2].startswith("pytorch-cuda \N{EN DASH} not run")
    assert rows[2].endswith("no CUDA device was found")


@pytest.mark.parametrize(
    ("make", "level", "title"),
    [
        (reports.ALL["passed"], "passed", "PASSED"),
        (reports.ALL["hostile"], "failed", "FAILED"),
        (reports.ALL["itself"], "rounding", "NOT COMPARED"),
        (lambda: reports.by_hand(kind="a kind to come"), "rounding", "NOT COMPARED"),
        (reports.ALL["nothing ran"], "nothing", "NOTHING WAS COMPARED"),
        (reports.ALL["empty"], "nothing", "NOTHING WAS COMPARED"),
    ],
)
def test_the_verdict_comes_first(make: Any, level: str, title: str) -> None:
    page = page_of(make())
    main = next(page.all("main"))
    verdict = next(main.all("section"))
    assert verdict["class"].split() == ["verdict", level]
    assert next(verdict.all("h2")).text.strip()[1:] == title
    assert next(page.all("title")).text.startswith(title)
    assert [section["class"] for section in page.all("section") if "class" in section.attributes] == [
        f"verdict {level}"
    ]


def test_what_was_compared_with_itself_never_reads_as_parity() -> None:
    page = page_of(reports.by_hand(kind="self"))
    verdict = " ".join(next(page.all("section")).text.split())
    assert "This is not a proof of parity" in verdict
    assert "torchmigrate reference --script" in verdict
    table = tables(page)["Backends"]
    assert "not Torch7" in next(table.all("caption")).text
    assert "rounding only" in table.text


def test_what_was_not_run_stands_beside_the_verdict() -> None:
    verdict = " ".join(next(page_of(reports.by_hand()).all("section")).text.split())
    assert "Not run, so not covered: pytorch-cuda (no CUDA device was found)." in verdict


def test_the_first_layer_that_diverges(tmp_path: Path) -> None:
    page = page_of(reports.dumped(tmp_path, broken=True))
    assert "The first layer that fails by itself is nn.Linear at 2" in " ".join(next(page.all("section")).text.split())
    assert any("first to diverge: nn.Linear at 2" in text.text for text in page.all("text"))
    rows = body_rows(tables(page)["All layers"])
    assert [row["data-state"] for row in rows] == ["ok", "own", "accumulated"]
    assert "✕" in rows[1].text
    assert "fails by itself" in rows[1].text


def test_an_error_that_comes_together_is_called_so() -> None:
    layers = [reports.layer(1), reports.layer(2, accumulated=1e-3), reports.layer(3, accumulated=1e-2)]
    backend = BackendResult("pytorch-cpu", "failed", "far off", reports.RULE, [reports.difference(1e-2)], layers)
    page = page_of(reports.by_hand(backends=[backend]))
    text = " ".join(next(page.all("section")).text.split())
    assert "No layer that could be judged fails by itself" in text
    assert "nn.Linear at 2" in text
    assert [row["data-state"] for row in body_rows(tables(page)["All layers"])] == ["ok", "accumulated", "accumulated"]


def test_every_figure_is_there(tmp_path: Path) -> None:
    report = reports.dumped(tmp_path)
    page = page_of(report)
    depth = [svg for svg in page.all("svg") if svg["class"] == "chart depth"]
    histograms = [svg for svg in page.all("svg") if svg["class"] == "chart histogram"]
    assert (len(depth), len(histograms)) == (1, sum(len(backend.outputs) for backend in report.backends))
    words = [text.text for text in depth[0].all("text")]
    assert "max |a \N{MINUS SIGN} b| / max |b|" in words
    assert "layers, in the order of execution (# in the table)" in words
    assert any(word.startswith("tolerance") for word in words)
    assert "own error: largest 0, 0 of 3 outside the tolerance" in depth[0]["aria-label"]
    assert any("share of all numbers" in text.text for text in histograms[0].all("text"))


def test_bars_of_a_histogram_stand_for_all_numbers() -> None:
    page = page_of(reports.by_hand())
    svg = next(svg for svg in page.all("svg") if svg["class"] == "chart histogram")
    counts = [int(title.text.split(": ")[1].split(" of ")[0]) for title in svg.all("title")]
    assert sum(counts) == 12


def test_the_worst_of_thinned_points_is_drawn() -> None:
    layers = [reports.layer(i) for i in range(1, 1501)]
    layers[776] = reports.layer(777, own=1e-2)
    backend = BackendResult("pytorch-cpu", "failed", "far off", reports.RULE, [reports.difference(1e-2)], layers)
    chart = next(
        svg for svg in page_of(reports.by_hand(backends=[backend])).all("svg") if svg["class"] == "chart depth"
    )
    titles = [title.text for title in chart.all("title")]
    assert titles == ["nn.Linear at 777: 0.01"]
    assert "largest 0.01, 1 of 1500 outside the tolerance" in chart["aria-label"]


def test_numbers_that_are_none() -> None:
    broken = [
        Difference("", False, "it has 3 NaN or Inf", (2, 2), worst=(0, 1)),
        Difference("[2]", False, "far", (2,), 1e-5, 0.0, 1.0, max_abs=float("inf"), mean_abs=float("nan")),
        Difference("[3]", False, "it is missing", (2,)),
    ]
    layer = reports.layer(1)
    layer.own, layer.accumulated = broken[0], broken[1]
    backends = [BackendResult("pytorch-cpu", "failed", "NaN", None, broken, [layer])]
    page = page_of(reports.by_hand(backends=backends))
    (row,) = body_rows(tables(page)["Backends"])
    assert values(row) == [], "what has no number must not look as if it were equal"
    (row,) = body_rows(tables(page)["All layers"])
    assert row["data-state"] == "own"
    assert "it has 3 NaN or Inf" in row.text
    chart = depth_chart(page)
    assert "no number" in [text.text for text in chart.all("text")]
    assert "not comparable" in chart["aria-label"]


def test_an_error_without_an_end_stands_at_the_top_of_the_chart() -> None:
    layers = [reports.layer(1), reports.layer(2)]
    for layer, largest in zip(layers, (1.0, 1e-310), strict=True):  # what it is divided by
        layer.own = Difference("", False, "far", (2,), 1e-5, 0.0, largest, max_abs=1.0, mean_abs=1.0)
    backends = [BackendResult("pytorch-cpu", "failed", "far", None, [layers[1].own], layers)]
    chart = depth_chart(page_of(reports.by_hand(backends=backends)))
    assert "largest Inf" in chart["aria-label"]


def test_paths_with_names_and_layers_that_run_twice() -> None:
    layers = [reports.layer(1), reports.layer(1), reports.layer(2)]
    for layer, path, call in zip(layers, ("3.1.conv", "3.1.conv", "3.10"), (1, 2, 1), strict=True):
        layer.path, layer.call = path, call
    backend = BackendResult("pytorch-cpu", "passed", "", reports.RULE, [reports.difference()], layers)
    model = [reports.ModelLayer((path,), "nn.X", "X", 0) for path in ("", "3", "3.1.conv", "3.10")]
    page = page_of(reports.by_hand(backends=[backend], model=model))
    shown = [" ".join(cells(row)[1].text.split()) for row in body_rows(tables(page)["All layers"])]
    assert shown == ["3.1.conv run 1", "3.1.conv run 2", "3.10"]
    (tree,) = [div for div in page.all("div") if div.attributes.get("class") == "tree"]
    names = [code.text for code in tree.all("code") if code.attributes.get("class") == "path"]
    assert names == ["the model", "3", "1.conv", "10"]


def test_the_command_can_be_pasted() -> None:
    report = reports.by_hand()
    report.source["file"] = "my model; rm -rf $HOME.t7"
    report.options = {"key": None, "reference": "it's.t7", "device": ["cpu", "cuda"], "atol": 1e-3}
    (again,) = [pre.text for pre in page_of(report).all("pre")]
    assert again == (
        "torchmigrate verify 'my model; rm -rf $HOME.t7' --reference 'it'\"'\"'s.t7' --device cpu --device cuda "
        "--atol 0.001"
    )


def test_tolerances_that_differ_are_lines_of_their_own() -> None:
    layers = [reports.layer(i) for i in range(1, 4)]
    for i, layer in enumerate(layers, 1):
        assert layer.accumulated is not None
        layer.accumulated = replace(layer.accumulated, atol=1e-4 * i)
    backend = BackendResult("pytorch-cpu", "passed", "", reports.RULE, [reports.difference()], layers)
    chart = depth_chart(page_of(reports.by_hand(backends=[backend])))
    words = [text.text for text in chart.all("text") if text.text.startswith("tolerance")]
    assert words == ["tolerance 2e-05, pytorch-cpu own", "tolerance, pytorch-cpu accumulated"]


def test_a_network_that_runs_its_layers_very_often() -> None:
    layers = [reports.layer(i % 4, accumulated=1e-7) for i in range(4000)]
    for i, layer in enumerate(layers):
        layer.call = i // 4 + 1
    layers[2001].own = reports.difference(1e-3)
    backend = BackendResult("pytorch-cpu", "failed", "far", reports.RULE, [reports.difference()], layers)
    page = page_of(reports.by_hand(backends=[backend]))
    table = tables(page)["All layers"]
    assert "4,000 runs of layers" in next(table.all("caption")).text
    rows = body_rows(table)
    assert [cells(row)[1].text.split()[0] for row in rows] == ["0", "1", "2", "3"]
    assert [row["data-state"] for row in rows] == ["ok", "own", "ok", "ok"]
    worst = layers[2001].own
    assert worst is not None
    assert float(values(rows[1])[0]) == worst.max_abs
    assert "run 501" in cells(rows[1])[1].text
    assert "the worst of 1,000 runs" in rows[1].text
    assert "nn.Linear at 1, run 501: 0.001" in [title.text for title in depth_chart(page).all("title")]


def test_batches_and_gradients() -> None:
    found = reports.by_hand().to_json()
    backend = found["backends"][0]
    backend["batches"] = [
        {"batch": 1, "status": "passed", "reason": "", "difference": reports.difference(3e-7).to_json()},
        {"batch": 3, "status": "not run", "reason": reports.HOSTILE, "difference": None},
    ]
    backend["gradients"] = [
        {"path": "", "class": "nn.Sequential", "field": "gradInput", "remark": "none came", "difference": None},
        {
            "path": "1",
            "class": reports.HOSTILE,
            "field": "gradWeight",
            "remark": "",
            "difference": reports.difference(1e-2).to_json(),
        },
    ]
    found_tables = tables(read_page(html.render(finite(found))))
    batches = [words(row) for row in body_rows(found_tables["Batches"])]
    assert batches[0] == "pytorch-cpu 1 ✓ passed 3e-07 1.5 %"
    assert batches[1].startswith("pytorch-cpu 3 \N{EN DASH} not run")
    gradients = [words(row) for row in body_rows(found_tables["Gradients"])]
    dash = "\N{EN DASH}"
    assert gradients[0] == f"pytorch-cpu the model nn.Sequential gradInput {dash} not compared {dash} {dash} none came"
    assert "gradWeight ✕ failed 0.01 500\N{MULTIPLICATION SIGN}" in gradients[1]
    assert "numbers differ" in gradients[1]

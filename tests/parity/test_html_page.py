"""report.html as a page: one file, safe whatever the model is called, to be read by everybody."""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import reports
from pages import body_rows, cells, depth_chart, page_of, read_page, tables

from torchmigrate.parity.report import html

TEMPLATES = Path(html.__file__).parent / "templates"


@pytest.mark.parametrize("make", reports.ALL.values(), ids=reports.ALL)
def test_it_needs_nothing_from_outside(make: Any) -> None:
    text = make().html()
    page = read_page(text)
    for element in page.all():
        assert element.tag not in {"link", "img", "iframe", "object", "embed", "base", "audio", "video", "image", "use"}
        for name, value in element.attributes.items():
            assert name not in {"src", "srcset", "xlink:href", "style", "action", "ping"}, element.tag
            assert not name.startswith("on")
            assert name != "href" or value.startswith("#")
    assert "http://" not in text
    assert "https://" not in text
    style = next(page.all("style")).text
    assert "@import" not in style
    assert "url(" not in style
    assert "@font-face" not in style


@pytest.mark.parametrize("make", reports.ALL.values(), ids=reports.ALL)
def test_it_can_be_read_by_everybody(make: Any) -> None:
    page = page_of(make())
    assert next(page.all("html"))["lang"] == "en"
    assert [len(list(page.all(tag))) for tag in ("header", "main", "nav", "footer", "h1")] == [1] * 5
    ids = [element["id"] for element in page.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in page.all():
        assert element.attributes.get("aria-labelledby", ids[0]) in ids
        assert "href" not in element.attributes or element["href"][1:] in ids
    for svg in page.all("svg"):
        assert svg.attributes.get("aria-hidden") == "true" or (svg["role"] == "img" and svg["aria-label"])
    boxed = list(tables(page).values())
    for table in page.all("table"):
        assert table in boxed
        assert next(table.all("caption")).text.strip()
        assert all(heading["scope"] in {"col", "row", "colgroup"} for heading in table.all("th"))
    for box in page.all("div"):
        assert box.attributes.get("role") != "region" or box["tabindex"] == "0"
    levels = [int(element.tag[1]) for element in page.all() if re.fullmatch("h[1-6]", element.tag)]
    assert all(after <= before + 1 for before, after in pairwise([0, *levels]))


def test_the_table_of_layers_says_how_it_is_sorted() -> None:
    table = tables(page_of(reports.by_hand()))["All layers"]
    headings = [heading for heading in table.all("th") if heading["scope"] == "col"]
    assert [heading.attributes.get("aria-sort") for heading in headings] == ["ascending"] + [None] * (len(headings) - 1)
    kinds = [heading["data-kind"] for heading in headings]
    assert kinds == ["number", "path", "text", "text", "text", "state", *["number"] * 4, "text"]
    assert all(len(cells(row)) == len(headings) for row in body_rows(table))


@pytest.mark.parametrize("layers", [10, 1000])
def test_size(layers: int) -> None:
    text = reports.by_hand(layers).html()
    page = read_page(text)
    assert len(text) < 40_000 + 900 * layers
    assert len(body_rows(tables(page)["All layers"])) == layers
    (tree,) = [div for div in page.all("div") if div.attributes.get("class") == "tree"]
    assert sum(element.tag in {"summary", "p"} for element in tree.all()) == layers + 1
    chart = depth_chart(page)
    assert max(len(path["d"]) for path in chart.all("path")) < 20 * 600


def test_hostile_names_are_text() -> None:
    page = page_of(reports.hostile())
    assert [element.tag for element in page.all() if element.tag in {"script", "img", "b", "l"}] == ["script"]
    shown = reports.HOSTILE.replace("\u202e", "\\x202e").replace("\x1b", "\\x1b")
    rows = body_rows(tables(page)["All layers"])
    assert shown in cells(rows[0])[2].text
    assert f"1.{shown}" in cells(rows[-1])[1].text
    assert shown in next(page.all("h1")).text
    text = page.text.replace("accu\u00admulated", "accumulated")
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert text.count(shown) > 15


def test_only_our_own_script_and_style_may_run() -> None:
    page = page_of(reports.hostile())
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta.attributes]
    assert "default-src 'none'" in policy
    for tag in ("script", "style"):
        (element,) = page.all(tag)
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        reports.dumped(folder).write(folder)
        made.append((folder / "report.html").read_bytes())
    assert made[0] == made[1]
    assert str(tmp_path).encode() not in made[0]
    assert b"\r" not in made[0]


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    full = digits if len(digits) == 6 else "".join(c * 2 for c in digits)
    parts = [int(full[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "print"])
def test_contrast(theme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", TEMPLATES.joinpath("report.css").read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", blocks[theme]))
    pairs = [(ink, paper) for ink in ("ink", "quiet", "good", "bad", "warn") for paper in colours if "pa" in paper]
    pairs += [(f"s{i}", "paper") for i in range(6)]
    assert len(pairs) > 25
    for ink, paper in pairs:
        light, dark = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)


def test_the_templates_are_in_the_distribution() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    shipped = project["tool"]["setuptools"]["package-data"]["torchmigrate"]
    assert "parity/report/templates/*" in shipped, "without them an installed torchmigrate can't write a report"

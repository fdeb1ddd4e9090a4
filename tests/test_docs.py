"""The documents are true: their Python blocks and commands run, their quotations are those of the source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents import ROOT, SHOWN, blocks, run_document

import torchmigrate as tm

PAGES = sorted((ROOT / "docs").glob("*.md"))
ALL = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


#: The page that needs torchvision; tests/matching/test_torchvision.py runs it.
WITH_TORCHVISION = "fine-tune.md"

#: Pages that take many seconds.
SLOW = {
    "custom-layers-in-lua.md",
    "face-embedding.md",
    "from-lua.md",
    "gan-checkpoint.md",
    "style-transfer.md",
    "zoo.md",
}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.name in SLOW else [])
        for page in PAGES
        if "```" in page.read_text("utf-8") and page.name != WITH_TORCHVISION
    ],
)
def test_what_it_says_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_document(page, tmp_path, monkeypatch)


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_what_does_not_run_says_why(page: Path) -> None:
    silent = [
        f"line {block.line}: {block.language}"
        for block in blocks(page)
        if block.language not in SHOWN | {"python", "console"} and not block.excused
    ]
    assert not silent
    assert not [block.line for block in blocks(page) if "Not run by the tests" in block.text]


def test_contributing_quotes_the_source() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "converters").rglob("*.py")))
    quoted = [block.text for block in blocks(ROOT / "CONTRIBUTING.md") if block.language == "python"]
    assert quoted
    assert [text for text in quoted if text.strip() not in sources] == []


def test_the_example_of_a_plugin_is_the_file() -> None:
    page = (ROOT / "docs" / "add-a-layer.md").read_text("utf-8")
    plugin = (ROOT / "fixtures" / "plugins" / "shave_crop.py").read_text("utf-8")
    assert plugin in page


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_it_is_installed_from_a_checkout_or_a_wheel(page: Path) -> None:
    """The name on PyPI is not the project's."""
    assert not re.findall(r"pip install ['\"]?torchmigrate(?!-[\d.]+-py3)", page.read_text("utf-8"))


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8")))
    assert listed == {page.name for page in PAGES}


def test_every_public_name_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    assert sorted(re.findall(r"^::: torchmigrate\.(\w+)$", page, re.MULTILINE)) == sorted(tm.__all__)


def test_the_page_of_layers_has_its_filter() -> None:
    assert '<div class="filter-tables"></div>' in (ROOT / "docs" / "layers.md").read_text("utf-8")
    script = ROOT / "docs" / "assets" / "filter-tables.js"
    assert f"- assets/{script.name}\n" in (ROOT / "mkdocs.yml").read_text("utf-8")
    assert 'querySelectorAll(".filter-tables")' in script.read_text("utf-8")

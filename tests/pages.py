"""Reads an HTML page as a browser does: its tags, its text, its tables. Fails where the tags do not match."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

from torchmigrate.parity.report.report import ParityReport

_VOID = frozenset({"meta", "input", "br", "hr", "img", "link", "wbr"})


class Element:
    """One element: its tag, attributes, and what lies in it, elements and text."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element | str] = []

    def all(self, tag: str = "") -> Iterator[Element]:
        """Every element below, or those of one tag, in order."""
        for child in self.children:
            if isinstance(child, Element):
                if not tag or child.tag == tag:
                    yield child
                yield from child.all(tag)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def __getitem__(self, attribute: str) -> str:
        return self.attributes[attribute]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.stack = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs})
        self.stack[-1].children.append(made)
        if tag not in _VOID:
            self.stack.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.stack[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        found = self.stack.pop()
        assert found.tag == tag, f"</{tag}> ends <{found.tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.stack[-1].children.append(data)


def read_page(text: str) -> Element:
    """The page as a tree."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.stack) == 1, f"<{reader.stack[-1].tag}> is never closed"
    return reader.stack[0]


def page_of(report: ParityReport) -> Element:
    return read_page(report.html())


def tables(page: Element) -> dict[str, Element]:
    """Every table by the label of the box in which it scrolls."""
    return {
        box["aria-label"]: table
        for box in page.all("div")
        if box.attributes.get("role") == "region"
        for table in box.all("table")
    }


def cells(row: Element) -> list[Element]:
    return [cell for cell in row.children if isinstance(cell, Element)]


def body_rows(table: Element) -> list[Element]:
    (body,) = table.all("tbody")
    return list(body.all("tr"))


def depth_chart(page: Element) -> Element:
    return next(svg for svg in page.all("svg") if svg["class"] == "chart depth")


def words(row: Element) -> str:
    """The text of all cells of a row."""
    return " ".join(" ".join(cell.text for cell in cells(row)).split())


def values(element: Element) -> list[str]:
    return [data["value"] for data in element.all("data")]

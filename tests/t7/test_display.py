"""How tables and objects of a file show themselves."""

from __future__ import annotations

from html.parser import HTMLParser

import lua
import pytest

import torchmigrate as tm


def doubled(times: int) -> tm.LuaTable:
    table = tm.LuaTable()
    for _ in range(times):
        table = tm.LuaTable.from_list([table, table])
    return table


def around() -> tm.LuaTable:
    table = tm.LuaTable([("name", "a")])
    table["self"] = table
    return table


class Tags(HTMLParser):
    """Counts tags that are open, and keeps the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


@pytest.mark.parametrize(
    ("value", "depth", "lines"),
    [
        (
            tm.LuaTable([("b", tm.LuaTable.from_list([2.5, "x"])), (True, 3.0), (float("inf"), 1.0)]),
            2,
            [
                "<Lua table of 3>",
                "├── b: <Lua list of 2>",
                "│   ├── 1: 2.5",
                "│   └── 2: 'x'",
                "├── True: 3.0",
                "└── inf: 1.0",
            ],
        ),
        (around(), 5, ["<Lua table of 2>", "├── name: 'a'", "└── self: <Lua table of 2> (it is one of those above)"]),
        (tm.LuaTable([("b", tm.LuaTable.from_list([1.0]))]), 1, ["<Lua table of 1>", "└── b: <Lua list of 1>"]),
        (tm.LuaTable([("a\x1b[31m", b"\xff")]), 1, ["<Lua table of 1>", "└── a\\x1b[31m: b'\\xff'"]),
        (lua.linear(3, 2, dtype="f4"), 0, ["<nn.Linear with 2 fields>"]),
    ],
    ids=["nested", "cyclic", "depth", "control characters", "object"],
)
def test_tree(value: tm.LuaTable, depth: int, lines: list[str]) -> None:
    tree = value.tree(depth)
    assert tree.splitlines() == lines
    assert repr(tree) == str(tree)


def test_long_tables_are_cut() -> None:
    lines = tm.LuaTable.from_list([float(i) for i in range(1234)]).tree().splitlines()
    assert len(lines) == 42
    assert lines[-2:] == ["├── 40: 39.0", "└── … 1,194 more"]


def test_what_is_shared_again_and_again_is_shown_in_bounds() -> None:
    lines = doubled(60).tree(depth=100).splitlines()
    assert len(lines) == 2002
    assert lines[-1] == "… what comes after these 2,000 lines is not shown"


@pytest.mark.parametrize(
    "value",
    [
        around(),
        doubled(30),
        lua.sequential(lua.linear(3, 2, dtype="f4")),
        tm.LuaTable(),
        tm.LuaTable([("<b>&", "<i>")]),
    ],
    ids=["cyclic", "doubled", "network", "empty", "markup"],
)
def test_in_a_notebook(value: tm.LuaTable) -> None:
    tags = Tags()
    made = value._repr_html_()
    tags.feed(made)
    assert tags.open == []
    assert repr(value) in tags.text
    assert "<b>" not in made
    assert len(made) < 500_000


def test_completion_of_keys() -> None:
    assert tm.LuaTable([("b", 1.0), (1, 2.0), (True, 3.0), ("a", 4.0)])._ipython_key_completions_() == ["b", "a"]

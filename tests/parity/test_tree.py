"""The model as a tree of folds."""

from __future__ import annotations

from torchmigrate.parity.report.tree import tree_nodes


def nodes(*paths: str | list[str]) -> list[tuple[str, bool, int, str | None]]:
    model = [
        {"paths": [path] if isinstance(path, str) else path, "class": "nn.X", "module": "X", "parameters": 0}
        for path in paths
    ]
    return [(node.name, node.opens, node.closes, node.shared) for node in tree_nodes(model)]


def test_layers_lie_in_layers() -> None:
    assert nodes("", "1", "1.1", "1.2", "2") == [
        ("", True, 0, None),
        ("1", True, 0, None),
        ("1", False, 0, None),
        ("2", False, 1, None),
        ("2", False, 1, None),
    ]


def test_numbers_are_in_the_order_of_numbers() -> None:
    assert [name for name, *_ in nodes("", "10", "9", "9.b", "9.a")] == ["", "9", "a", "b", "10"]


def test_the_holder_may_be_further_away() -> None:
    assert nodes("", "3", "3.1.conv", "3.10") == [
        ("", True, 0, None),
        ("3", True, 0, None),
        ("1.conv", False, 0, None),
        ("10", False, 2, None),
    ]


def test_a_shared_layer_is_shown_at_each_place() -> None:
    assert nodes("", ["1", "3"], "2")[-1] == ("3", False, 1, "1")


def test_no_layers() -> None:
    assert nodes() == []


def test_names_with_many_dots_nest_nothing() -> None:
    assert nodes("", ".".join("a" * 5000)) == [("", True, 0, None), (".".join("a" * 5000), False, 1, None)]

"""Which files a zoo has, what their folders are called, whose share they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import torchmigrate as tm
from torchmigrate.zoo.zoo_files import Shard, listed, plan


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["a.t7", "resnet-1.0.t7", "net.t7.gz", "old.net"], ["a", "net", "old", "resnet-1.0"]),
        (["x/model.t7", "y/model.t7", "z.t7"], ["x-model", "y-model", "z"]),
        (["x/a/model.t7", "y/a/model.t7"], ["x-a-model", "y-a-model"]),
        (["x.t7", "x.net"], ["x.net", "x.t7"]),
        (["Model.t7", "model.t7"], ["Model.t7", "model.t7-2"]),
        (["x-m.t7", "x/m.t7", "y/m.t7"], ["x-m.t7", "m.t7", "y-m"]),
        (["https://h/d/net.t7?raw=1#sha256=" + "0" * 64], ["net"]),
        (["../we ird/<b>\x1b.t7", ".hidden.t7"], ["hidden", "_b__"]),
        (["same.t7", "same.t7"], ["same"]),
        (["d/summary.json.t7"], ["d-summary.json"]),
        (["summary.html.t7", "summary-1-of-2.json"], ["summary.html.t7", "summary-1-of-2.json-model"]),
        (["-o.t7", "--force.t7"], ["o", "force"]),
        (["a?.t7", "a*.t7", "a_.t7"], ["a_.t7", "a_.t7-2", "a_.t7-3"]),
        (["a.t7", "a.net", "a.t7.gz"], ["a.net", "a.t7", "a.t7.gz"]),
        (["line\nbreak.t7", os.fsdecode(b"caf\xe9.t7")], ["line_break", "caf_"]),
        ([f"{'n' * 251}.t7", f"{'n' * 250}m.t7"], ["n" * 60 + "-" + "n" * 60, "n" * 60 + "-" + "n" * 59 + "m"]),
        ([f"{'é' * 126}.t7"], ["é" * 30 + "-" + "é" * 30]),
    ],
)
def test_names_are_plain_and_distinct(sources: list[str], names: list[str]) -> None:
    made = [task.name for task in plan(sources)]
    assert sorted(made) == sorted(names)
    assert len({name.casefold() for name in made}) == len(made)


def test_names_do_not_depend_on_the_order() -> None:
    sources = ["x/model.t7", "y/model.t7", "model.t7", "z.t7"]
    assert plan(sources) == plan(sources[::-1])


def test_a_reference_is_no_model_of_its_own() -> None:
    tasks = plan(["a.t7", "a.reference.t7", "lonely.reference.t7"])
    assert [task.source for task in tasks] == ["a.t7", "lonely.reference.t7"]


def test_shards_share_out_every_file_once() -> None:
    tasks = plan([f"{i:02}.t7" for i in range(11)])
    parts = [Shard.parse(f"{k}/4").of(tasks) for k in range(1, 5)]
    assert [len(part) for part in parts] == [3, 3, 3, 2]
    assert sorted((task for part in parts for task in part), key=lambda task: task.name) == tasks
    assert parts[2][0].name == "02"


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "1/2/3", "-1/2"])
def test_other_shards_are_refused(text: str) -> None:
    with pytest.raises(tm.UsageError, match="3/16"):
        Shard.parse(text)


def test_folders_and_lists(tmp_path: Path) -> None:
    (tmp_path / "nets" / "deep").mkdir(parents=True)
    for name in ("nets/b.t7", "nets/deep/a.t7", "nets/readme.txt"):
        (tmp_path / name).touch()
    names = tmp_path / "list.txt"
    names.write_bytes(b"# mine\n\nhttps://h/x.t7\r\n  other.t7\ncaf\xe9\x0cno.t7\n")
    found = listed([str(tmp_path / "nets"), "one.t7"], [names])
    assert found == [
        str(tmp_path / "nets/b.t7"),
        str(tmp_path / "nets/deep/a.t7"),
        "one.t7",
        "https://h/x.t7",
        "other.t7",
        os.fsdecode(b"caf\xe9\x0cno.t7"),
    ]


def test_what_lists_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(tm.UsageError, match=r"no \.t7 file below"):
        listed([str(tmp_path)], [])
    with pytest.raises(tm.UsageError, match=r"none\.txt can't be read"):
        listed([], [tmp_path / "none.txt"])

"""Names from a file never become code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import golden
import lua
import pytest
import torch

import torchmigrate as tm
from torchmigrate.folder.write import source_of

HOSTILE = [
    '"""; import os; os.system("touch pwned")  #',
    "'); import os  #",
    "two\nlines\r\n",
    "class",
    "self",
    "torch",
    "a.b[0]",
    "\\N{DIGIT ONE}",
    "{0}",
    "名前",
    "",
    "1x",
    "__init__",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_of_nodes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values in forward are named as the nodes of an nngraph were."""
    monkeypatch.chdir(tmp_path)
    value = tm.load(golden.MODELS / "wordrnn_two_protos.t7")
    count = 0
    for node in value["protos"]["lstm"]["forwardnodes"].list():
        annotations = node["data"].get("annotations")
        if isinstance(annotations, tm.LuaTable) and "name" in annotations:
            annotations["name"] = name
            count += 1
    assert count == 3
    example = [torch.tensor([3.0, 7.0, 1.0]), *torch.randn(2, 3, 12, dtype=torch.float64)]
    source = source_of(tm.convert(value, key="protos.lstm"), example)
    assert source.structured, source.reason
    only_plain_python(source.text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in HOSTILE if "/" not in name], ids=str)
def test_names_of_files_and_keys(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The docstring says where the model comes from."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"{name}.t7"
    tm.dump(lua.value({name or "model": lua.sequential(lua.linear(3, 5, dtype="f4"))}), file)
    only_plain_python(tm.convert(file).source(torch.ones(2, 3)))
    assert list(tmp_path.iterdir()) == [file]


def only_plain_python(text: str) -> None:
    """Is it a docstring, imports and classes, and does it run?"""
    body = ast.parse(text).body
    if isinstance(body[-1], ast.Assign):  # the class is named after the file, and `Model` is that class too
        *body, alias = body
        assert re.fullmatch(r"Model = [A-Za-z0-9]+", ast.unparse(alias))
    assert {type(node) for node in body[1:]} <= {ast.Import, ast.ImportFrom, ast.ClassDef}
    imported = {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= {"torch", "math"}
    assert "os.system" not in "".join(ast.unparse(node) for node in body[1:])
    exec(compile(text, "model.py", "exec"), {"__name__": "generated"})

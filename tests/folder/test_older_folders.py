"""Folders that torchmigrate 0.1.0 wrote still load, though its classes stand elsewhere now."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden import FIXTURES

import torchmigrate as tm
from torchmigrate.base.errors import UsageError
from torchmigrate.model.architecture import restore

FOLDERS = sorted((FIXTURES / "folders").glob("*_0.1.0"))
CLASSES = (FIXTURES / "folders" / "module_classes_0.1.0.txt").read_text().split()


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_it_holds_the_same_module(folder: Path) -> None:
    module = tm.load_converted(folder)
    again = tm.convert(FIXTURES / "models" / f"{folder.name.removesuffix('_0.1.0')}.t7").module
    state = again.state_dict()
    assert list(module.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    # 0.1.0 left layers in place more often than need be
    assert repr(module).replace("(inplace=True)", "()") == repr(again).replace("(inplace=True)", "()")


@pytest.mark.parametrize("name", CLASSES)
def test_its_classes_are_found(name: str) -> None:
    try:
        made = type(restore({"class": name, "args": {}, "children": {}})).__name__
    except UsageError as error:
        made = str(error)
    # its constructor may want arguments, so the class was found
    assert made == name.rpartition(".")[2] or "can't be made" in made

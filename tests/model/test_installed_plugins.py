"""Converters of other installed packages are named, and can be left out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lua
import pytest
from click.testing import CliRunner, Result

import torchmigrate as tm
from torchmigrate.cli.main import cli
from torchmigrate.model import registry

CODE = """
import torch
import torchmigrate as tm

@tm.converts("their.Layer")
def their_layer(layer):
    return torch.nn.ReLU()
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a converter, as pip would have installed it; returns a model that needs it."""
    site = tmp_path / "site"
    (site / "theirs-1.5.dist-info").mkdir(parents=True)
    (site / "theirs-1.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.5\n")
    (site / "theirs-1.5.dist-info" / "entry_points.txt").write_text(
        f"[{registry.ENTRY_POINTS}]\nmine = theirs_layers\n"
    )
    (site / "theirs_layers.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv(registry.NO_PLUGINS, "")
    monkeypatch.delitem(sys.modules, "theirs_layers", raising=False)
    registry._loaded.discard(registry.ENTRY_POINTS)
    tm.dump(lua.sequential(lua.linear(4, 4), lua.module("their.Layer")), tmp_path / "model.t7")
    return tmp_path / "model.t7"


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), standalone_mode=False)


def test_doctor_names_them(theirs: Path) -> None:
    assert "theirs (converters): 1.5" in invoke("doctor").output
    assert json.loads(invoke("doctor", "--json").output)["plugins"] == {"theirs (converters)": "1.5"}
    assert json.loads(invoke("doctor", "--json", "--no-plugins").output)["plugins"] == {}


def test_the_folder_and_the_report_name_them(theirs: Path, tmp_path: Path) -> None:
    done = invoke("convert", str(theirs), "-o", str(tmp_path / "out"), "--no-onnx", "-q")
    assert done.exception is None
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    report = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert (
        config["versions"]["theirs (converters)"] == report["environment"]["versions"]["theirs (converters)"] == "1.5"
    )
    assert "theirs (converters)" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("command", ["convert", "verify"])
def test_they_are_left_out(command: str, theirs: Path, tmp_path: Path) -> None:
    more = ["-o", str(tmp_path / "out")] if command == "convert" else []
    done = invoke(command, str(theirs), *more, "--no-plugins")
    assert isinstance(done.exception, tm.UnsupportedLayers)
    assert "their.Layer" in str(done.exception)

"""model.py of `--hub`, whose class extends PyTorchModelHubMixin, and any model.py below one that does."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import golden
import lua
import pytest
import torch
from ruff.__main__ import find_ruff_bin
from safetensors.torch import load_file, save_file

import torchmigrate as tm

hub = pytest.importorskip("huggingface_hub")


def model_of(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"hub_{folder.parent.name}_{folder.name}", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.Model


@pytest.fixture
def tied() -> tm.Conversion:
    """A network that has one weight in two places, and dropout."""
    first, second = lua.linear(4, 4), lua.linear(4, 4, seed=2)
    second.fields["weight"] = first["weight"]
    return tm.convert(lua.sequential(first, lua.module("nn.Dropout", p=0.5, v2=True), second))


def test_the_class_loads_saves_and_loads_again(tied: tm.Conversion, tmp_path: Path) -> None:
    tied.save(tmp_path / "out", hub=True)
    cls = model_of(tmp_path / "out")
    assert issubclass(cls, hub.PyTorchModelHubMixin)
    model = cls.from_pretrained(str(tmp_path / "out"))
    x = torch.ones(2, 4, dtype=torch.float64)
    assert not model.training
    assert torch.equal(model(x), tied.module(x))
    assert next(cls.from_pretrained(str(tmp_path / "out"), device="meta").parameters()).is_meta
    model.save_pretrained(tmp_path / "again")
    assert torch.equal(cls.from_pretrained(str(tmp_path / "again"))(x), tied.module(x))


def test_weights_that_are_missing_are_an_error(tied: tm.Conversion, tmp_path: Path) -> None:
    tied.save(tmp_path / "out", hub=True)
    state = load_file(tmp_path / "out" / "model.safetensors")
    save_file(dict(list(state.items())[1:]), tmp_path / "out" / "model.safetensors")
    with pytest.raises(RuntimeError, match="Missing key"):
        model_of(tmp_path / "out").from_pretrained(str(tmp_path / "out"))


def test_a_class_without_it_can_be_extended_with_it(tied: tm.Conversion, tmp_path: Path) -> None:
    tied.save(tmp_path / "out")
    cls = model_of(tmp_path / "out")
    assert "huggingface_hub" not in (tmp_path / "out" / "model.py").read_text()

    class OnTheHub(hub.PyTorchModelHubMixin, cls):  # type: ignore[misc, valid-type]
        pass

    x = torch.ones(2, 4, dtype=torch.float64)
    OnTheHub.from_pretrained(str(tmp_path / "out")).save_pretrained(tmp_path / "again")
    assert torch.equal(OnTheHub.from_pretrained(str(tmp_path / "again"))(x), tied.module(x))


@pytest.mark.parametrize("name", ["resnet_cifar_A_cudnn", "charrnn_checkpoint", "siamese_pairwise"])
def test_the_source_is_formatted_and_nothing_else_changes(name: str, tmp_path: Path) -> None:
    (row,) = [row for row in golden.model_rows() if row["name"] == name]
    conversion = tm.convert(golden.MODELS / row["file"], key=None if row["key"] == "-" else row["key"])
    example = tm.to_torch(tm.load(golden.MODELS / f"{name}.reference.t7")["input"])
    plain = conversion.source(example)
    conversion.save(tmp_path / "out", example=example, hub=True)
    text = (tmp_path / "out" / "model.py").read_text()
    for command in (["check", "--select", "I,E4,E7,E9,F"], ["format", "--check"]):
        assert (
            subprocess.run([find_ruff_bin(), *command, "--isolated", str(tmp_path / "out" / "model.py")]).returncode
            == 0
        )
    gone = [line for line in plain.splitlines() if line not in text.splitlines()]
    assert len(gone) <= 5
    assert not any("forward" in line or "self." in line for line in gone)

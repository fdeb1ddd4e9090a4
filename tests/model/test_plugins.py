"""Layers of users' own: each file is a module of its own, each class stays what it is, in model.py too."""

from __future__ import annotations

import sys
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path

import lua
import pytest
import torch

import torchmigrate as tm
from torchmigrate.model import registry
from torchmigrate.source.check import instance
from torchmigrate.source.generate import generate

#: A plugin with one class that multiplies, by what a constant and a function of its file say.
PLUGIN = '''
import torch
from torch import nn

import torchmigrate as tm

FACTOR = {factor}


def factor():
    return FACTOR


class {name}({base}):
    """Multiplies by {factor}."""

    def forward(self, x):
        return {forward}


@tm.converts("my.Layer{factor}")
def convert(layer):
    """my.Layer{factor}()"""
    return {name}()
'''


def plugin(
    folder: Path, factor: int, *, name: str = "Scale", base: str = "nn.Module", forward: str = "x * factor()"
) -> Path:
    """A file `layers.py` in a folder of its own."""
    file = folder / str(factor) / "layers.py"
    file.parent.mkdir()
    file.write_text(PLUGIN.format(factor=factor, name=name, base=base, forward=forward))
    return file


def network(*factors: int) -> tm.LuaObject:
    return lua.sequential(*(lua.module(f"my.Layer{factor}") for factor in factors), lua.linear(3, 2, dtype="f4"))


X = torch.tensor([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_plugins_of_one_file_name_are_two_modules(order: tuple[int, int], tmp_path: Path) -> None:
    """In whatever order they are given when the folder is opened."""
    files = [plugin(tmp_path, 2), plugin(tmp_path, 3)]
    tm.dump(network(2, 3), tmp_path / "m.t7")
    conversion = tm.convert(tmp_path / "m.t7", plugins=files)
    first, second = (type(conversion.module[i]) for i in (0, 1))
    assert first is not second
    assert [Path(sys.modules[cls.__module__].__file__ or "") for cls in (first, second)] == files
    expected = torch.nn.functional.linear(X * 6, conversion.module[2].weight, conversion.module[2].bias)
    torch.testing.assert_close(conversion.module(X), expected)
    conversion.save(tmp_path / "out")
    for name in [name for name in sys.modules if name.startswith(registry.PLUGIN)]:
        del sys.modules[name]  # as in another process
    registry._loaded.difference_update([name for name in registry._loaded if name.startswith(registry.PLUGIN)])
    for typename in ("my.Layer2", "my.Layer3"):
        del registry._converters[typename]
    loaded = tm.load_converted(tmp_path / "out", plugins=[files[i] for i in order])
    torch.testing.assert_close(loaded(X), expected)


def test_the_same_file_elsewhere_is_the_same_plugin(tmp_path: Path) -> None:
    file = plugin(tmp_path, 2)
    copy = tmp_path / "layers.py"
    copy.write_text(file.read_text())
    assert registry.load_plugin(file) == registry.load_plugin(copy) == registry.load_plugin(file)


def test_a_plugin_that_was_edited_is_told_by_the_name_of_its_file(tmp_path: Path) -> None:
    file = plugin(tmp_path, 2)
    old = registry.load_plugin(file)
    edited = tmp_path / "layers.py"
    edited.write_text(file.read_text().replace("my.Layer2", "my.Layer4"))
    new = registry.load_plugin(edited)
    assert registry.plugin_class(f"{registry.PLUGIN}layers_00000000", "Other") is None
    with pytest.raises(tm.UsageError, match="2 plugins of one file name have a class Scale"):
        registry.plugin_class(f"{registry.PLUGIN}layers_00000000", "Scale")
    registry._loaded.remove(old)
    found = registry.plugin_class(f"{registry.PLUGIN}layers", "Scale")  # as older folders name it
    assert found is vars(sys.modules[new])["Scale"]


@pytest.mark.parametrize("name", ["Scale", "Model", "Exp"])
def test_classes_of_one_name_are_not_merged_in_the_source(name: str, tmp_path: Path) -> None:
    """Not with another plugin's, not with one of torchmigrate's own, not with that of the model."""
    files = [plugin(tmp_path, 2, name=name), plugin(tmp_path, 3, name=name), plugin(tmp_path, 5, name=name)]
    conversion = tm.convert(network(2, 3, 5, 3), plugins=files)
    source = generate(conversion, X)
    assert source.structured, source.reason
    made = instance(source.text, source.state)
    assert torch.equal(made(X), conversion.module(X))
    assert [type(part).__name__ for part in made.modules()].count("Linear") == 1
    assert source.text.count(f"class {name}") == 3 + (name == "Model")
    assert {f"FACTOR{end} = {factor}" for end, factor in (("", 2), ("2", 3), ("3", 5))} <= set(source.text.splitlines())


@pytest.mark.parametrize(
    ("base", "forward"),
    [
        ("nn.Identity", "x * 2"),
        ("nn.Identity", "x * 2 if self.training else x"),
        ("nn.Dropout", "x * 2 if self.training else x"),
        ("nn.ReLU", "x * 2 if self.training else super().forward(x)"),
        ("nn.Sequential", "x * 2 if self.training else x"),
    ],
)
def test_a_class_that_extends_one_of_pytorchs_is_not_replaced_by_it(base: str, forward: str, tmp_path: Path) -> None:
    conversion = tm.convert(network(2), plugins=[plugin(tmp_path, 2, base=base, forward=forward)])
    source = generate(conversion, X)
    for training in (False, True):
        made = instance(source.text, source.state).train(training)
        torch.testing.assert_close(made(X), conversion.module.train(training)(X))
    assert f"class Scale({base})" in source.text


def test_a_plugin_that_ends_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("import sys; sys.exit(0)")
    with pytest.raises(tm.UsageError, match=r"ends\.py failed: SystemExit"):
        registry.load_plugin(tmp_path / "ends.py")


@pytest.mark.parametrize("text", ["import nothing_there", "import sys; sys.exit(0)", "def ("])
def test_an_installed_package_that_fails_is_named(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_converters.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("their layers", "broken_converters", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "_entry_points", partial(list, [entry]))
    registry._loaded.discard(registry.ENTRY_POINTS)
    try:
        with pytest.raises(tm.UsageError, match=r"package their layers can't be loaded: .*--no-plugins"):
            registry.load_all()
    finally:
        registry._loaded.add(registry.ENTRY_POINTS)
        sys.modules.pop("broken_converters", None)

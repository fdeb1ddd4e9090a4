"""The input of a model is looked for once; what is known of a plugin's layers is asked as that of others is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lua
import pytest
import torch
from networks import chain, conv, linear, pool, view
from torch import nn

import torchmigrate as tm
from torchmigrate.base.tensor_trees import shapes
from torchmigrate.shapes import infer
from torchmigrate.shapes.infer import infer_input
from torchmigrate.source.examples import Calls, several_sizes


def test_everybody_uses_the_input_that_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[Any] = []
    search = infer._found

    def counted(conversion: Any) -> Any:
        searches.append(conversion)
        return search(conversion)

    monkeypatch.setattr(infer, "_found", counted)
    conversion = tm.convert(chain(conv(1, 3, 5), pool(2, 2), view(432), linear(432)))
    conversion.save(tmp_path / "out")
    exported = tm.export_onnx(conversion, tmp_path / "model.onnx")
    report = tm.verify(conversion, onnx=exported.path)
    assert report
    assert exported.inputs == {"input": ("batch", 1, 28, 28)}
    assert len(searches) == 1


def test_what_was_not_found_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    conversion = tm.convert(lua.sequential(lua.module("nn.Tanh")))
    said = []
    for _ in range(2):
        with pytest.raises(tm.UsageError) as caught:
            infer_input(conversion)
        said.append(str(caught.value))
        monkeypatch.delattr(infer, "entries_of", raising=False)
    assert said[0] == said[1]


def test_sizes_that_mix_samples_are_seen_without_numbers() -> None:
    """A View of fixed size takes an image of twice the height, and makes more samples of it."""
    conversion = tm.convert(chain(conv(1, 3, 3, p=1), pool(2, 2), view(48), linear(48)))
    ran: list[tuple[bool, tuple[int, ...]]] = []

    def note(module: nn.Module, args: tuple[Any, ...]) -> None:
        ran.append((args[0].is_meta, tuple(args[0].shape)))

    conversion.module.register_forward_pre_hook(note)
    several_sizes(conversion, torch.zeros(2, 1, 8, 8), Calls())
    assert (True, (2, 1, 16, 8)) in ran
    assert [sizes for without_numbers, sizes in ran if not without_numbers] == [
        *((2, 1, 8, 8), (3, 1, 8, 8)),
        *((2, 1, 9, 8), (2, 1, 8, 9)),  # the pooling leaves the last row or column out
    ]


def halved(obj: tm.LuaObject, output: tuple[int, ...]) -> Any:
    yield (*output[:-1], 2 * output[-1])


class Pairs(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (-1, 2)).sum(-1)


class Words(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.eye(7)[x.long() - 3]


def test_a_plugin_tells_how_large_its_input_was() -> None:
    @tm.converts("my.Pairs", traits=tm.Traits(sizes_before=halved))
    def pairs(layer: tm.Layer) -> Pairs:
        """my.Pairs()"""
        return Pairs()

    guess = infer_input(tm.convert(chain(lua.module("my.Pairs", output=lua.numbers(5, 6)))))
    assert (shapes(guess.value), guess.reason) == ("5x12", "the output of my.Pairs at 1 was left in the file, 5x6")


def test_a_plugin_tells_which_indices_it_takes() -> None:
    @tm.converts("my.Words", traits=tm.Traits(reads="indices", first_index=3))
    def words(layer: tm.Layer) -> Words:
        """my.Words()"""
        layer.ignore("weight")
        return Words()

    guess = infer_input(tm.convert(chain(lua.module("my.Words", weight=lua.numbers(7, 2)))))
    assert shapes(guess.value) == "2x16"
    assert (int(guess.value.min()), int(guess.value.max())) == (3, 9)

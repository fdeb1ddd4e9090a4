"""The temporary file with the reference's outputs: all comes back as it was, memory holds little, nothing is left."""

from __future__ import annotations

import io
import os
import tempfile
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import golden
import lua
import pytest
import torch

import torchmigrate as tm
from torchmigrate.cli import main as cli
from torchmigrate.parity import spooled_outputs
from torchmigrate.parity.references import self_reference
from torchmigrate.parity.references.self_reference import compute_self, with_layers
from torchmigrate.parity.spooled_outputs import Spool
from torchmigrate.parity.trace import LayerRun
from torchmigrate.shapes.infer import Guess


@pytest.fixture(params=[0, 1 << 20], ids=["in the file", "in memory"])
def spool(request: pytest.FixtureRequest) -> Iterator[Spool]:
    with tempfile.TemporaryFile() as file:
        yield Spool(file, in_memory=request.param)


@pytest.fixture
def in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is small enough to stay in memory."""
    monkeypatch.setattr(spooled_outputs, "IN_MEMORY", 0)


def numbers(*size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(sum(size))).to(dtype)


@pytest.mark.parametrize(
    "tensor",
    [
        numbers(2, 3, 5),
        numbers(2, 3, 5).permute(1, 2, 0),
        numbers(2, 3, 5, 7).to(memory_format=torch.channels_last),
        numbers(4, 6)[1:, ::2],
        numbers(3, 1).expand(3, 5),
        numbers(),
        numbers(0, 3),
        torch.tensor([True, False, True]),
        *(numbers(3, 5, dtype=dtype) for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.int64)),
    ],
)
def test_a_tensor_comes_back_as_it_was(tensor: torch.Tensor, spool: Spool) -> None:
    spool.add(LayerRun(1, 1, None, [numbers(0), numbers(5, dtype=torch.float16), tensor]))
    found = spool[1, 1][2]
    assert found.dtype == tensor.dtype
    assert torch.equal(found, tensor)
    assert found.stride() == tensor.clone().stride()


def test_a_nested_output_comes_back_as_it_was(spool: Spool) -> None:
    spool.add(LayerRun(3, 2, None, [numbers(2), (numbers(3), 5.0), {"a": numbers(4)}]))
    first, (second, third), named = spool[3, 2]
    assert list(spool) == [(3, 2)]
    assert third == 5.0
    for found, size in ((first, 2), (second, 3), (named["a"], 4)):
        assert torch.equal(found, numbers(size))


def test_what_a_container_hands_on_is_the_same_tensor_until_somebody_writes_to_it(spool: Spool) -> None:
    made = numbers(3, 5)
    spool.add(LayerRun(1, 1, None, made))
    spool.add(LayerRun(0, 1, None, [made]))
    spool.add(LayerRun(2, 1, None, made.add_(1)))
    inner, (outer,), changed = spool[1, 1], spool[0, 1], spool[2, 1]
    assert inner is outer
    assert torch.equal(changed, inner + 1)


@pytest.mark.usefixtures("in_the_file")
def test_little_of_it_lies_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer's numbers are mapped while it is compared, however many layers there are."""
    mapped: list[weakref.ref[torch.Tensor]] = []
    most = 0
    map_it = Spool._map

    def counted(spool: Spool, *args: Any) -> torch.Tensor:
        nonlocal most
        found = map_it(spool, *args)
        mapped.append(weakref.ref(found))
        most = max(most, sum(each() is not None for each in mapped))
        return found

    monkeypatch.setattr(Spool, "_map", counted)
    layers = [layer for i in range(30) for layer in (lua.linear(7, 7, seed=i), lua.module("nn.Tanh"))]
    report = tm.verify(tm.convert(lua.sequential(*layers)), input_shape=(2, 7))
    assert report, report.summary()
    assert len(mapped) > 120
    assert most <= 4


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()])
@pytest.mark.usefixtures("in_the_file")
def test_the_file_is_gone_after_an_error(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def interrupt(*_: object, **__: object) -> None:
        seen.extend(tmp_path.iterdir())
        raise error

    # the file that verify makes has no name
    monkeypatch.setattr(self_reference, "TemporaryFile", partial(tempfile.NamedTemporaryFile, dir=tmp_path))
    monkeypatch.setattr("torchmigrate.parity.judge.compare.measure", interrupt)
    with pytest.raises(type(error)):
        tm.verify(tm.convert(lua.linear(7, 5)), input_shape=(2, 7))
    assert len(seen) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("in_the_file")
def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(**_: object) -> io.BufferedRandom:
        return open("/dev/full", "r+b")

    monkeypatch.setattr(self_reference, "TemporaryFile", full)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["verify", str(golden.MODELS / "lenet_mnist.t7"), "--reference", "self"])
    assert stopped.value.code == 2
    assert "No space left on device" in capsys.readouterr().err


def test_what_is_beyond_the_limit_goes_to_the_file() -> None:
    first, second, third = numbers(10), numbers(10), numbers(3)
    with tempfile.TemporaryFile() as file:
        spool = Spool(file, in_memory=120)
        for i, tensor in enumerate((first, second, third)):
            spool.add(LayerRun(i, 1, None, tensor))
        expected = [tensor.clone() for tensor in (first, second, third)]
        first.zero_(), third.zero_()
        assert all(torch.equal(spool[i, 1], tensor) for i, tensor in enumerate(expected))
        file.flush()
        assert os.fstat(file.fileno()).st_size == 80


def test_a_model_that_does_not_run_is_said() -> None:
    reference = compute_self(tm.convert(lua.linear(7, 5)), Guess(torch.ones(2, 8), "test"))
    with pytest.raises(tm.UsageError, match="does not run on an input of size 2x8"), with_layers(reference):
        pass

"""What networks answered is handed on to those who ask the same, and to nobody else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import golden
import pytest
import torch
from torch import nn

from torchmigrate.folder.run import ConvertOptions, convert_file
from torchmigrate.model.running.answers import Answers, ask

X = torch.arange(6.0).reshape(2, 3)


class Counting:
    """Gives the next whole number each time."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> torch.Tensor:
        self.asked += 1
        return torch.tensor([self.asked])


@pytest.mark.parametrize(
    ("other", "asked"),
    [
        (X.clone(), 1),
        (X + torch.tensor([0, 0, 2.0**-21]), 2),
        (X.double(), 2),
        (X.reshape(3, 2), 2),
        (X.t().contiguous().t(), 2),  # other kernels run then
        (torch.where(X == 0, -X, X), 2),
        ([X], 2),
        ([X, X], 2),
        ({"a": X}, 2),
    ],
)
def test_only_the_same_bits_in_the_same_place_are_the_same_input(other: Any, asked: int) -> None:
    known, count = Answers(), Counting()
    known.of("network", X, count)
    assert int(known.of("network", other, count)) == asked == count.asked
    assert int(known.of("another", X, count)) == asked + 1


def test_an_answer_is_a_copy_each_time() -> None:
    known, count = Answers(), Counting()
    for _ in range(3):
        assert known.of("network", X, count).add_(5).tolist() == [6]


def test_what_draws_random_numbers_is_asked_each_time() -> None:
    known, drop = Answers(), nn.Dropout()
    first, second = (ask(known, drop, X, lambda: drop(torch.ones(64))) for _ in range(2))
    assert not torch.equal(first, second)


def test_what_writes_into_itself_is_asked_each_time() -> None:
    known, norm = Answers(), nn.BatchNorm1d(3)
    first, second = (ask(known, norm, X, lambda: (norm(X), norm.running_mean.clone())[1]) for _ in range(2))
    assert not torch.equal(first, second)


def test_a_network_of_another_type_is_another() -> None:
    known, layer = Answers(), nn.Linear(3, 4)
    first = ask(known, layer, X, lambda: layer(X))
    wide = nn.Linear(3, 4).double()
    assert torch.equal(ask(known, layer, X, lambda: layer(X + 1)), first)
    assert ask(known, wide, X, lambda: wide(X.double())).dtype == torch.float64
    assert ask(None, layer, X, lambda: 5) == 5


def test_a_conversion_runs_each_batch_once_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: Counter[tuple[str, tuple[int, ...]]] = Counter()
    kept = Answers.of

    def note(self: Answers, network: str, value: Any, compute: Any, own: Any = ()) -> Any:
        def counted() -> Any:
            first = value if isinstance(value, torch.Tensor) else next(iter(value.values()))
            ran[network.partition(" /")[0], tuple(first.shape)] += 1
            return compute()

        return kept(self, network, value, counted, own)

    monkeypatch.setattr(Answers, "of", note)
    done = convert_file(golden.MODELS / "lenet_mnist.t7", tmp_path / "out", ConvertOptions(), lambda _: None)
    for network in ("pytorch ['torch.float32']", "CPUExecutionProvider"):
        assert {shape for name, shape in ran if name == network} == {(n, 1, 32, 32) for n in (1, 2, 3)}
    assert set(ran.values()) == {1}
    assert done.conversion.answers is None


def test_nothing_is_kept_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conversions = []

    def fail(conversion: Any, *_: Any, **__: Any) -> None:
        conversions.append(conversion)
        raise ZeroDivisionError

    monkeypatch.setattr("torchmigrate.folder.run.verify", fail)
    with pytest.raises(ZeroDivisionError):
        convert_file(golden.MODELS / "lenet_mnist.t7", tmp_path / "out", ConvertOptions(), lambda _: None)
    assert conversions[0].answers is None

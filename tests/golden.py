"""Reads the golden files in fixtures/ and compares torch results with what the real Torch7 computed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

import torch

import torchmigrate as tm

FIXTURES = Path(__file__).parent.parent / "fixtures"
LAYERS = FIXTURES / "layers"
MODELS = FIXTURES / "models"

#: (absolute, relative) tolerance by dtype: |a - b| <= absolute + relative * |b|
#: (half precision: Torch7 rounded the weights after it had computed, so weights and output are off by 2**-11 each)
TOLERANCES = {torch.float64: (1e-9, 1e-7), torch.float32: (2e-5, 2e-5), torch.float16: (1e-3, 1e-3)}


@dataclass(frozen=True)
class Row:
    """One case of one golden layer file."""

    file: str
    package: str
    typename: str
    index: int

    def __str__(self) -> str:
        return f"{self.file.removesuffix('.t7')}[{self.index}]"

    def load(self) -> tm.LuaTable:
        return read_cases(self.file)[self.index]


def layer_rows() -> list[Row]:
    """Every case of every golden layer file, as MANIFEST.tsv lists them."""
    with (LAYERS / "MANIFEST.tsv").open(newline="") as stream:
        return [
            Row(line["file"], line["package"], line["class"], index)
            for line in csv.DictReader(stream, delimiter="\t")
            for index in range(int(line["cases"]))
        ]


def is_sampled(row: Row, part: int) -> bool:
    """Is it the first case of a class of one third of all? Of each the slow tests run all cases."""
    return row.index == 0 and crc32(row.typename.encode()) % 3 == part


def is_further(row: Row) -> bool:
    """Is it a further case of a class that some project defined? The first one tests by default."""
    if row.package != "projects":
        return False
    cases = read_cases(row.file)
    return any(case["class"] == cases[row.index]["class"] for case in cases[: row.index])


def model_rows() -> list[dict[str, str]]:
    """The lines of the manifest of whole models."""
    with (MODELS / "MANIFEST.tsv").open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


@lru_cache(maxsize=512)
def read_cases(file: str) -> list[tm.LuaTable]:
    return tm.load(LAYERS / file).list()


def fresh_input(value: Any) -> Any:
    """A copy of a nested input in which every floating tensor is a leaf that wants its gradient."""
    if isinstance(value, torch.Tensor):
        return value.clone().requires_grad_(value.is_floating_point())
    if isinstance(value, list):
        return [fresh_input(item) for item in value]
    return value


def widened(value: Any) -> Any:
    """Half precision as float32, which models of that type are converted to."""
    if isinstance(value, list):
        return [widened(item) for item in value]
    return value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.float16 else value


def copied(value: Any) -> Any:
    """The same tensors as non-leaves, so that an in-place layer may change them."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor of a nested value, in order; Lua numbers as tensors of one element."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (float, int)):
        yield torch.tensor([value], dtype=torch.float64)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        for _, item in sorted(value.items(), key=str):
            yield from tensors(item)


def assert_same(got: Any, expected: Any, what: str, tolerance: tuple[float, float] | None = None) -> None:
    """Fails unless nested `got` equals nested `expected` in structure, shape and numbers; NaN equals NaN."""
    if isinstance(expected, list):
        assert isinstance(got, (list, tuple)), f"{what}: expected a list, got {type(got).__name__}"
        assert len(got) == len(expected), f"{what}: {len(got)} entries, expected {len(expected)}"
        for i, (g, e) in enumerate(zip(got, expected, strict=True), 1):
            assert_same(g, e, f"{what}[{i}]", tolerance)
        return
    if isinstance(expected, dict):
        assert isinstance(got, dict)
        assert got.keys() == expected.keys(), what
        for key in expected:
            assert_same(got[key], expected[key], f"{what}[{key!r}]", tolerance)
        return
    if isinstance(expected, (float, int)):
        if isinstance(got, torch.Tensor):  # Torch7 computed in that type and returned a Lua number
            tolerance = tolerance or TOLERANCES.get(got.dtype)
        expected = torch.tensor(float(expected), dtype=torch.float64)
        got = torch.as_tensor(got, dtype=torch.float64).reshape(())
    assert isinstance(got, torch.Tensor), f"{what}: expected a tensor, got {type(got).__name__}"
    if got.dim() == 0 and expected.numel() == 1:
        got = got.reshape(expected.shape)  # Torch7 has no 0-dimensional tensors
    assert got.shape == expected.shape, f"{what}: shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    assert got.is_floating_point() == expected.is_floating_point(), f"{what}: {got.dtype}, expected {expected.dtype}"
    atol, rtol = tolerance or TOLERANCES.get(expected.dtype, (0.0, 0.0))
    torch.testing.assert_close(
        got.detach().to(expected.dtype),
        expected,
        atol=atol,
        rtol=rtol,
        equal_nan=True,
        msg=lambda text: f"{what}: {text}",
    )


def backward(output: Any, grad_output: Any) -> None:
    """Runs autograd from nested outputs with nested gradients."""
    pairs = [
        (out, grad.reshape(out.shape).to(out.dtype))
        for out, grad in zip(tensors(output), tensors(grad_output), strict=True)
        if out.requires_grad
    ]
    if pairs:
        torch.autograd.backward([out for out, _ in pairs], [grad for _, grad in pairs])


def gradients(value: Any) -> Any:
    """The gradients of nested leaves, zeros where none arrived."""
    if isinstance(value, torch.Tensor):
        return torch.zeros_like(value) if value.grad is None else value.grad
    if isinstance(value, list):
        return [gradients(item) for item in value]
    return value

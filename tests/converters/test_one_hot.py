"""One-hot rows of models in Double, with or without a type in the file, from indices of any type."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import golden
import lua
import numpy as np
import onnxruntime as ort
import pytest
import torch

import torchmigrate as tm
from torchmigrate.converters.projects.various import OneHot
from torchmigrate.folder.run import ConvertOptions, convert_file

FILES = golden.FIXTURES / "files"
TYPES = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64]


def answer(name: str) -> tuple[list[torch.Tensor], Any]:
    """The input, and what Torch7 answered."""
    case = tm.load(FILES / "answers.t7")[name].list()[0]
    return tm.to_torch(case["input"]), tm.to_torch(case["output"])


def loaded(folder: Path) -> Any:
    return runpy.run_path(str(folder / "model.py"))["Model"].from_pretrained(str(folder))


def run_graph(path: Path, value: list[torch.Tensor]) -> list[torch.Tensor]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    kinds = {
        "tensor(float)": torch.float32,
        "tensor(int64)": torch.int64,
    }  # a graph takes int64 indices
    feed = {given.name: x.to(kinds[given.type]).numpy() for given, x in zip(session.get_inputs(), value, strict=True)}
    return [torch.from_numpy(np.asarray(found)) for found in session.run(None, feed)]


@pytest.mark.parametrize("name", ["onehot_double", pytest.param("onehot_untyped", marks=pytest.mark.slow)])
def test_a_checkpoint_in_double_converts_without_options(name: str, tmp_path: Path) -> None:
    (indices, state), output = answer(name)
    result = convert_file(FILES / f"{name}.t7", tmp_path / "out", ConvertOptions(), print)
    assert result.passed
    model = loaded(tmp_path / "out")
    for dtype in TYPES:
        value = [indices.to(dtype), state]
        golden.assert_same(result.conversion.module(value), output, f"module, {dtype}")
        golden.assert_same(list(model(*value)), output, f"model.py, {dtype}")
    golden.assert_same(run_graph(tmp_path / "out" / "model.onnx", [indices, state]), output, "ONNX", (1e-5, 1e-5))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_a_graph_is_made_from_indices_of_any_type(dtype: torch.dtype, tmp_path: Path) -> None:
    (indices, state), output = answer("onehot_double")
    conversion = tm.convert(FILES / "onehot_double.t7")
    tm.export_onnx(conversion, tmp_path / "m.onnx", example_input=[indices.to(dtype), state])
    golden.assert_same(run_graph(tmp_path / "m.onnx", [indices.to(dtype), state]), output, "ONNX", (1e-5, 1e-5))


@pytest.mark.parametrize(
    ("fields", "dtype"),
    [
        ({}, torch.float64),
        ({"_type": "torch.FloatTensor"}, torch.float32),
        ({"_type": "torch.CudaTensor"}, torch.float32),
        ({"_type": "torch.HalfTensor"}, torch.float32),
        ({"output": np.zeros((2, 3), "f4")}, torch.float32),
        ({"gradInput": np.zeros(0, "f4")}, torch.float32),
    ],
    ids=str,
)
def test_the_rows_have_the_type_of_the_model(fields: dict[str, Any], dtype: torch.dtype) -> None:
    module = tm.convert(lua.module("OneHot", outputSize=3, **fields)).module
    rows = torch.tensor([[0, 0, 1], [1, 0, 0]], dtype=dtype)
    for given in TYPES:
        found = module(torch.tensor([3, 1], dtype=given))
        assert found.dtype == dtype
        assert torch.equal(found, rows)
    for other in (torch.float16, torch.float32, torch.float64):  # as the weights of the layers around it
        assert module.to(other)(torch.tensor([3, 1])).dtype == other


def test_a_saved_row_type_follows_a_cast(tmp_path: Path) -> None:
    conversion = tm.convert(lua.module("OneHot", outputSize=3))
    conversion.module.float()
    conversion.save(tmp_path / "out")
    module = tm.load_converted(tmp_path / "out")
    assert isinstance(module, OneHot)
    assert module(torch.tensor([3])).dtype == torch.float32

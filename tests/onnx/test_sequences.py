"""Recurrent layers that Torch7 runs step by step, as one ONNX operator for the whole sequence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import exports
import golden
import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

import torchmigrate as tm
from torchmigrate.onnx.passes.sequences import rejoin
from torchmigrate.onnx.runtime import open_session, run_session


def sequencer(case: int) -> tuple[tm.Conversion, Any]:
    """A golden case of nn.Sequencer and its input."""
    found = tm.load(golden.FIXTURES / "layers" / "nn.Sequencer.t7")[case]
    return tm.convert(found["module"]), tm.to_torch(found["input"]).float()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("lm_seqlstm", {"LSTM": 2}),
        ("lm_sequencer_fastlstm", {"LSTM": 2}),
        ("crnn_bisequencer", {"LSTM": 4}),
        ("sentiment_gru_cuda", {"GRU": 1}),
    ],
)
def test_one_operator_for_each_layer_and_direction(name: str, wanted: dict[str, int], tmp_path: Path) -> None:
    exported, model = exports.export(name, tmp_path, dynamic=("batch",))
    found = exports.operators(model)
    assert {kind: found.count(kind) for kind in wanted} == wanted
    assert not {"Sigmoid", "Tanh", "Shape"} & set(found)
    assert exported.max_difference < 1e-5


@pytest.mark.parametrize(("name", "operator"), [("nn.SeqLSTM", "LSTM"), ("nn.SeqGRU", "GRU"), ("cudnn.BGRU", "GRU")])
def test_a_layer_over_a_sequence_is_one_operator(name: str, operator: str, tmp_path: Path) -> None:
    case = tm.load(golden.FIXTURES / "layers" / f"{name}.t7")[1]
    exported = tm.export_onnx(tm.convert(case["module"]), tmp_path / "m.onnx", example_input=tm.to_torch(case["input"]))
    found = exports.operators(onnx.load(exported.path))
    assert found.count(operator) == 1
    assert not {"Sigmoid", "Tanh"} & set(found)


@pytest.mark.parametrize(("case", "operators"), [(5, ["LSTM", "Squeeze"]), (6, ["LSTM", "Squeeze", "LogSoftmax"])])
def test_any_number_of_steps(case: int, operators: list[str], tmp_path: Path) -> None:
    conversion, given = sequencer(case)
    exported = tm.export_onnx(conversion, tmp_path / "m.onnx", example_input=given, dynamic=("batch", "time"))
    assert exported.inputs == {"input": ("time", "batch", given.shape[2])}
    found = exports.operators(onnx.load(exported.path))
    assert set(operators) <= set(found) <= {*operators, "Shape", "Concat", "Reshape", "Gemm", "Add", "MatMul"}
    longer = torch.randn(9, 4, given.shape[2], generator=torch.Generator().manual_seed(3))
    (got,) = run_session(open_session(exported.path), {"input": longer})
    torch.testing.assert_close(got, conversion.module.float()(longer), atol=1e-6, rtol=1e-5)


def objects(value: Any, typename: str) -> Iterator[tm.LuaObject]:
    """Every object of a class in a value, each once."""
    todo, seen = [value], set()
    while todo:
        item = todo.pop()
        if not isinstance(item, (tm.LuaObject, tm.LuaTable)) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, tm.LuaObject) and item.typename == typename:
            yield item
        todo += [entry for _, entry in item.items()]


@pytest.mark.parametrize("other", ["nn.Sigmoid", "nn.ReLU", "nn.Tanh"])
def test_only_a_cell_that_is_an_lstm_becomes_one(other: str, tmp_path: Path) -> None:
    """All its matrices are an LSTM's, but the new cell may pass through no tanh."""
    found = tm.load(golden.FIXTURES / "layers" / "nn.Sequencer.t7")[5]
    (cell,) = objects(found["module"], "nn.FastLSTM")
    for tanh in objects(cell["recurrentModule"], "nn.Tanh"):
        tanh.typename = other
    conversion = tm.convert(found["module"])
    stock = [part for part in conversion.module.modules() if isinstance(part, nn.LSTM)]
    assert bool(stock) == (other == "nn.Tanh")
    given = tm.to_torch(found["input"]).float()
    exported = tm.export_onnx(conversion, tmp_path / "m.onnx", example_input=given)
    assert ("LSTM" in exports.operators(onnx.load(exported.path))) == bool(stock)
    assert exported.max_difference < 1e-6


def test_a_cell_that_takes_nothing_becomes_no_lstm() -> None:
    """A list where one tensor is meant raises when it runs, and not while it is converted."""
    found = tm.load(golden.FIXTURES / "layers" / "nn.Sequencer.t7")[5]["module"]
    (cell,) = objects(found, "nn.FastLSTM")
    for tanh in objects(cell["recurrentModule"], "nn.Tanh"):
        tanh.typename = "nn.SplitTable"
        tanh.fields["dimension"] = 1
    assert not any(isinstance(part, nn.LSTM) for part in tm.convert(found).module.modules())


@pytest.mark.parametrize(
    ("order", "axis", "operators"),
    [
        ((0, 1, 2), 1, ["Neg"]),
        ((2, 1, 0), 1, ["Slice", "Neg"]),
        ((0, 1, 2), 0, ["Transpose", "Neg"]),
        ((2, 1, 0), 2, ["Slice", "Transpose", "Neg"]),
        ((0, 2, 1), 1, None),
        ((0, 1), 1, None),
        ((0, 0, 2), 1, None),
    ],
)
def test_steps_that_are_joined_again(order: tuple[int, ...], axis: int, operators: list[str] | None) -> None:
    lines = [f"g{i} = Gather<axis = 1>(x, k{n}) s{i} = Unsqueeze(g{i}, a)" for i, n in enumerate(order)]
    joined = ", ".join(f"s{i}" for i in range(len(order)))
    constants = " ".join(f"int64 k{n} = {{{n}}}," for n in range(3))
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
        test (float[2, 3, 4] x) => (float[] y) <{constants} int64[1] a = {{{axis}}}>
        {{ {" ".join(lines)} whole = Concat<axis = {axis}>({joined}) y = Neg(whole) }}"""
    proto = onnx.parser.parse_model(text)
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    given = {"x": torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)}
    (expected,) = run_session(open_session(proto.SerializeToString()), given)
    model = ir.from_proto(proto)
    rejoin(model)
    ir.passes.common.RemoveUnusedNodesPass()(model)
    changed = ir.to_proto(model)
    if operators is None:
        assert exports.operators(changed).count("Concat") == 1
    else:
        assert exports.operators(changed) == operators
    (got,) = run_session(open_session(changed.SerializeToString()), given)
    np.testing.assert_array_equal(got, expected)

"""verify(): planted faults are caught, located, and say what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden
import lua
import pytest
import torch

import torchmigrate as tm


def model(dtype: str = "f8") -> tm.LuaObject:
    return lua.sequential(lua.linear(7, 5, dtype=dtype), lua.module("nn.Tanh"), lua.linear(5, 3, seed=4, dtype=dtype))


def reference_of(conversion: tm.Conversion, folder: Path) -> Path:
    """A reference as dump_reference.lua writes it, with the output of every layer."""
    value = torch.linspace(-1, 1, 14, dtype=torch.float64).reshape(2, 7)
    outputs: dict[str, torch.Tensor] = {}
    x = value
    for i, layer in enumerate(conversion.module, 1):  # type: ignore[arg-type, unused-ignore]
        x = outputs[str(i)] = layer(x).detach()
    outputs[""] = x
    classes = {record.path: record.typename for record in conversion.layers}
    layers = [
        {"path": path, "class": classes[path], "call": 1, "output": tensor.numpy()} for path, tensor in outputs.items()
    ]
    file = folder / "x.reference.t7"
    tm.dump(lua.value({"input": value.numpy(), "output": x.numpy(), "layers": layers}), file)
    return file


@pytest.fixture
def conversion() -> tm.Conversion:
    return tm.convert(model())


def test_equal_models_pass(conversion: tm.Conversion, tmp_path: Path) -> None:
    report = tm.verify(conversion, reference=reference_of(conversion, tmp_path))
    assert report
    assert "Torch7's own numbers" in report.summary()
    layers = report.backends[0].layers
    assert [layer.path for layer in layers] == ["1", "2", "3", ""]
    assert all(layer.own is not None and layer.own.max_abs == 0 for layer in layers)


def test_without_a_reference_it_is_never_called_parity_with_torch7(conversion: tm.Conversion) -> None:
    report = tm.verify(conversion)
    assert report
    assert report.reference.kind == "self"
    assert "rounding" in report.summary()
    assert "Torch7" not in report.summary()


@pytest.mark.parametrize("path", ["1", "3"])
def test_one_weight_off_is_located(conversion: tm.Conversion, tmp_path: Path, path: str) -> None:
    reference = reference_of(conversion, tmp_path)
    layer: Any = conversion.module.get_submodule(str(int(path) - 1))
    with torch.no_grad():
        layer.weight[1, 2] += 1e-3
    report = tm.verify(conversion, reference=reference)
    assert not report
    diverging = report.backends[0].diverging
    assert diverging is not None
    assert (diverging.path, diverging.typename) == (path, "nn.Linear")
    # the layers behind it are right by themselves
    assert [r.path for r in report.backends[0].layers if not r.passed] == [path]
    assert f"nn.Linear at {path}" in report.summary()


def test_a_nan_fails(conversion: tm.Conversion, tmp_path: Path) -> None:
    reference = reference_of(conversion, tmp_path)
    with torch.no_grad():
        conversion.module.get_submodule("2").bias[0] = float("nan")  # type: ignore[index, operator, unused-ignore]
    report = tm.verify(conversion, reference=reference)
    assert not report
    assert "NaN" in report.backends[0].reason


def test_a_nan_in_an_onnx_weight_fails(conversion: tm.Conversion, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    reference = reference_of(conversion, tmp_path)
    file = tmp_path / "model.onnx"
    tm.export_onnx(conversion, file)
    graph = onnx.load(file)
    broken = numpy_helper.to_array(graph.graph.initializer[0]).copy()
    broken.reshape(-1)[0] = float("nan")
    graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(broken, graph.graph.initializer[0].name))
    onnx.save(graph, file)
    report = tm.verify(conversion, reference=reference, onnx=file)
    by_name = {backend.name: backend for backend in report.backends}
    assert by_name["pytorch-cpu"].status == "passed"
    assert by_name["onnxruntime-cpu"].status == "failed"
    assert not report


def test_a_missing_output_fails(conversion: tm.Conversion, tmp_path: Path) -> None:
    file = tmp_path / "two.t7"
    given = lua.numbers(2, 7)
    out = conversion.module(torch.from_numpy(given)).detach().numpy()
    tm.dump(lua.value({"input": given, "output": [out, out]}), file)
    assert not tm.verify(conversion, reference=file)


def test_a_reference_of_another_model_is_refused(conversion: tm.Conversion, tmp_path: Path) -> None:
    reference = reference_of(conversion, tmp_path)
    other = tm.convert(lua.sequential(lua.linear(7, 5), lua.module("nn.Sigmoid"), lua.linear(5, 3)))
    with pytest.raises(tm.UsageError, match=r"nn\.Tanh at 2.*nn\.Sigmoid"):
        tm.verify(other, reference=reference)


def test_a_file_that_is_no_reference(conversion: tm.Conversion, tmp_path: Path) -> None:
    tm.dump(lua.value({"weights": 1}), tmp_path / "x.t7")
    with pytest.raises(tm.UsageError, match="is no reference"):
        tm.verify(conversion, reference=tmp_path / "x.t7")


def test_a_device_that_is_not_there_is_not_run(conversion: tm.Conversion) -> None:
    report = tm.verify(conversion, devices=["cpu", "cuda:99"])
    row = next(backend for backend in report.backends if backend.name == "pytorch-cuda:99")
    assert row.status == "not run"
    assert row.reason
    assert report
    assert not tm.verify(conversion, devices=["cuda:99"]), "what did not run has not passed"


def test_tolerances_of_the_user(conversion: tm.Conversion, tmp_path: Path) -> None:
    reference = reference_of(conversion, tmp_path)
    with torch.no_grad():
        conversion.module.get_submodule("2").bias += 1e-3  # type: ignore[misc, operator, unused-ignore]
    assert not tm.verify(conversion, reference=reference, layers=False)
    assert tm.verify(conversion, reference=reference, atol=1e-2, layers=False)


def test_tf32_is_switched_off_and_back() -> None:
    from torchmigrate.parity.runs.pytorch import tf32

    before = torch.backends.cudnn.allow_tf32
    with tf32(False):
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


def test_two_reports_have_the_same_bytes(conversion: tm.Conversion, tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        texts.append(tm.verify(conversion).write(tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[0]
    assert json.loads(texts[0])["passed"] is True


def test_what_a_layer_passes_on_may_be_changed_in_place() -> None:
    folder = golden.FIXTURES / "parity"
    report = tm.verify(
        tm.convert(folder / "inplace_branch.t7"), reference=folder / "inplace_branch.reference.t7", devices=["cpu"]
    )
    assert report, report.summary()
    assert all(layer.passed for layer in report.backends[0].layers)

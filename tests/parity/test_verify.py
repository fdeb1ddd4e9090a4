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
from torchmigrate.parity.judge.compare import compare
from torchmigrate.parity.judge.tolerances import Rules
from torchmigrate.parity.references.choose import choose_reference


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


def test_a_device_that_was_named_and_is_not_there_is_refused(conversion: tm.Conversion) -> None:
    with pytest.raises(tm.UsageError, match="cuda:99"):
        tm.verify(conversion, devices=["cpu", "cuda:99"])
    row = next(backend for backend in tm.verify(conversion).backends if backend.name == "pytorch-cuda")
    assert row.status == "not run", "nobody asked for it"


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


def test_the_random_generator_of_the_caller_stays_as_it_was(conversion: tm.Conversion) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    tm.verify(conversion)
    assert torch.equal(torch.get_rng_state(), before)
    recorded = tm.convert(golden.MODELS / "siamese_cosine.t7")
    tm.verify(recorded, batches=())
    choose_reference(recorded, "recorded")
    assert torch.equal(torch.get_rng_state(), before)


def test_nan_in_the_weights_of_the_file_is_said_first_and_equal_nan_agree(
    conversion: tm.Conversion, tmp_path: Path
) -> None:
    with torch.no_grad():
        conversion.module.get_submodule("2").bias[1] = float("nan")  # type: ignore[index, operator, unused-ignore]
    report = tm.verify(conversion, reference=reference_of(conversion, tmp_path))
    assert report, report.summary()
    assert report.verdict.limits[0] == "The file's own weights hold NaN or Inf: 1 in bias of nn.Linear at 3."
    assert (
        "the file's own weights hold NaN or Inf (1 in bias of nn.Linear at 3); pytorch-cpu passed" in report.summary()
    )
    assert any("2 NaN or Inf, in the reference and here alike" in limit for limit in report.verdict.limits)
    assert report.proven, "the other outputs were compared"


def test_whole_numbers_are_equal_or_not() -> None:
    assert compare(torch.tensor([3, 2**53]), torch.tensor([3, 2**53]), Rules(torch.float32).output())[0].passed
    for wrong in ([4, 2**53], [3, 2**53 + 1]):
        (found,) = compare(torch.tensor(wrong), torch.tensor([3, 2**53]), Rules(torch.float32).output())
        assert not found.passed
    assert compare(torch.tensor([4]), torch.tensor([3]), Rules(torch.float32, atol={"": 1.0}).output())[0].passed


def test_an_error_is_shown_beside_the_scale_of_the_numbers() -> None:
    expected = torch.tensor([1e6, 2.0], dtype=torch.float64)
    (found,) = compare(expected + 0.84, expected, Rules(torch.float64).output())
    assert found.error == "0.84 (8.4e-07 of the largest number)"
    assert "by up to 0.84, 8.4e-07 of the largest number" in found.problem

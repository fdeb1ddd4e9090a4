"""Planted faults: each is found, makes exit code 1, and the right layer is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import torchmigrate as tm
from torchmigrate.cli import main as cli

Fault = Callable[[tm.LuaObject], None]


def verify(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["verify", *map(str, words), "--json"])
    return int(stopped.value.code or 0), json.loads(capsys.readouterr().out)


def at(model: Any, path: str) -> tm.LuaObject:
    """The module at a Torch7 path."""
    for step in path.split(".") if path else []:
        model = model["modules"][float(step)] if step.isdigit() else model[step]
    return model


def change(obj: tm.LuaObject, name: str, made: Callable[[Any], Any]) -> None:
    """Gives a tensor field other numbers."""
    numbers = made(np.array(obj[name].numpy()))
    obj.fields[name] = tm.Tensor.from_numpy(np.ascontiguousarray(numbers))


def swapped_kernel(obj: tm.LuaObject) -> None:
    planes = int(obj["nInputPlane"])
    change(obj, "weight", lambda w: w.reshape(len(w), planes, 3, 3).swapaxes(2, 3).reshape(w.shape))


def std_for_variance(obj: tm.LuaObject) -> None:
    change(obj, "running_var", np.sqrt)


def gates_in_pytorchs_order(obj: tm.LuaObject) -> None:
    """nn.SeqLSTM has the columns input, forget, output, candidate."""

    def reorder(w: Any) -> Any:
        i, f, o, g = np.split(w, 4, axis=-1)
        return np.concatenate([i, f, g, o], axis=-1)

    change(obj, "weight", reorder)


def one_weight(obj: tm.LuaObject) -> None:
    def add(w: Any) -> Any:
        w.reshape(-1)[7] += 1e-3
        return w

    change(obj, "weight", add)


def reversed_rows(obj: tm.LuaObject) -> None:
    change(obj, "weight", lambda w: w[::-1])


def other_dimension(obj: tm.LuaObject) -> None:
    obj.fields["dimension"] = 3.0


def one_branch_less(obj: tm.LuaObject) -> None:
    modules = obj["modules"].list()
    obj.fields["modules"] = tm.LuaTable.from_list(modules[:-1])


@pytest.mark.parametrize(
    ("name", "key", "path", "typename", "fault"),
    [
        ("unet_nngraph", "", "5", "nn.SpatialConvolution", swapped_kernel),
        ("unet_nngraph", "", "3", "nn.SpatialBatchNormalization", std_for_variance),
        ("lm_seqlstm", "model", "2", "nn.SeqLSTM", gates_in_pytorchs_order),
        ("resnet_bottleneck_B", "model", "6.1.1.1.4", "nn.SpatialConvolution", one_weight),
        ("resnet_bottleneck_B", "model", "10", "nn.Linear", one_weight),
        # the reference keeps a summary of its output
        ("dcgan_discriminator", "netD", "1", "nn.SpatialConvolution", one_weight),
        # the nn.Recursor around it is converted to the very same module
        ("lm_sequencer_fastlstm", "", "5.1.1", "nn.Linear", reversed_rows),
        ("unet_nngraph", "", "29", "nn.JoinTable", other_dimension),
        ("multitask_tables", "", "5.2", "nn.ConcatTable", one_branch_less),
    ],
    ids=[
        "swapped kernel",
        "std for variance",
        "gates",
        "one weight",
        "last weight",
        "seen in a mean",
        "in a Recursor",
        "JoinTable",
        "missing output",
    ],
)
def test_a_fault_is_located(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, key: str, path: str, typename: str, fault: Fault
) -> None:
    value = tm.load(golden.MODELS / f"{name}.t7")
    model = value[key] if key else value
    if name == "unet_nngraph":
        path = next(
            str(i) for i, m in enumerate(model["modules"].list(), 1) if m.typename == typename and int(path) <= i
        )
    found = at(model, path)
    assert found.typename == typename
    fault(found)
    file = tmp_path / "faulty.t7"
    tm.dump(value, file)
    words = ["--reference", golden.MODELS / f"{name}.reference.t7", *(["--key", key] if key else [])]
    code, report = verify(capsys, file, *words)
    assert code == 1
    assert not report["passed"]
    backend = report["backends"][0]
    assert (backend["backend"], backend["status"]) == ("pytorch-cpu", "failed")
    assert (backend["first_diverging"]["path"], backend["first_diverging"]["class"]) == (path, typename)
    # behind a layer of whose output the reference keeps a summary, the running network locates it
    assert backend["first_diverging"]["by_itself"] or "summary" in backend["first_diverging"]["remark"]
    by_themselves = [layer for layer in backend["layers"] if layer["own"] and not layer["remark"]]
    failing = {layer["path"] for layer in by_themselves if not layer["own"]["passed"]}
    # what holds the layer fails with it where a whole output is missing
    assert all(path == other or path.startswith(f"{other}.") or not other for other in failing)


def test_a_nan_in_one_onnx_weight_is_located(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source, reference = (golden.MODELS / f"mobile_b32{end}.t7" for end in ("", ".reference"))
    file = tmp_path / "model.onnx"
    tm.export_onnx(tm.convert(source), file)
    model = onnx.load(file)
    node = next(node for node in model.graph.node if node.op_type == "Gemm")
    weight = next(w for w in model.graph.initializer if w.name in node.input and len(w.dims) == 2)
    numbers = numpy_helper.to_array(weight).copy()
    numbers[1, 2] = np.nan
    weight.CopyFrom(numpy_helper.from_array(numbers, weight.name))
    onnx.save(model, file)
    code, report = verify(capsys, source, "--reference", reference, "--onnx", file)
    assert code == 1
    by_name = {backend["backend"]: backend for backend in report["backends"]}
    assert by_name["pytorch-cpu"]["status"] == "passed"
    broken = by_name["onnxruntime-cpu"]
    assert broken["status"] == "failed"
    assert (broken["first_diverging"]["path"], broken["first_diverging"]["class"]) == ("5", "nn.Linear")
    (layer,) = [layer for layer in broken["layers"] if layer["path"] == "5"]
    assert "1 NaN or Inf" in layer["accumulated"]["problem"]


def test_a_fault_in_a_recorded_layer_is_located_without_a_reference(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    value = tm.load(golden.MODELS / "alexnet_grouped_lrn.t7")
    change(at(value["model"], "5"), "weight", lambda w: w[..., ::-1])
    file = tmp_path / "faulty.t7"
    tm.dump(value, file)
    code, report = verify(capsys, file)
    assert code == 1
    assert report["reference"]["kind"] == "recorded"
    diverging = report["backends"][0]["first_diverging"]
    assert (diverging["path"], diverging["class"]) == ("5", at(value["model"], "5").typename)

"""On a GPU: every golden model, a case of every class, states, in-place layers, gradients, ONNX Runtime.

`tests/gpu.sh` runs it. A few rows run on the CPU by default, so that what is checked there is right.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import gaps
import golden
import on_device
import pytest
import torch
from golden import Row

import torchmigrate as tm

DTYPES = [torch.float32, torch.float64]
MODELS = [row["name"] for row in golden.model_rows()]

#: Cases that float32 can't hold, whatever the device.
DOUBLE_ONLY: dict[str, str] = {}


def on_devices(values: list[Any], quick: list[Any]) -> list[Any]:
    """Every value on CUDA; some on the CPU by default, and the others where slow tests run."""
    found = [pytest.param(value, "cuda", id=f"{value}-cuda", marks=pytest.mark.gpu) for value in values]
    return found + [
        pytest.param(value, "cpu", id=f"{value}-cpu", marks=[] if value in quick else [pytest.mark.slow])
        for value in values
    ]


ROWS = [row for row in on_device.rows() if not gaps.reason(row, "output") and not gaps.reason(row, "gradInput")]
FEW = [row for row in ROWS if str(row) in ("nn.Linear[0]", "nn.ParallelTable[0]", "nn.SeqLSTM[0]", "nn.Dropout[0]")]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("row", "device"), on_devices(ROWS, FEW))
def test_layer(row: Row, device: str, dtype: torch.dtype) -> None:
    if dtype == torch.float32 and str(row) in DOUBLE_ONLY:
        pytest.xfail(DOUBLE_ONLY[str(row)])
    on_device.check_layer(row, device, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "device"), on_devices(MODELS, ["multitask_tables"]))
def test_model(name: str, device: str, dtype: torch.dtype) -> None:
    on_device.check_model(name, device, dtype)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu), "cpu"])
def test_state_from_call_to_call(device: str) -> None:
    on_device.check_state(device)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu), "cpu"])
def test_load_converted(device: str, tmp_path: Path) -> None:
    on_device.check_loading(tmp_path / "folder", device)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu), "cpu"])
def test_in_place_layers(device: str) -> None:
    """A branch that changes what another one passes on."""
    parity = golden.FIXTURES / "parity"
    conversion = tm.convert(parity / "inplace_branch.t7")
    report = tm.verify(conversion, reference=parity / "inplace_branch.reference.t7", devices=[device])
    assert report, report.summary()
    (result,) = [backend for backend in report.backends if backend.name == f"pytorch-{device}"]
    assert result.status == "passed"
    assert result.layers


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODELS)
def test_half_types_run(name: str) -> None:
    """For information: their numbers differ by what their few digits make of it, and decide nothing."""
    for dtype in (torch.float16, torch.bfloat16):
        with suppress(NotImplementedError):  # PyTorch has no such kernel
            on_device.largest_error(name, "cuda", dtype)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["mobile_b32", "lm_seqlstm", "unet_nngraph"])
def test_onnx_runtime(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        # the CPU build of ONNX Runtime is what most machines have; the tests around it are marked gpu
        pytest.skip("this ONNX Runtime has no CUDA provider")
    conversion, reference = on_device.model(name)
    exported = tm.export_onnx(conversion, tmp_path / "m.onnx", example_input=tm.to_torch(reference["input"]))
    report = tm.verify(
        conversion, reference=golden.MODELS / f"{name}.reference.t7", onnx=exported.path, devices=["cuda"]
    )
    assert report, report.summary()
    (result,) = [backend for backend in report.backends if backend.name == "onnxruntime-cuda"]
    assert result.status == "passed"

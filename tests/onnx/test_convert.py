"""What `torchmigrate convert` exports: the input that the graph is made for, and what it says of a model without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lua
import networks
import pytest
import torch
from torch.nn import functional as F

import torchmigrate as tm
from torchmigrate.folder.run import ConvertOptions, convert_file
from torchmigrate.onnx.export import check


@pytest.mark.parametrize(
    ("first", "given", "sizes"),
    [
        # one image without a batch: two of them would be a batch, which the graph could not leave free
        (networks.view(1, 6, 8), (1, 6, 8), (1, 6, 8)),
        # a batch of one, which the View at the end drops: the graph keeps it, and takes any other
        (lua.module("nn.Identity"), (1, 1, 6, 8), ("batch", 1, 6, 8)),
    ],
    ids=["no batch", "a batch of one"],
)
def test_the_graph_takes_the_input_of_the_reference(
    first: tm.LuaObject, given: tuple[int, ...], sizes: tuple[int | str, ...], tmp_path: Path
) -> None:
    tm.dump(lua.sequential(first, networks.conv(1, 2, 3), networks.view(48)), tmp_path / "m.t7")
    x = lua.numbers(*given, seed=2, dtype="f4")
    weight, bias = (torch.from_numpy(lua.numbers(*size, dtype="f4")) for size in ((2, 1, 3, 3), (2,)))
    y = F.conv2d(torch.from_numpy(x).reshape(1, 1, 6, 8), weight, bias).reshape(48)
    tm.dump(lua.value({"input": x, "output": y.numpy()}), tmp_path / "m.reference.t7")
    result = convert_file(
        tmp_path / "m.t7", tmp_path / "out", ConvertOptions(reference=tmp_path / "m.reference.t7"), print
    )
    assert result.report, result.report and result.report.summary()
    assert result.onnx is not None
    assert result.onnx.inputs == {"input": sizes}


class Scaled(torch.nn.Module):
    """ONNX has no such operator."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


def scaled(layer: tm.Layer) -> Scaled:
    return Scaled()


def test_a_model_without_a_graph_is_converted_with_no_onnx(tmp_path: Path) -> None:
    tm.converts("my.Scaled")(scaled)
    tm.dump(lua.sequential(networks.conv(1, 2, 3), lua.module("my.Scaled")), tmp_path / "m.t7")
    options = ConvertOptions(input_shape="2x1x9x8", no_verify=True)
    with pytest.raises(tm.ExportError, match=r"my.Scaled at 2 .* --no-onnx converts the model without"):
        convert_file(tmp_path / "m.t7", tmp_path / "out", options, print)
    assert [path.name for path in tmp_path.iterdir()] == ["m.t7"]
    result = convert_file(tmp_path / "m.t7", tmp_path / "out", replace(options, no_onnx=True), print)
    assert {"model.py", "model.safetensors"} <= set(result.files)
    assert "model.onnx" not in result.files


def test_a_model_that_draws_random_numbers_is_converted_without_a_graph(tmp_path: Path) -> None:
    drawn = lua.module("nn.SpatialFractionalMaxPooling", poolSizeW=2, poolSizeH=2, outW=3, outH=4)
    tm.dump(lua.sequential(networks.conv(1, 2, 3), drawn), tmp_path / "m.t7")
    result = convert_file(tmp_path / "m.t7", tmp_path / "out", ConvertOptions(input_shape="2x1x9x8"), print)
    assert "SpatialFractionalMaxPooling at 2 draws random numbers" in result.not_run["onnx"]
    assert {"model.py", "model.safetensors", "parity.json"} <= set(result.files)
    assert "model.onnx" not in result.files
    assert result.passed


def test_a_graph_that_differs_is_no_reason_to_trust_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(check.TOLERANCES, torch.float32, -3.0)  # nothing is near enough
    tm.dump(lua.sequential(networks.conv(1, 2, 3)), tmp_path / "m.t7")
    options = ConvertOptions(input_shape="2x1x9x8", no_verify=True)
    with pytest.raises(
        tm.ExportError, match=r"differs between .* Either may be wrong: compare the PyTorch model"
    ) as it:
        convert_file(tmp_path / "m.t7", tmp_path / "out", options, print)
    assert "--no-onnx" not in str(it.value)

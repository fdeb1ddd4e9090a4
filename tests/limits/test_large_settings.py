"""Settings of layers that need gigabytes are refused before a number is computed, with the layer and the size."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import lua
import networks
import pytest
from click.testing import CliRunner, Result
from networks import chain

import torchmigrate as tm
from torchmigrate.base.errors import LimitExceeded
from torchmigrate.cli.main import cli

#: What tells the kernel to forget the peak of a process; on Linux only.
FORGET = Path("/proc/self/clear_refs")


def begin_of_peak() -> int:
    """Forgets what other tests took in this process; gives the kilobytes that it holds now."""
    FORGET.write_text("5")
    return peak()


def peak() -> int:
    """The most kilobytes that this process had since `begin_of_peak`."""
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), standalone_mode=False)


def padding(size: int) -> tm.LuaObject:
    return lua.module("nn.SpatialZeroPadding", pad_l=size, pad_r=size, pad_t=size, pad_b=size)


GIGABYTES: dict[str, tuple[Callable[[], tm.LuaObject], str, str]] = {
    "padding": (
        lambda: chain(networks.conv(3, 4, 3), padding(5000)),
        "2x3x9x8",
        r"nn.SpatialZeroPadding at 2 would compute 2x4x10007x10006 numbers \(3.0 GiB as float32\) from an input",
    ),
    "padding of a convolution": (
        lambda: chain(networks.RELU, networks.conv(3, 4, 3, 1, 5000)),
        "2x3x9x8",
        "nn.SpatialConvolution at 2 would compute 2x4x10007x10006 numbers",
    ),
    "pooling": (
        lambda: chain(networks.conv(3, 4, 3), networks.pool(200_000, 1, 100_000)),
        "2x3x500x501",
        "nn.SpatialMaxPooling at 2 would compute 2x4x499x500 numbers, each from 248,502",
    ),
    "adaptive pooling": (
        lambda: chain(networks.conv(3, 4, 3), lua.module("nn.SpatialAdaptiveMaxPooling", W=200_000, H=200_000)),
        "2x3x9x8",
        "nn.SpatialAdaptiveMaxPooling at 2 would compute 2x4x200000x200000 numbers",
    ),
    "OneHot": (
        lambda: chain(lua.module("nn.OneHot", outputSize=2**30)),
        "2x3",
        "nn.OneHot at 1 would compute 1073741824 numbers",
    ),
    "Replicate": (
        lambda: chain(networks.linear(4, 4), lua.module("nn.Replicate", nfeatures=10**9, dim=1, ndim=1)),
        "2x4",
        "nn.Replicate at 2 would compute 2x1000000000x4 numbers",
    ),
    "Padding": (
        lambda: chain(networks.linear(4, 4), lua.module("nn.Padding", dim=2, pad=10**9, nInputDim=2, value=0, index=1)),
        "2x4",
        "nn.Padding at 2 would compute 2x1000000004 numbers",
    ),
    "upsampling": (
        lambda: chain(networks.conv(3, 4, 3), lua.module("nn.SpatialUpSamplingNearest", scale_factor=5000)),
        "2x3x9x8",
        "nn.SpatialUpSamplingNearest at 2 would compute 2x4x35000x30000 numbers",
    ),
    "times": (
        lambda: lua.module("nn.Repeater", rho=10**9, modules=[networks.linear(4, 4)], module=networks.linear(4, 4)),
        "2x4",
        "One run of the model is 1,000,000,001 runs of layers",
    ),
}


@pytest.mark.parametrize("name", GIGABYTES)
def test_sizes_are_tried_without_numbers(name: str, tmp_path: Path) -> None:
    make, shape, words = GIGABYTES[name]
    tm.dump(make(), tmp_path / "model.t7")
    command = ["convert", str(tmp_path / "model.t7"), "-o", str(tmp_path / "out"), "--no-onnx", "--input-shape", shape]
    before = begin_of_peak() if FORGET.exists() else None
    done = invoke(*command, *(["--max-runs", "1000"] if name == "times" else []))
    assert isinstance(done.exception, LimitExceeded)
    assert re.search(words, str(done.exception))
    assert not (tmp_path / "out").exists()
    assert before is None or peak() - before < 1_000_000


def test_what_is_too_large_for_every_input_is_said_too(tmp_path: Path) -> None:
    tm.dump(GIGABYTES["Replicate"][0](), tmp_path / "model.t7")
    done = invoke("verify", str(tmp_path / "model.t7"))
    assert "nn.Replicate at 2 would compute" in str(done.exception)
    assert done.exception.exit_code == 3  # type: ignore[union-attr]


def test_max_elements_raises_the_bound_of_values(tmp_path: Path) -> None:
    tm.dump(chain(networks.linear(4, 4), lua.module("nn.Replicate", nfeatures=100, dim=1, ndim=1)), tmp_path / "m.t7")
    words = ["verify", str(tmp_path / "m.t7"), "--input-shape", "2x4", "-q", "--max-elements"]
    assert "Limits.expanded_elements allows 799" in str(invoke(*words, "799").exception)
    assert invoke(*words, "800").exception is None

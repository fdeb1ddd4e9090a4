"""Torch7's own Lua as a witness, from checkouts of its packages, against what Torch7 computed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lupa")

import golden
import torch
from witness_rows import PACKAGES, REASONS

import torchmigrate as tm
from torchmigrate.lua.folders import Folders
from torchmigrate.lua.limits import LuaLimits
from torchmigrate.lua.result import Results
from torchmigrate.lua.runtime import LuaStopped, Runtime
from torchmigrate.lua.tensors.handles import LuaFault
from torchmigrate.lua.witness.answer import start
from torchmigrate.lua.witness.reading import Reading
from torchmigrate.parity.references.dump import load_dump

#: Where the machine has checkouts of Torch7's nn, nngraph, rnn, dpnn …, as --torch7-source takes them.
CHECKOUTS = os.environ.get("TORCHMIGRATE_TORCH7_SOURCE", "")
needs_checkouts = pytest.mark.skipif(
    not (Path(CHECKOUTS) / "nn" / "init.lua").is_file(),
    reason="TORCHMIGRATE_TORCH7_SOURCE names no folder with checkouts of Torch7's nn, nngraph, rnn and dpnn",
)

REUSE = golden.FIXTURES / "lua" / "reuse"


def lua_of(source: Path | str) -> Runtime:
    limits = LuaLimits(lua_bytes=256 << 20, elements=1 << 24, cpu_seconds=20)
    return start(Folders([], limits.file_bytes, str(source)), limits)


@pytest.fixture(scope="module")
def torch7() -> Runtime:
    lua = lua_of(CHECKOUTS)
    for name in ("nn", "nngraph", "dpnn", "rnn", "stn"):
        lua.guarded(lua.host.require, name)
    lua.host.begin()
    return lua


def golden_rows() -> Iterator[golden.Row]:
    """The rows of nn, nngraph, rnn, dpnn and stn in evaluation."""
    for row in golden.layer_rows():
        if row.package in PACKAGES and row.file.startswith("nn."):
            case = row.load()
            if not case.get("train") and ("loss" if "criterion" in case else "output") in case:
                yield row


def answered(lua: Runtime, case: tm.LuaTable) -> Any:
    """What Torch7's own Lua gives for a golden row."""
    module = Reading(lua).value(case.get("criterion") or case["module"])
    given = [Reading(lua).value(case["input"])]
    if "criterion" in case:
        given.append(Reading(lua).value(case.get("target")))
    found = lua.guarded(lua.host.call, module, "forward", *given)
    return tm.to_torch(Results(lua).value(found[0] if isinstance(found, tuple) else found))


def is_single(case: tm.LuaTable) -> bool:
    """Has a part of the layer numbers in single precision, whatever the type of the result?"""
    stack: list[Any] = [case.get("criterion") or case["module"]]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if isinstance(item, tm.Tensor) and item.type == "torch.FloatTensor":
            return True
        if isinstance(item, (tm.LuaObject, tm.LuaTable)) and id(item) not in seen:
            seen.add(id(item))
            stack += [held for _, held in item.items()]
    return False


def compared(rows: list[golden.Row], lua: Runtime) -> dict[str, str]:
    """The rows that are not equal, and why."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one number has no deviation, for example
        for row in rows:
            case = row.load()
            name = "loss" if "criterion" in case else "output"
            allowed = golden.TOLERANCES[torch.float32] if is_single(case) else None
            try:
                golden.assert_same(answered(lua, case), tm.to_torch(case[name]), name, allowed)
            except (AssertionError, LuaStopped, LuaFault) as error:
                found[str(row)] = str(error)
    return found


@needs_checkouts
def test_a_sample_of_golden_rows(torch7: Runtime) -> None:
    rows = [row for row in golden_rows() if str(row) not in REASONS][::40]
    assert compared(rows, torch7) == {}


@needs_checkouts
@pytest.mark.slow
def test_all_golden_rows(torch7: Runtime) -> None:
    rows = list(golden_rows())
    found = compared(rows, torch7)
    assert found.keys() == REASONS.keys()
    for name, text in found.items():
        assert REASONS[name] in text, name
    assert len(rows) - len(found) >= 1421


@needs_checkouts
@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    [
        pytest.param(golden.MODELS / "googlenet_aux.t7", id="googlenet_aux"),
        pytest.param(golden.MODELS / "resnet_cifar_A_cudnn.t7", id="resnet_cifar_A_cudnn"),
        pytest.param(golden.MODELS / "lm_sequencer_fastlstm.t7", id="lm_sequencer_fastlstm"),
        pytest.param(golden.MODELS / "unet_nngraph.t7", id="unet_nngraph"),
        pytest.param(golden.MODELS / "enet_unpooling.t7", id="enet_unpooling"),
        pytest.param(golden.MODELS / "stn_classifier.t7", id="stn_classifier"),
        # Torch7 overwrites a result that is still needed
        pytest.param(REUSE / "sentconv_multichannel.t7", id="sentconv_multichannel"),
        pytest.param(REUSE / "u_reuse_graph.t7", id="u_reuse_graph"),
        pytest.param(REUSE / "u_reuse_residual.t7", id="u_reuse_residual"),
    ],
)
def test_whole_models(file: Path) -> None:
    reference = load_dump(file.with_suffix(".reference.t7"))
    keys = {line["file"]: line["key"] for line in golden.model_rows()}
    key = None if keys.get(file.name, "-") in ("-", "") else keys[file.name]
    conversion = tm.convert(file, key=key)
    report = tm.verify(conversion, reference="lua", torch7_source=CHECKOUTS, input=tm.to_torch(reference["input"]))
    assert report, report.summary()
    golden.assert_same(
        report.reference.output, tm.to_torch(reference["output"]), "output", golden.TOLERANCES[torch.float32]
    )

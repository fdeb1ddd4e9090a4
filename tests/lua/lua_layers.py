"""Layers that only their author's Lua defines, with what Torch7 computed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from golden import FIXTURES

import torchmigrate as tm
from torchmigrate.lua.folders import Folders
from torchmigrate.lua.layers.answer import answer_layer
from torchmigrate.lua.limits import LuaLimits

FOLDER = FIXTURES / "lua" / "layers"
LAYERS: dict[str, dict[str, Any]] = {row["class"]: row for row in json.loads((FOLDER / "layers.json").read_text())}


def lua_file(name: str) -> Path:
    """The author's file of a layer."""
    return FOLDER / Path(LAYERS[name]["file"]).name


def recorded(name: str) -> tm.LuaTable:
    """What Torch7 wrote of a layer: it, and two runs."""
    value = tm.load(FOLDER / Path(LAYERS[name]["data"]).name)
    assert isinstance(value, tm.LuaTable)
    return value


def answered(what: str, file: Path, task: tm.LuaTable, **said: Any) -> tuple[dict[str, Any], Any]:
    """What the process of the Lua answers, run in the process of the tests."""
    stream = io.BytesIO()
    tm.dump(task, stream)
    limits = LuaLimits(lua_bytes=128 << 20, elements=1 << 24)
    job = {"layer": what, "files": [str(file)], **said}
    return answer_layer(job, Folders([str(file.parent)], limits.file_bytes), limits, stream.getvalue())


def flat(value: Any) -> list[torch.Tensor]:
    """The tensors of nested lists."""
    return [tensor for part in value for tensor in flat(part)] if isinstance(value, (list, tuple)) else [value]


def assert_close(found: Any, wanted: Any) -> None:
    """The same sizes and types, and numbers that differ by rounding only."""
    for made, other in zip(flat(found), flat(wanted), strict=True):
        one = made.detach()
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        allowed = (1e-10 if other.dtype == torch.float64 else 1e-5) * max(1.0, float(other.abs().max()))
        assert float((one - other).abs().max()) <= allowed

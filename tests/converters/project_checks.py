"""Checks that every layer of the well-known projects goes through: its numbers, its folder, its ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest
import torch

import torchmigrate as tm
from torchmigrate.onnx.runtime import open_session, run_session
from torchmigrate.parity.runs.onnx_runtime import feeds_of


def torched(value: Any) -> Any:
    """Numpy arrays as tensors, in nested lists."""
    return [torched(item) for item in value] if isinstance(value, list) else torch.from_numpy(np.array(value))


def converted(made: tm.LuaObject, **options: Any) -> Any:
    """The module of an object of which every field is explained."""
    conversion = tm.convert(made, **options)
    assert {layer.typename: layer.unread for layer in conversion.layers if layer.unread} == {}
    return conversion


def check(made: tm.LuaObject, x: Any, expected: Any, folder: Path, *, onnx: bool = True, **options: Any) -> Any:
    """Compares the output with numbers computed by hand; also of the saved folder, and of the ONNX file."""
    conversion = converted(made, **options)
    x, expected = torched(x), torched(expected)
    with torch.no_grad():
        golden.assert_same(conversion.module(golden.copied(x)), expected, "output")
        conversion.save(folder / "saved")
        golden.assert_same(tm.load_converted(folder / "saved")(golden.copied(x)), expected, "loaded")
    if onnx:
        again = converted(made, **options)
        exported = tm.export_onnx(again, folder / "layer.onnx", example_input=x)
        session = open_session(exported.path)
        got = run_session(session, feeds_of(again, session, x))
        for ours, theirs in zip(got, golden.tensors(expected), strict=True):
            golden.assert_same(ours.to(theirs.dtype), theirs, "in ONNX Runtime", (1e-4, 1e-4))
    return conversion.module


def check_loss(made: tm.LuaObject, x: Any, target: Any, expected: float) -> Any:
    """Compares the loss of a criterion."""
    module = converted(made).module
    got = module(torched(x), torched(target))
    golden.assert_same(got, float(expected), "loss", (1e-9, 1e-7))
    return module


def refused(made: tm.LuaObject) -> str:
    """Why an object is refused."""
    with pytest.raises(tm.UnsupportedLayers) as caught:
        tm.convert(made)
    (refusal,) = caught.value.refusals
    assert refusal.known
    return refusal.reason


def gradient(module: Any, x: Any, grad: Any) -> Any:
    """The gradient of the input, given the gradient of the output."""
    leaf = golden.fresh_input(torched(x))
    golden.backward(module(leaf), torched(grad))
    return golden.gradients(leaf)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))

"""The golden CNNs in OpenCV 5, which dropped readNetFromTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import exports
import golden
import numpy as np
import pytest

#: Networks of convolutions; what else the golden files hold is recurrent.
CNNS = sorted(
    row["file"].removesuffix(".t7")
    for row in golden.model_rows()
    if "Convolution" in row["classes"] and "Sequencer" not in row["classes"]
)

#: What OpenCV can't run of standard ONNX.
GAPS = {"enet_unpooling": "OpenCV's MaxUnpool takes a batch of one, and counts within a plane, ONNX within all"}


#: Run by default, one of each kind; the others with -m slow.
BY_DEFAULT = {"dcgan_discriminator", "googlenet_aux", "multitask_tables", "textcnn"}


def cases() -> list[Any]:
    marks = {name: [pytest.mark.xfail(reason=why, strict=True)] for name, why in GAPS.items()}
    slow = {name: [pytest.mark.slow] for name in CNNS if name not in BY_DEFAULT}
    return [pytest.param(name, marks=[*marks.get(name, []), *slow.get(name, [])]) for name in CNNS]


@pytest.mark.parametrize("name", cases())
def test_opencv(name: str, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    exported, _ = exports.export(name, tmp_path)
    given, expected = exports.reference(name)
    inputs, outputs = list(golden.tensors(given)), list(golden.tensors(expected))
    net = cv2.dnn.readNetFromONNX(str(exported.path))
    for input_name, tensor in zip(exported.inputs, inputs, strict=True):
        whole = name == "textcnn"
        net.setInput(tensor.numpy().astype(np.int64 if whole else np.float32), input_name)
    got = net.forward(list(exported.outputs))
    for ours, theirs in zip(got, outputs, strict=True):
        scale = float(theirs.abs().max())
        np.testing.assert_allclose(ours.reshape(theirs.shape), theirs.float().numpy(), atol=1e-4 * scale, rtol=1e-4)

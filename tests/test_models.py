"""Whole models, as people saved them, against what the real Torch7 answered: PyTorch and ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import golden
import pytest

import torchmigrate as tm
from torchmigrate.parity.references.dump import load_dump

PLUGIN = golden.FIXTURES / "plugins" / "shave_crop.py"

#: (file, key, reference)
CASES = [
    (row["file"], None if row["key"] == "-" else row["key"], row["file"].replace(".t7", ".reference.t7"))
    for row in golden.model_rows()
] + [
    ("autoencoder_list.t7", "2", "autoencoder_list.2.reference.t7"),
    ("wordrnn_two_protos.t7", "protos.lstm", "wordrnn_two_protos.protos.lstm.reference.t7"),
]

#: Left to -m slow: built of the same parts as others here (an inception, residual blocks, blocks that grow, a stack).
LIKE_OTHERS = ("densenet_bc", "hourglass_stacked", "openface_inception", "resnet_cifar_A_cudnn", "wrn_preact_double")

#: Fields that users put on their modules; they are reported.
OWN_FIELDS = {
    "superres_vgg7.t7": {
        "": ["w2nn_arch_name", "w2nn_offset", "w2nn_channels", "w2nn_input_size", "w2nn_scale_factor"],
    }
}


def case_id(value: Any) -> str:
    return str(value) if value else "-"


def marked(case: tuple[str, str | None, str]) -> Any:
    return pytest.param(*case, marks=[pytest.mark.slow] if case[0].removesuffix(".t7") in LIKE_OTHERS else [])


@pytest.mark.parametrize(("file", "key", "reference"), [marked(case) for case in CASES], ids=case_id)
def test_model(file: str, key: str | None, reference: str, tmp_path: Path) -> None:
    plugins = [PLUGIN] if file.startswith("style_shave") else []
    conversion = tm.convert(golden.MODELS / file, key=key, plugins=plugins)
    example = tm.to_torch(load_dump(golden.MODELS / reference)["input"])
    exported = tm.export_onnx(conversion, tmp_path / "model.onnx", example_input=example)
    report = tm.verify(conversion, reference=golden.MODELS / reference, onnx=exported.path)
    assert report, report.summary()
    ran = {backend.name: backend.status for backend in report.backends if backend.status != "not run"}
    other = "float32" if report.backends[0].tolerance.atol < 1e-8 else "float64"  # type: ignore[union-attr]
    assert ran == {
        "pytorch-cpu": "passed",
        f"pytorch-cpu-{other}": "passed",
        "onnxruntime-cpu": "passed",
    }
    compared = [layer for layer in report.backends[0].layers if layer.own is not None]
    assert compared, "the reference has the outputs of layers"
    failed = [layer.path for layer in compared if layer.accumulated is None or not layer.accumulated.passed]
    assert not failed
    assert conversion.unread == OWN_FIELDS.get(file, {})
    assert all("batch" in sizes for sizes in exported.inputs.values())
    assert len(exported.batches) >= 2
    assert not any(str(tmp_path) in text for text in exported.path.read_bytes().decode("latin-1").split("\0"))


def test_a_class_that_only_its_user_knows_is_refused_by_name() -> None:
    with pytest.raises(tm.UnsupportedLayers, match=r"nn\.ShaveCrop"):
        tm.convert(golden.MODELS / "style_shave_batchnorm.t7")

"""Networks that amplify rounding: their outputs prove little, their layers decide (generate/grown_rounding.lua)."""

from __future__ import annotations

from pathlib import Path

import golden
import pytest
import torch
from planted_faults import FAULTS, planted

import torchmigrate as tm
from torchmigrate.base.errors import GraphDiffers
from torchmigrate.onnx.export import export

FILE = golden.FIXTURES / "parity" / "grown_rounding.t7"
REFERENCE = FILE.with_suffix(".reference.t7")


def verified(**options: object) -> tm.ParityReport:
    return tm.verify(tm.convert(FILE), **{"reference": REFERENCE, "batches": (), **options})  # type: ignore[arg-type]


def test_what_rounding_explains_is_no_failure_and_the_layers_prove() -> None:
    report = verified(batches=(1,))
    assert report.proven, report.summary()
    backend = report.backends[0]
    (output,) = backend.outputs
    assert output.share > 1e-4, "the outputs differ by far more than the tolerance"
    assert output.growth > 1e3
    assert not output.proves
    assert "-fold through this network, so its outputs prove little" in backend.reason
    assert [batch.status for batch in backend.batches] == ["passed"]
    assert any("what the layers do by themselves counts" in limit for limit in report.verdict.limits)


def test_without_layers_the_outputs_prove_nothing(tmp_path: Path) -> None:
    dump = tm.load(REFERENCE)
    file = tmp_path / "ends.reference.t7"
    tm.dump({"input": dump["input"], "output": dump["output"]}, file)
    report = verified(reference=file)
    assert report
    assert report.verdict.title == "PARTLY COMPARED (0 of 22 layers with weights)"
    assert "as far as rounding, which grows through this network, lets one see" in report.verdict.meaning


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("21", "weight x 1.01"),
        ("43", "bias + 0.001"),
        pytest.param("21", "bias forgotten", marks=pytest.mark.slow),
        pytest.param("21", "rows reversed", marks=pytest.mark.slow),
        pytest.param("1", "weight x 1.01", marks=pytest.mark.slow),
        pytest.param("1", "bias - 0.001", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_layer_fails_by_itself(path: str, fault: str) -> None:
    with planted(FAULTS[fault], "nn.Linear", path):
        report = verified()
    assert not report
    diverging = report.backends[0].diverging
    assert diverging is not None
    assert (diverging.path, diverging.passed) == (path, False)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["weight x 1.01", "rows reversed"])
def test_a_fault_is_more_than_rounding_explains_without_layers_too(tmp_path: Path, fault: str) -> None:
    dump = tm.load(REFERENCE)
    file = tmp_path / "ends.reference.t7"
    tm.dump({"input": dump["input"], "output": dump["output"]}, file)
    with planted(FAULTS[fault], "nn.Linear", "21"):
        assert not verified(reference=file)


@pytest.mark.slow
def test_its_onnx_file_is_compared_in_float64(tmp_path: Path) -> None:
    exported = tm.export_onnx(tm.convert(FILE), tmp_path / "model.onnx", input_shape="4x12")
    assert exported.max_difference > 1e-4
    (note,) = [note for note in exported.notes if note.startswith("rounding grows")]
    assert "exported in float64 they agree within" in note


@pytest.mark.slow
def test_a_wrong_onnx_file_is_found_in_float64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = export.put_stand_ins

    def wrong(module: torch.nn.Module) -> None:
        right(module)
        *_, last = (part for part in module.modules() if isinstance(part, torch.nn.Linear))
        with torch.no_grad():
            last.bias = torch.nn.Parameter(last.bias + 1e-5, requires_grad=False)

    monkeypatch.setattr(export, "put_stand_ins", wrong)
    with pytest.raises(GraphDiffers):
        tm.export_onnx(tm.convert(FILE), tmp_path / "model.onnx", input_shape="4x12")

"""Weights that lie in the same numbers of a file, in other layouts, as the real Torch7 tied and saved them."""

from __future__ import annotations

from pathlib import Path

import golden
import onnxruntime
import pytest
import torch

import torchmigrate as tm
from torchmigrate.converters.linear.linear import TransposedLinear
from torchmigrate.folder.write import write

CASES = {case["name"]: case for case in tm.load(golden.FIXTURES / "traits" / "ties.t7").list()}

#: Network -> the layers that its notes name, and the layer that each of them shares numbers with.
NOTES = {
    "transpose": [],
    "transposes of one weight, twice": [],
    "flattened": [],
    "slices that overlap": [("3", "weight of 1")],
    "slices of a vector that overlap": [("3", "bias of 1")],
    "slices that do not overlap": [],
    "columns that do not overlap": [],
    "rows and their transpose": [("3", "weight of 1")],
    "a lookup table and a linear layer, transposed": [],
    "one weight and one bias": [],
}


@pytest.mark.parametrize("name", CASES)
def test_what_shares_numbers_is_tied_or_named(name: str) -> None:
    conversion = tm.convert(CASES[name]["module"])
    given, expected = (tm.to_torch(CASES[name][field]) for field in ("input", "output"))
    with torch.no_grad():
        golden.assert_same(conversion.module(given), expected, name)
    found = [(path, text) for path, text in conversion.notes if "shares numbers with" in text]
    assert [path for path, _ in found] == [path for path, _ in NOTES[name]]
    assert all(f"the {other} in Torch7" in text for (_, text), (_, other) in zip(found, NOTES[name], strict=True))


TRANSPOSED = ("transpose", "transposes of one weight, twice", "a lookup table and a linear layer, transposed")


@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_transpose_is_one_parameter_in_all_that_is_written(name: str, tmp_path: Path) -> None:
    conversion = tm.convert(CASES[name]["module"])
    given, expected = (tm.to_torch(CASES[name][field]) for field in ("input", "output"))
    first, *others = [part for part in conversion.module.modules() if hasattr(part, "weight")]
    transposed = [part for part in others if isinstance(part, TransposedLinear)]
    assert len(transposed) == (2 if "twice" in name else 1)
    assert all(part.weight is first.weight for part in transposed)
    assert write(conversion, tmp_path, given) == ""
    loaded = tm.load_converted(tmp_path)
    assert len(list(loaded.parameters())) == len(list(conversion.module.parameters()))
    source: dict[str, type[torch.nn.Module]] = {}
    exec((tmp_path / "model.py").read_text(), source)
    model = source["Model"].from_pretrained(str(tmp_path))  # type: ignore[attr-defined]
    assert len(list(model.parameters())) == len(list(conversion.module.parameters()))
    for module in (loaded, model):
        with torch.no_grad():
            golden.assert_same(module(given), expected, name)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(given).sum().backward()
    optimizer.step()
    weights = [part.weight for part in model.modules() if hasattr(part, "weight")]
    assert len({id(weight) for weight in weights}) == len(weights) - len(transposed)


@pytest.mark.parametrize("name", ["transpose", pytest.param(TRANSPOSED[1], marks=pytest.mark.slow)])
def test_onnx_gives_what_torch7_gave(name: str, tmp_path: Path) -> None:
    given, expected = (tm.to_torch(CASES[name][field]) for field in ("input", "output"))
    exported = tm.export_onnx(tm.convert(CASES[name]["module"]), tmp_path / "m.onnx", example_input=given)
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {session.get_inputs()[0].name: given.float().numpy()})
    golden.assert_same(torch.from_numpy(got), expected.float(), name)

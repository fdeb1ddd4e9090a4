"""Files of known architectures, which Torch7 wrote, in those of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import known
import pytest
import torch
from documents import ROOT, run_document
from golden import FIXTURES
from torch import nn

import torchmigrate as tm

pytestmark = pytest.mark.skipif(bool(known.ABSENT), reason=known.ABSENT)
FILES = FIXTURES / "match"
SIZES = {"googlenet": 64, "squeezenet": 64, "vgg_bn": 28, "alexnet": 63}
#: What is said where all weights are in place and the outputs are the same, as far as both networks go.
NOTES = {
    "vgg_bn": ["NOT the same to the end: the .t7 file ends with LogSoftMax(), which the target does not have"],
    "googlenet": [
        "the .t7 file gives 2 tensors; the target gives number 1 of them alone",
        "the target has no place for the weights of 10.2.2.1, 10.2.2.2, 10.2.4, 10.2.6, which its output does without",
    ],
}


def matched(name: str, module: nn.Module, **options: Any) -> tm.Match:
    size = SIZES.get(name, 32)
    return tm.match(tm.convert(FILES / f"{name}.t7"), module, input_shape=(1, 3, size, size), **options)


def assert_it_gives_what_torch7_gave(name: str, module: nn.Module) -> None:
    found = tm.load(FILES / f"{name}.answer.t7")
    expected = tm.to_torch(found["output"])
    output = module.eval()(tm.to_torch(found["input"]))
    if name == "vgg_bn":
        output = torch.log_softmax(output, 1)
    expected = expected[0] if name == "googlenet" else expected
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet", "vgg_bn", "alexnet", "googlenet", "squeezenet", "densenet"])
def test_it_gives_what_torch7_gave(name: str) -> None:
    module: nn.Module = getattr(known, name)()
    result = matched(name, module)
    assert result.notes == NOTES.get(name, [])
    assert result.to_the_end == (name != "vgg_bn")
    assert_it_gives_what_torch7_gave(name, module)


@pytest.mark.slow
def test_the_page_on_fine_tuning_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known.models("resnet")
    run_document(ROOT / "docs" / "fine-tune.md", tmp_path, monkeypatch)

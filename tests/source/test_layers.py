"""model.py of every golden layer: `generate` runs what it wrote and compares it bit by bit."""

from __future__ import annotations

import golden
import pytest

import torchmigrate as tm
from torchmigrate.source.generate import generate

#: Cases whose source does not follow from what their layers give on an example.
PLAIN = {
    "cuda.tensors[2]": "a Half layer is fed floats, which neither Torch7 nor PyTorch computes",
    "nn.Container[0]": "abstract: it has no forward",
    "nn.Module[0]": "abstract: it has no forward",
    "nn.PushTable[0]": "it hands its entry to a layer elsewhere",
    "nn.PushTable[1]": "it hands its entry to a layer elsewhere",
    "nn.VariableLength[5]": "its parts are given a mask of padding beside their input",
    "nn.VariableLength-2[0]": "its parts are given a mask of padding beside their input",
    "nn.RecurrentAttention[0]": "its step is given other things than its input",
    "nn.found-2[6]": "it joins entries of several ranks, which torch.cat does not take",
    "nn.SelectTable[5]": "the input is keyed by names",
    "nn.ZeroGrad[0]": "the input is nested deeper than the output says",
    "nn.ZeroGrad[1]": "the input is nested deeper than the output says",
    "nn.projects_texture_nets[8]": "it gives back its input, a table in a table",
    "nn.projects_densecap[7]": "a part of its input is empty",
    "nn.projects_regions[14]": "a part of its input is empty",
    "nn.projects_entries[3]": "it gives a table of one tensor",
    "nn.projects_opennmt[13]": "it gives a table of one tensor",
    "nn.projects_scales_and_concepts[2]": "the sizes of its scales follow from each other; its check does not say so",
    "nn.projects_scales_and_concepts[3]": "the sizes of its scales follow from each other; its check does not say so",
    "nn.projects_scales_and_concepts[4]": "it gives a table of one tensor",
}

# a criterion is called with input and target, which source does not show
ROWS = [
    pytest.param(row, id=str(row), marks=() if golden.is_sampled(row, 0) else pytest.mark.slow)
    for row in golden.layer_rows()
    if "module" in row.load()
]


@pytest.mark.parametrize("row", ROWS)
def test_layer(row: golden.Row) -> None:
    case = row.load()
    source = generate(tm.convert(case["module"]), tm.to_torch(case["input"]))
    assert bool(source.reason) is (str(row) in PLAIN), source.reason

"""Values that torchfile read can be converted too."""

from __future__ import annotations

import golden
import pytest
import torch
import torchfile

import torchmigrate as tm


@pytest.mark.parametrize("name", ["mlp_batchnorm_regression", "siamese_pairwise"])
def test_converts_what_torchfile_read(name: str) -> None:
    row = next(row for row in golden.model_rows() if row["name"] == name)
    key = None if row["key"] == "-" else row["key"]
    path = golden.MODELS / row["file"]
    theirs = tm.convert(torchfile.load(str(path)), key=key).module.state_dict()
    ours = tm.convert(path, key=key).module.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_other_values_are_refused() -> None:
    with pytest.raises(tm.UsageError, match="convert\\(\\) takes a path"):
        tm.convert(object())

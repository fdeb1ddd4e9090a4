"""One set of names: a converted module loads model.safetensors, and its own names stay those of Torch7."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import golden
import lua
import pytest
import torch
from safetensors.torch import load_file

import torchmigrate as tm


@pytest.mark.parametrize(("name", "key"), [("charrnn_checkpoint", "protos.rnn"), ("multitask_tables", None)])
def test_a_module_takes_the_tensors_of_its_folder(name: str, key: str | None, tmp_path: Path) -> None:
    conv = tm.convert(golden.MODELS / f"{name}.t7", key=key)
    conv.save(tmp_path / "out")
    state, wanted = load_file(tmp_path / "out" / "model.safetensors"), dict(conv.module.state_dict())
    assert state.keys() != wanted.keys()
    anew = tm.convert(golden.MODELS / f"{name}.t7", key=key)  # the names are found when they are needed
    numbers = [tensor.clone() for tensor in wanted.values()]
    for module in (anew.module, conv.module, tm.load_converted(tmp_path / "out"), copy.deepcopy(conv.module)):
        for tensor in module.state_dict().values():
            tensor.zero_()
        module.load_state_dict(state)
        assert all(map(torch.equal, module.state_dict().values(), numbers))
        assert module.state_dict().keys() == wanted.keys()
    pickle.loads(pickle.dumps(conv.module)).load_state_dict(state)
    conv.module.load_state_dict(conv.module.state_dict())


def test_other_names_are_refused() -> None:
    module = tm.convert(lua.sequential(lua.linear(3, 2, dtype="f4"))).module
    with pytest.raises(RuntimeError, match="Missing key"):
        module.load_state_dict({"other.weight": torch.zeros(2, 3), "other.bias": torch.zeros(2)})

"""State of recurrent layers: what lasts from one call to the next, what `forget` clears, what a file brings along."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchmigrate as tm
from torchmigrate.converters.recurrent.sequencers import Sequencer
from torchmigrate.model.recurrent_state import forget


def tensor(array: Any) -> tm.Tensor:
    return tm.Tensor.from_numpy(np.asarray(array, dtype=np.float64))


def lua(typename: str, **fields: Any) -> tm.LuaObject:
    return tm.LuaObject(typename, tm.LuaTable(fields.items()))


def listed(*values: Any) -> tm.LuaTable:
    return tm.LuaTable.from_list(values)


def linear(rows: Any) -> tm.LuaObject:
    return lua("nn.LinearNoBias", weight=tensor(rows))


def accumulator(**fields: Any) -> tm.LuaObject:
    """A Recurrence whose output is its input plus half of the output before."""
    parallel = lua("nn.ParallelTable", modules=listed(lua("nn.Identity"), linear([[0.5]])))
    step = lua("nn.Sequential", modules=listed(parallel, lua("nn.CAddTable")))
    sizes = {"outputSize": listed(1.0), "nInputDim": 1.0}
    return lua("nn.Recurrence", recurrentModule=step, modules=listed(step), **sizes, **fields)


def sequencer(remember: str = "neither", **fields: Any) -> tm.LuaObject:
    return lua("nn.Sequencer", modules=listed(accumulator(**fields)), _remember=remember, train=False)


def ones(steps: int) -> list[torch.Tensor]:
    return [torch.ones(1, 1, dtype=torch.float64) for _ in range(steps)]


def values(output: Any) -> list[float]:
    return [float(item.detach()) for item in output]


def test_a_step_goes_on_until_it_is_told_to_forget() -> None:
    module = tm.convert(accumulator()).module
    (x,) = ones(1)
    assert values([module(x), module(x)]) == [1.0, 1.5]
    forget(module)
    assert values([module(x)]) == [1.0]


def test_a_sequencer_forgets_by_itself() -> None:
    module = tm.convert(sequencer()).module
    assert values(module(ones(2))) == [1.0, 1.5]
    assert values(module(ones(2))) == [1.0, 1.5]


@pytest.mark.parametrize(("remember", "goes_on"), [("both", True), ("eval", True), ("train", False)])
def test_remember_keeps_the_state_in_its_mode(remember: str, goes_on: bool) -> None:
    module = tm.convert(sequencer(remember)).module
    module(ones(2))
    assert values(module(ones(1))) == [1.75 if goes_on else 1.0]


def test_a_change_of_mode_forgets() -> None:
    module = tm.convert(sequencer("both")).module
    module(ones(2))
    module.eval()
    assert values(module(ones(1))) == [1.75]
    module.train()
    assert values(module(ones(1))) == [1.0]


def test_no_gradient_flows_into_the_sequence_before() -> None:
    module = tm.convert(sequencer("both")).module
    first = [x.requires_grad_() for x in ones(1)]
    module(first)
    module(ones(1))[0].backward()
    assert first[0].grad is None


def test_a_file_brings_its_state_along() -> None:
    within = {"step": 3.0, "outputs": listed(tensor([[9.0]]), tensor([[4.0]]))}
    conversion = tm.convert(accumulator(**within))
    assert values([conversion.module(ones(1)[0])]) == [3.0]
    assert any("an unfinished sequence" in text for _, text in conversion.notes)
    remembering = tm.convert(sequencer("both", **within))
    assert values(remembering.module(ones(1))) == [3.0]
    forgetful = tm.convert(sequencer("neither", **within))
    assert values(forgetful.module(ones(1))) == [1.0]


def test_a_given_state_is_refused() -> None:
    with pytest.raises(tm.UnsupportedLayers, match="userPrevOutput"):
        tm.convert(accumulator(userPrevOutput=tensor([[1.0]])))


def test_a_tensor_is_a_sequence_too() -> None:
    module = tm.convert(sequencer()).module
    assert isinstance(module, Sequencer)
    assert module(torch.ones(3, 1, 1, dtype=torch.float64)).flatten().tolist() == [1.0, 1.5, 1.75]


@pytest.mark.parametrize(
    ("mode", "kind", "gates"),
    [
        ("CUDNN_LSTM", nn.LSTM, 4),
        ("CUDNN_GRU", nn.GRU, 3),
        ("CUDNN_RNN_RELU", nn.RNN, 1),
        ("CUDNN_RNN_TANH", nn.RNN, 1),
    ],
)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_cudnn_keeps_matrices_first_then_biases(
    mode: str, kind: type[nn.RNNBase], gates: int, bidirectional: bool
) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"bidirectional": bidirectional, "dtype": torch.float64}
    if kind is nn.RNN:
        options["nonlinearity"] = mode.rpartition("_")[2].lower()
    expected = kind(3, 2, 2, **options)
    parameters = [part for group in expected.all_weights for part in group]
    flat = [p for p in parameters if p.dim() == 2] + [p for p in parameters if p.dim() == 1]
    module = tm.convert(
        lua(
            "cudnn.RNN",
            mode=mode,
            weight=tensor(torch.cat([p.detach().flatten() for p in flat]).numpy()),
            inputSize=3.0,
            hiddenSize=2.0,
            numLayers=2.0,
            bidirectional="CUDNN_BIDIRECTIONAL" if bidirectional else "CUDNN_UNIDIRECTIONAL",
            batchFirst=False,
        )
    ).module
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    assert torch.equal(module(x), expected(x)[0])


def test_cudnn_skips_the_input_matrix() -> None:
    weight = np.array([2.0, 0.25, 0.5])  # recurrent matrix, both biases
    fields = {"inputSize": 1.0, "hiddenSize": 1.0, "numLayers": 1.0, "inputMode": "CUDNN_SKIP_INPUT"}
    module = tm.convert(lua("cudnn.RNNReLU", mode="CUDNN_RNN_RELU", weight=tensor(weight), **fields)).module
    assert module(torch.ones(2, 1, 1, dtype=torch.float64)).flatten().tolist() == [1.75, 5.25]


def test_cudnn_refuses_a_weight_of_another_size() -> None:
    fields = {"inputSize": 1.0, "hiddenSize": 1.0, "numLayers": 1.0}
    with pytest.raises(tm.UnsupportedLayers, match="its weight has 3 numbers, its sizes need 4"):
        tm.convert(lua("cudnn.RNNReLU", mode="CUDNN_RNN_RELU", weight=tensor([1.0, 2.0, 3.0]), **fields))


def test_a_sequence_starts_from_a_given_state(tmp_path: Any) -> None:
    parallel = lua("nn.ParallelTable", modules=listed(lua("nn.Identity"), linear([[0.5]])))
    step = lua("nn.Sequential", modules=listed(parallel, lua("nn.CAddTable")))
    cell = lua(
        "nn.GRU", recurrentModule=step, modules=listed(step), outputSize=1.0, userPrevOutput=tensor([[4.0]]), step=1.0
    )
    conversion = tm.convert(lua("nn.Sequencer", modules=listed(cell), train=False))
    conversion.save(tmp_path / "out")
    for module in (conversion.module, tm.load_converted(tmp_path / "out")):
        assert values(module(ones(2))) == [3.0, 2.5]
        assert values(module(ones(1))) == [3.0]

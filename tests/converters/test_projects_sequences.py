"""Layers of crnn, deepspeech.torch, FARNN and OpenNMT, compared with their definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lua
import numpy as np
import project_checks as checks
import pytest
import torch
from project_checks import sigmoid

import torchmigrate as tm
from torchmigrate.model.recurrent_state import forget

ENTRIES = [lua.numbers(2, 4, seed=i) for i in range(3)]  # T entries of N x D


def cell() -> tm.LuaObject:
    """[x, c, h] -> [c', h', y]: c' = sigmoid(x * h), h' = tanh(x + c + h), y = 2 h'."""
    first, hidden = lua.module("nn.SelectTable", index=1), lua.module("nn.SelectTable", index=3)
    product = lua.sequential(
        lua.module("nn.ConcatTable", modules=[first, hidden]), lua.module("nn.CMulTable"), lua.module("nn.Sigmoid")
    )
    total = lua.sequential(lua.module("nn.CAddTable"), lua.module("nn.Tanh"))
    output = lua.sequential(total, lua.module("nn.MulConstant", constant_scalar=2))
    return lua.module("nn.ConcatTable", modules=[product, total, output])


@pytest.mark.parametrize("reverse", [False, True])
def test_lstm_layer(reverse: bool, tmp_path: Path) -> None:
    made = lua.module("nn.LstmLayer", lstmUnit=cell(), nHidden=4, maxT=26, dropout=0, reverse=reverse, clones=[cell()])
    c = h = np.zeros((2, 4))
    expected: list[Any] = [None] * 3
    for t in (2, 1, 0) if reverse else (0, 1, 2):
        c, h = sigmoid(ENTRIES[t] * h), np.tanh(ENTRIES[t] + c + h)
        expected[t] = 2 * h
    checks.check(made, ENTRIES, expected, tmp_path)


def test_bi_rnn_join(tmp_path: Path) -> None:
    first, second = lua.linear(4, 3, seed=3), lua.linear(4, 3, seed=5)
    unit = lua.sequential(lua.module("nn.ParallelTable", modules=[first, second]), lua.module("nn.CAddTable"))
    made = lua.module("nn.BiRnnJoin", joinUnit=unit, maxT=26, clones=[])
    expected = [affine(first, x) + affine(second, y) for x, y in zip(ENTRIES, ENTRIES[::-1], strict=True)]
    checks.check(made, [ENTRIES, ENTRIES[::-1]], expected, tmp_path)


def affine(made: Any, x: Any) -> Any:
    bias = made.get("bias")
    return x @ made["weight"].numpy().T + (0 if bias is None else bias.numpy())


def test_shared_parallel_table(tmp_path: Path) -> None:
    linear = lua.linear(4, 3)
    made = lua.module("nn.SharedParallelTable", unit=linear, maxT=26, clones=[lua.linear(4, 3), lua.linear(4, 3)])
    checks.check(made, ENTRIES, [affine(linear, x) for x in ENTRIES], tmp_path)


def test_ctc_criterion_is_refused() -> None:
    assert "C library" in checks.refused(lua.module("nn.CtcCriterion"))


def test_batch_brnn_relu(tmp_path: Path) -> None:
    """The input of the recurrent layer is added to its gates as it is; its two directions are added up."""
    size, x = 5, lua.numbers(3, 2, 4, seed=1)
    flat = lua.numbers(2 * size * size + 4 * size, seed=2) / 3
    rnn = lua.module(
        "cudnn.RNN",
        weight=flat,
        mode="CUDNN_RNN_RELU",
        inputMode="CUDNN_SKIP_INPUT",
        bidirectional="CUDNN_BIDIRECTIONAL",
        inputSize=size,
        hiddenSize=size,
        numLayers=1,
        numDirections=2,
    )
    linear = lua.module("nn.Linear", weight=lua.numbers(size, 4, seed=3))
    mean, variance = lua.numbers(size, seed=4), np.abs(lua.numbers(size, seed=5)) + 0.5
    norm = lua.module("nn.BatchNormalization", running_mean=mean, running_var=variance, eps=0.1)
    into = lua.module("nn.View", size=[6, -1], numInputDims=3, numElements=1)
    out = lua.module("nn.View", size=[3, 2, -1], numInputDims=2, numElements=1)
    clamp = lua.module("nn.Clamp", min_val=0, max_val=20, inplace=False)
    parted = lua.module("nn.View", size=[-1, 2, size], numInputDims=2, numElements=-10)
    total = lua.module("nn.Sum", dimension=3)
    modules = [into, linear, norm, out, rnn, clamp, parted, total]
    made = lua.module("cudnn.BatchBRNNReLU", modules=modules, view_in=into, view_out=out, rnn=rnn)

    inputs = (affine(linear, x) - mean) / np.sqrt(variance + 0.1)
    expected = np.zeros((3, 2, size))
    matrices = flat[: 2 * size * size].reshape(2, size, size)
    biases = flat[2 * size * size :].reshape(2, 2, size).sum(1)
    for matrix, bias, steps in zip(matrices, biases, [(0, 1, 2), (2, 1, 0)], strict=True):
        h = np.zeros((2, size))
        for t in steps:
            h = np.maximum(inputs[t] + h @ matrix.T + bias, 0)
            expected[t] += np.minimum(h, 20)
    checks.check(made, x, expected, tmp_path)


def test_batch_normalized_lstm() -> None:
    """Only the cell is its own: here the next output and cell are both the sum of [x, output, cell]."""
    total = lua.module("nn.CAddTable")
    step = lua.module("nn.ConcatTable", modules=[total, lua.module("nn.CAddTable")])
    made = lua.module("nn.BNFastLSTM", recurrentModule=step, modules=[step], outputSize=4, inputSize=4, step=1, rho=9)
    module = checks.converted(made).module
    outputs = [module(torch.from_numpy(x)).numpy() for x in ENTRIES[:2]]
    np.testing.assert_allclose(outputs[0], ENTRIES[0])
    np.testing.assert_allclose(outputs[1], ENTRIES[1] + 2 * ENTRIES[0])


# OpenNMT


def network(typename: str, net: tm.LuaObject, **fields: Any) -> tm.LuaObject:
    return lua.module(typename, net=net, modules=[net], **fields)


def test_networks_become_what_they_hold(tmp_path: Path) -> None:
    linear = lua.linear(4, 3)
    for i, typename in enumerate(["onmt.Network", "onmt.LSTM", "onmt.GRU", "onmt.GlobalAttention", "onmt.Bridge"]):
        checks.check(network(typename, linear), ENTRIES[0], affine(linear, ENTRIES[0]), tmp_path / str(i), onnx=i == 0)


def test_word_embedding(tmp_path: Path) -> None:
    weight = lua.numbers(5, 3)
    table = lua.module("nn.LookupTable", weight=weight, paddingValue=1)
    made = network("onmt.WordEmbedding", table, preTrained="", fix=False)
    tokens = np.array([[1, 5], [3, 3]])
    module = checks.check(made, tokens, weight[tokens - 1], tmp_path)
    module(torch.from_numpy(tokens)).sum().backward()
    assert module.weight.grad[:, 0].tolist() == [0, 0, 2, 0, 1]  # padding is not trained


def test_bridge_of_no_type() -> None:
    assert tm.convert(lua.module("onmt.Bridge", modules=[])).module([torch.ones(1)]) == []


def head(size: int, seed: int) -> tm.LuaObject:
    return lua.sequential(lua.linear(4, size, seed=seed), lua.module("nn.LogSoftMax"))


def probabilities(size: int, seed: int, x: Any) -> Any:
    scores = affine(lua.linear(4, size, seed=seed), x)
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


def test_generator(tmp_path: Path) -> None:
    x, both = ENTRIES[0], lua.module("nn.ConcatTable", modules=[head(3, 1), head(5, 2)])
    expected = [probabilities(3, 1, x), probabilities(5, 2, x)]
    made = network("onmt.Generator", both)
    made.fields["version"] = 2.0
    module = checks.check(made, x, expected, tmp_path)
    np.testing.assert_allclose(module([torch.from_numpy(x)])[1].detach().numpy(), expected[1])


def test_generators_before_version_2(tmp_path: Path) -> None:
    x = ENTRIES[0]
    words = network("onmt.Generator", head(3, 1))
    expected = [probabilities(3, 1, x), probabilities(5, 2, x)]
    checks.check(words, x, expected[:1], tmp_path / "words")
    for name, first in (("nested", lua.sequential(words)), ("flat", head(3, 1))):
        made = network("onmt.FeaturesGenerator", lua.module("nn.ConcatTable", modules=[first, head(5, 2)]))
        checks.check(made, x, expected, tmp_path / name, onnx=False)


def test_join_replicate_table(tmp_path: Path) -> None:
    query, context = lua.numbers(2, 1, 4), lua.numbers(2, 3, 5, seed=1)
    expected = np.concatenate([np.repeat(query, 3, 1), context], 2)
    for i, fields in enumerate(
        [
            {"dimensionReplicate": 2, "dimensionJoin": 3},
            {"dimensionReplicate": -2, "dimensionJoin": -1},
            {"dimensionReplicate": 1, "dimensionJoin": 2, "nInputDims": 2},
        ]
    ):
        made = lua.module("onmt.JoinReplicateTable", **fields)
        checks.check(made, [query, context], expected, tmp_path / str(i))


def test_variational_dropout(tmp_path: Path) -> None:
    made = lua.module("onmt.VariationalDropout", p=0.25, noiseInit=np.zeros(1), sharedNoise=np.ones((1, 1)))
    module = checks.check(made, ENTRIES[0], ENTRIES[0], tmp_path)
    module.train()
    x = torch.ones(50, 40)
    mask = module(x)
    torch.testing.assert_close(mask.unique(), torch.tensor([0, 1 / 0.75]))
    assert 0.7 < (mask > 0).float().mean() < 0.8
    torch.testing.assert_close(module(3 * x), 3 * mask)
    forget(module)
    assert not module(x).equal(mask)


def test_parallel_class_nll_criterion() -> None:
    nll = [lua.module("nn.ClassNLLCriterion", weights=np.array([0.0, 1, 1]), sizeAverage=False) for _ in range(2)]
    made = lua.module(
        "onmt.ParallelClassNLLCriterion", criterions=nll, weights=[1, 1], repeatTarget=False, mainCriterion=nll[0]
    )
    x = [lua.numbers(2, 3), lua.numbers(2, 3, seed=1)]
    target = [np.array([1, 3]), np.array([2, 3])]
    checks.check_loss(made, x, target, -x[0][1, 2] - x[1][0, 1] - x[1][1, 2])


@pytest.mark.parametrize("typename", ["onmt.Encoder", "onmt.Decoder", "onmt.BiEncoder"])
def test_encoders_are_refused(typename: str) -> None:
    assert "network of one step" in checks.refused(lua.module(typename))

"""Layers of torch-rnn, neuraltalk2, treelstm and seq2seq-attn, compared with their definitions."""

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

SEQUENCES = lua.numbers(2, 3, 4, seed=1)  # N, T, D


def lstm_steps(made: Any, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
    """torch-rnn's LSTM: the weight is (D + H, 4H), its gates input, forget, output, candidate."""
    weight, bias = made["weight"].numpy(), made["bias"].numpy()
    size = weight.shape[1] // 4
    outputs, cells = [], []
    for t in range(x.shape[1]):
        gates = bias + np.concatenate([x[:, t], h], 1) @ weight
        i, f, o = (sigmoid(gates[:, k * size : (k + 1) * size]) for k in range(3))
        c = f * c + i * np.tanh(gates[:, 3 * size :])
        h = o * np.tanh(c)
        outputs.append(h)
        cells.append(c)
    return np.stack(outputs, 1), np.stack(cells, 1)


def lstm(inputs: int, size: int, seed: int = 5, **fields: Any) -> tm.LuaObject:
    weight = lua.numbers(inputs + size, 4 * size, seed=seed)
    bias = lua.numbers(4 * size, seed=seed + 1)
    return lua.module("nn.LSTM", input_dim=inputs, hidden_dim=size, weight=weight, bias=bias, **fields)


def test_lstm_of_torch_rnn(tmp_path: Path) -> None:
    made = lstm(4, 5, h0=np.zeros(0), c0=np.zeros(0), cell=np.zeros(0), gates=np.zeros(0), remember_states=False)
    zeros = np.zeros((2, 5))
    module = checks.check(made, SEQUENCES, lstm_steps(made, SEQUENCES, zeros, zeros)[0], tmp_path)
    h0, c0 = lua.numbers(2, 5, seed=8), lua.numbers(2, 5, seed=9)
    for given, h, c in (([h0], h0, zeros), ([c0, h0], h0, c0)):
        got = module(checks.torched([*given, SEQUENCES])).detach().numpy()
        np.testing.assert_allclose(got, lstm_steps(made, SEQUENCES, h, c)[0])


def test_lstm_of_torch_rnn_remembers(tmp_path: Path) -> None:
    made = lstm(4, 5, remember_states=True)
    module = checks.converted(made).module
    zeros = np.zeros((2, 5))
    first, cells = lstm_steps(made, SEQUENCES, zeros, zeros)
    second, _ = lstm_steps(made, SEQUENCES[:, ::-1], first[:, -1], cells[:, -1])
    np.testing.assert_allclose(module(torch.from_numpy(SEQUENCES)).detach().numpy(), first)
    module.train()  # the mode does not matter
    np.testing.assert_allclose(module(torch.from_numpy(SEQUENCES[:, ::-1].copy())).detach().numpy(), second)
    forget(module)
    np.testing.assert_allclose(module(torch.from_numpy(SEQUENCES)).detach().numpy(), first)
    # a file that was saved without clearing the state goes on from it
    states = {"h0": zeros, "c0": zeros, "output": first, "cell": cells}
    unfinished = lstm(4, 5, remember_states=True, **states)
    got = tm.convert(unfinished).module(torch.from_numpy(SEQUENCES[:, ::-1].copy()))
    np.testing.assert_allclose(got.detach().numpy(), second)


def test_vanilla_rnn(tmp_path: Path) -> None:
    weight, bias = lua.numbers(4 + 5, 5, seed=2), lua.numbers(5, seed=3)
    fields = {"input_dim": 4, "hidden_dim": 5, "weight": weight, "bias": bias, "h0": np.zeros(0)}

    def steps(h: Any) -> Any:
        outputs = []
        for t in range(3):
            h = np.tanh(np.concatenate([SEQUENCES[:, t], h], 1) @ weight + bias)
            outputs.append(h)
        return np.stack(outputs, 1)

    made = lua.module("nn.VanillaRNN", remember_states=False, **fields)
    first = steps(np.zeros((2, 5)))
    module = checks.check(made, SEQUENCES, first, tmp_path)
    h0 = lua.numbers(2, 5, seed=4)
    np.testing.assert_allclose(module(checks.torched([h0, SEQUENCES])).detach().numpy(), steps(h0))
    module = checks.converted(lua.module("nn.VanillaRNN", remember_states=True, **fields)).module
    x = torch.from_numpy(SEQUENCES)
    np.testing.assert_allclose(module(x).detach().numpy(), first)
    np.testing.assert_allclose(module(x).detach().numpy(), steps(first[:, -1]))


def view(*size: int, dims: int) -> tm.LuaObject:
    return lua.module("nn.View", size=list(size), numInputDims=dims, numElements=1)


def batch_norm(features: int, seed: int) -> tm.LuaObject:
    weight, bias, mean = (lua.numbers(features, seed=seed + i) for i in range(3))
    variance = np.abs(lua.numbers(features, seed=seed + 3)) + 0.5
    return lua.module(
        "nn.BatchNormalization", weight=weight, bias=bias, running_mean=mean, running_var=variance, eps=1e-5
    )


def normalized(made: Any, x: Any) -> Any:
    weight, bias, mean, variance = (made[k].numpy() for k in ("weight", "bias", "running_mean", "running_var"))
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def affine(made: Any, x: Any) -> Any:
    bias = made.get("bias")
    return x @ made["weight"].numpy().T + (0 if bias is None else bias.numpy())


def test_language_model_of_torch_rnn(tmp_path: Path) -> None:
    table = lua.module("nn.LookupTable", weight=lua.numbers(6, 4, seed=3))
    rnn, norm = lstm(4, 5, remember_states=True), batch_norm(5, seed=20)
    # the views hold the sizes of the last input
    views = [view(8, -1, dims=3), view(4, 2, -1, dims=2), view(8, -1, dims=3), view(4, 2, -1, dims=2)]
    linear = lua.linear(5, 6, seed=7)
    dropout = lua.module("nn.Dropout", p=0.5, v2=True)
    made = lua.module(
        "nn.LanguageModel",
        net=lua.sequential(table, rnn, views[0], norm, views[1], dropout, views[2], linear, views[3]),
        rnns=[rnn],
        bn_view_in=[views[0]],
        bn_view_out=[views[1]],
        view1=views[2],
        view2=views[3],
        idx_to_token={1: "a", 2: "b"},
        token_to_idx={"a": 1, "b": 2},
        vocab_size=6,
        model_type="lstm",
        wordvec_dim=4,
        rnn_size=5,
        num_layers=1,
        dropout=0.5,
        batchnorm=1,
    )
    tokens = np.array([[1, 6, 3], [2, 2, 5]])
    zeros = np.zeros((2, 5))
    hidden, _ = lstm_steps(rnn, table["weight"].numpy()[tokens - 1], zeros, zeros)
    expected = affine(linear, normalized(norm, hidden))
    module = checks.check(made, tokens, expected, tmp_path)
    forget(module)
    parts = [module(torch.from_numpy(tokens[:, :1])), module(torch.from_numpy(tokens[:, 1:]))]
    np.testing.assert_allclose(torch.cat(parts, 1).detach().numpy(), expected)


def test_temporal_adapter(tmp_path: Path) -> None:
    linear, into, out = lua.linear(4, 6), view(1, -1, dims=3), view(1, -1, dims=2)
    made = lua.module("nn.TemporalAdapter", view_in=into, view_out=out, net=lua.sequential(into, linear, out))
    checks.check(made, SEQUENCES, affine(linear, SEQUENCES), tmp_path)


@pytest.mark.parametrize(("batch", "time"), [(True, False), (False, True), (True, True)])
def test_temporal_cross_entropy(batch: bool, time: bool) -> None:
    target = np.array([[1, 0, 4], [0, 2, 2]])
    log = SEQUENCES - np.log(np.exp(SEQUENCES).sum(2, keepdims=True))
    loss = -sum(log[n, t, target[n, t] - 1] for n in range(2) for t in range(3) if target[n, t])
    made = lua.module("nn.TemporalCrossEntropyCriterion", batch_average=batch, time_average=time)
    checks.check_loss(made, SEQUENCES, target, loss / (2 if batch else 1) / (3 if time else 1))


def caption_core(size: int = 4) -> tm.LuaObject:
    """As the graph would: [x, c, h] -> [c', h', log probabilities], of modules with several outputs."""
    first = lua.module("nn.SelectTable", index=1)
    hidden = lua.module("nn.SelectTable", index=3)
    mixed = lua.sequential(lua.module("nn.CAddTable"), lua.module("nn.Tanh"))
    scores = lua.sequential(mixed, lua.linear(size, 8, seed=6), lua.module("nn.LogSoftMax"))
    cell = lua.sequential(
        lua.module("nn.ConcatTable", modules=[first, hidden]), lua.module("nn.CMulTable"), lua.module("nn.Sigmoid")
    )
    return lua.module("nn.ConcatTable", modules=[cell, mixed, scores])


def test_language_model_of_neuraltalk2(tmp_path: Path) -> None:
    table = lua.module("nn.LookupTable", weight=lua.numbers(8, 4, seed=3))
    made = lua.module(
        "nn.LanguageModel",
        core=caption_core(),
        lookup_table=table,
        vocab_size=7,
        input_encoding_size=4,
        rnn_size=4,
        num_layers=1,
        seq_length=3,
        init_state=[np.zeros((1, 4))] * 2,
        num_state=2,
    )
    images, tokens = lua.numbers(2, 4, seed=9), np.array([[3, 5], [7, 2], [1, 0]])
    words, scores = table["weight"].numpy(), lua.linear(4, 8, seed=6)
    c = h = np.zeros((2, 4))
    expected = []
    for x in [images, words[[7, 7]], words[[2, 4]], words[[6, 1]], words[[0, 0]]]:
        c, h = sigmoid(x * h), np.tanh(x + c + h)
        z = affine(scores, h)
        expected.append(z - np.log(np.exp(z).sum(1, keepdims=True)))
    checks.check(made, [images, tokens], np.stack(expected), tmp_path, onnx=False)


def test_language_model_of_neither_is_refused() -> None:
    assert "neither torch-rnn's" in checks.refused(lua.module("nn.LanguageModel", vocab_size=7))


@pytest.mark.parametrize("times", [1, 3])
def test_feat_expander(times: int, tmp_path: Path) -> None:
    x = lua.numbers(2, 4)
    checks.check(lua.module("nn.FeatExpander", n=times), x, np.repeat(x, times, 0), tmp_path)


def test_language_model_criterion() -> None:
    scores = lua.numbers(5, 3, 7, seed=2)
    tokens = np.array([[3, 1, 5], [6, 0, 2], [0, 0, 4]])  # sentences of 2, 1 and 3 words
    wanted = [(1, 0, 3), (2, 0, 6), (3, 0, 7), (1, 1, 1), (2, 1, 7), (1, 2, 5), (2, 2, 2), (3, 2, 4), (4, 2, 7)]
    loss = -sum(scores[t, n, k - 1] for t, n, k in wanted) / len(wanted)
    checks.check_loss(lua.module("nn.LanguageModelCriterion"), scores, tokens, loss)


def test_row_add_table(tmp_path: Path) -> None:
    x, row = lua.numbers(3, 4), lua.numbers(4, seed=1)
    checks.check(lua.module("treelstm.CRowAddTable"), [x, row], x + row, tmp_path, onnx=False)


def test_linear_no_bias_of_seq2seq_attn(tmp_path: Path) -> None:
    weight, x = lua.numbers(3, 4), lua.numbers(2, 4, seed=1)
    checks.check(lua.module("nn.LinearNoBias", weight=weight, gradWeight=weight), x, x @ weight.T, tmp_path)

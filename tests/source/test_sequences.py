"""Networks of package rnn's own examples: as short as by hand, on nn.LSTM, with Torch7's numbers."""

from __future__ import annotations

from pathlib import Path

import golden
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import torchmigrate as tm
from torchmigrate.base.tensor_trees import leaves
from torchmigrate.model.recurrent_state import forget
from torchmigrate.source.check import instance
from torchmigrate.source.generate import generate

#: File -> the most lines of its source, and what must stand in it.
ROWS = {
    "remembers": (50, "self.lstm = StatefulLSTM(5, 5, num_layers=2, dropout=0.5)"),
    "forgets": (32, "self.lstm = nn.LSTM(5, 5, num_layers=3, dropout=0.3)"),
    "unequal": (55, "self.layers = nn.Sequential(StatefulLSTM(5, 5), StatefulLSTM(5, 4))"),
    "both_ways": (32, "self.lstm2 = nn.LSTM(10, 4, bidirectional=True)"),
    "last": (30, "return self.layers(x[-1])"),
    "language_both_ways": (40, "x, _ = self.lstm1(torch.stack(xs[:-1]))"),
}
SLOW = ("unequal", "last")

#: The same of networks whose cells are written out.
CELLS = {
    "gru_remembers": (80, "self.gru = StatefulGRU(GRUCell())"),
    "lstm_remembers": (105, "self.lstm = StatefulCellLSTM(LSTMCell())"),
    "simple_remembers": (90, "self.rnn = StatefulRNN(nn.Linear(4, 5), Add([5]), nn.Linear(5, 5), nn.Sigmoid())"),
    "simple_forgets": (76, "self.rnn = SimpleRNN(nn.Linear(4, 5), Add([5]), nn.Linear(5, 5), nn.Sigmoid())"),
}


def joined(value: object) -> torch.Tensor:
    return torch.cat([tensor for _, tensor in leaves(value)])


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in ROWS])
def test_a_network_of_steps_is_written_with_nn_lstm(name: str, tmp_path: Path) -> None:
    lines, shown = ROWS[name]
    found = tm.load(golden.FIXTURES / "sequenced" / f"{name}.t7")
    x = tm.to_torch(found["input"])
    conversion = tm.convert(found["module"])
    conversion.save(tmp_path / "out", example=x)
    text = (tmp_path / "out" / "model.py").read_text()
    assert shown in text
    assert len(text.splitlines()) <= lines
    state = load_file(tmp_path / "out" / "model.safetensors")
    conversion.module.load_state_dict(state)
    model = instance(text, state)
    assert {type(part) for part in model.modules() if "LSTM" in type(part).__name__} <= {
        *nn.LSTM.__subclasses__(),
        nn.LSTM,
    }
    for torch7 in tm.to_torch(found["outputs"]):
        ours, written = joined(conversion.module(x)), joined(model(x))
        assert torch.equal(ours, written)
        torch.testing.assert_close(ours, torch7, atol=1e-5, rtol=1e-4)
    forget(conversion.module)
    joined(conversion.module(x)).square().sum().backward()
    model = instance(text, state).requires_grad_()
    joined(model(x)).square().sum().backward()
    gradients = dict(conversion.module.named_parameters())
    names = conversion.module.__dict__["names_in_file"].names
    theirs = dict(model.named_parameters())
    for place, parameter in gradients.items():
        torch.testing.assert_close(parameter.grad, theirs[names[place]].grad, atol=0, rtol=0)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name[0] == "s")) for name in CELLS])
def test_cells_that_remember_do_what_torch7_did_at_each_call(name: str) -> None:
    """Then in training, and in evaluation again, where nothing is left of the state before."""
    lines, shown = CELLS[name]
    found = tm.load(golden.FIXTURES / "sequenced" / f"{name}.t7")
    x = tm.to_torch(found["input"])
    conversion = tm.convert(found["module"])
    source = generate(conversion, x)
    assert shown in source.text.replace(",\n            ", ", ")
    assert source.text.count("\n") <= lines
    model = instance(source.text, source.state)
    for torch7 in tm.to_torch(found["outputs"]):
        ours, written = joined(conversion.module(x)), joined(model(x))
        assert torch.equal(ours, written)
        torch.testing.assert_close(ours, torch7, atol=1e-5, rtol=1e-4)
    for training in (True, False):
        for part in (*conversion.module.modules(), *model.modules()):
            if isinstance(part, nn.Dropout):
                part.p = 0.0  # the two draw in another order
        conversion.module.train(training)
        model.train(training)
        for length in (5, 2):
            assert torch.equal(joined(conversion.module(x[:length])), joined(model(x[:length])))

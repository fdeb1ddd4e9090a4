"""Exports with the states of recurrent layers as inputs and outputs, run call after call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest
import torch

import torchmigrate as tm
from torchmigrate.base.errors import GraphDiffers, UsageError
from torchmigrate.base.tensor_trees import leaves
from torchmigrate.cli.main import _run
from torchmigrate.onnx.operators import recurrent
from torchmigrate.onnx.runtime import open_session
from torchmigrate.parity.runs.onnx_runtime import OnnxRuntime


def sequenced(name: str) -> tuple[tm.Conversion, Any, list[Any]]:
    """A network of fixtures/sequenced, its input, and what Torch7 answered at each call."""
    found = tm.load(golden.FIXTURES / "sequenced" / f"{name}.t7")
    return tm.convert(found["module"]), tm.to_torch(found["input"]), tm.to_torch(found["outputs"])


def layer(name: str, case: int) -> tuple[tm.Conversion, Any]:
    """A golden case of a layer and its input."""
    found = tm.load(golden.FIXTURES / "layers" / f"{name}.t7")[case]
    return tm.convert(found["module"]), tm.to_torch(found["input"])


class Runs:
    """An exported file, run call after call from the states that it gave before."""

    def __init__(self, file: Path) -> None:
        self.session = open_session(file)
        self.states = json.loads(self.session.get_modelmeta().custom_metadata_map["torchmigrate.states"])
        self.first = {"is_first": np.array([1])} if "is_first" in self._inputs() else {}
        self.fed: dict[str, Any] = {}

    def _inputs(self) -> dict[str, Any]:
        return {value.name: value.shape for value in self.session.get_inputs()}

    def __call__(self, x: Any, batch: int) -> list[Any]:
        """What the model gives, without the states."""
        for one in self.states:
            sizes = [size if isinstance(size, int) else batch for size in self._inputs()[one["input"]]]
            self.fed.setdefault(one["input"], np.zeros(sizes, np.float32))
        own = [name for name in self._inputs() if name not in self.fed and name not in self.first]
        feeds = dict(zip(own, [tensor.numpy() for _, tensor in leaves(x)], strict=True))
        names = [value.name for value in self.session.get_outputs()]
        got = dict(zip(names, self.session.run(names, {**feeds, **self.fed, **self.first}), strict=True))
        self.first = {name: np.array([0]) for name in self.first}
        self.fed = {one["input"]: got.pop(one["output"]) for one in self.states}
        return list(got.values())


@pytest.mark.parametrize("name", ["remembers", pytest.param("unequal", marks=pytest.mark.slow)])
def test_calls_go_on_as_in_torch7(name: str, tmp_path: Path) -> None:
    conversion, x, outputs = sequenced(name)
    exported = tm.export_onnx(conversion, tmp_path / "m.onnx", example_input=x, stateful=True)
    runs = Runs(exported.path)
    assert not np.allclose(*(torch7.numpy() for torch7 in outputs), atol=1e-3)
    for torch7 in outputs:
        got = np.concatenate([part.reshape(-1) for part in runs(x.long(), 3)])
        np.testing.assert_allclose(got, torch7.numpy().reshape(-1), rtol=1e-5, atol=1e-6)
    first = [part for _, part in leaves(OnnxRuntime(exported.path).outputs(conversion, x))]  # as `verify` asks it
    torch.testing.assert_close(torch.cat(first), outputs[0].reshape(-1, 11), rtol=1e-5, atol=1e-6)
    states = ["lstm1_h", "lstm1_c", "lstm2_h", "lstm2_c"]
    assert list(exported.inputs) == ["input", *(f"{name}_in" for name in states)]
    assert list(exported.outputs)[-4:] == [f"{name}_out" for name in states]
    assert all(sizes[0] == "batch" for name, sizes in exported.inputs.items() if name.endswith("_in"))
    assert exported.notes[-1].endswith(
        "lstm2_c_in -> lstm2_c_out; give zeros in the first run, and in each later run what the run before gave"
    )
    assert exported.to_json()["states"][0] == {"input": "lstm1_h_in", "output": "lstm1_h_out", "layer": "3.1.1.1"}


@pytest.mark.slow
def test_a_first_step_that_is_not_one_from_zeros_is_asked_for(tmp_path: Path) -> None:
    conversion, x, outputs = sequenced("begins")
    exported = tm.export_onnx(conversion, tmp_path / "m.onnx", example_input=x, stateful=True)
    assert exported.inputs == {"input": (5, "batch"), "rnn1_h_in": ("batch", 5), "is_first": (1,)}
    assert exported.notes[-1] == (
        "states: rnn1_h_in -> rnn1_h_out; give is_first 1, for which no state is read, in the first run, and in each "
        "later run is_first 0 and what the run before gave"
    )
    runs = Runs(exported.path)
    runs.fed["rnn1_h_in"] = np.full((3, 5), 9, np.float32)
    for torch7 in outputs:
        got = np.concatenate(runs(x.long(), 3))
        np.testing.assert_allclose(got, torch7.numpy().reshape(-1, 11), rtol=1e-5, atol=1e-6)
    wrong = Runs(exported.path)
    wrong.first = {"is_first": np.array([0])}
    got = np.concatenate(wrong(x.long(), 3))
    assert not np.allclose(got, outputs[0].numpy().reshape(-1, 11), atol=1e-3)
    first = [part for _, part in leaves(OnnxRuntime(exported.path).outputs(conversion, x))]  # as `verify` asks it
    torch.testing.assert_close(torch.cat(first), outputs[0].reshape(-1, 11), rtol=1e-5, atol=1e-6)


def test_text_is_read_as_torch7_read_it(tmp_path: Path) -> None:
    found = tm.load(golden.FIXTURES / "sequenced" / "sampled_text.t7")
    conversion = tm.convert(found, key="model")
    exported = tm.export_onnx(
        conversion, tmp_path / "m.onnx", input_shape=(1, 1), stateful=True, dynamic=("batch", "time")
    )
    assert exported.inputs == {
        "input": ("time", "batch"),
        "lstm1_h_in": ("batch", 9),
        "lstm1_c_in": ("batch", 9),
        "gru1_h_in": ("batch", 8),
    }
    indices = [int(found["vocab"][character]) for character in found["text"]]
    wanted = tm.to_torch(found["scores"]).numpy()
    step = Runs(exported.path)
    got = [step(torch.tensor([[index]]), 1)[0][-1] for index in indices[:40]]
    np.testing.assert_allclose(np.concatenate(got), wanted, rtol=1e-5, atol=1e-5)
    assert [int(row.argmax()) + 1 for row in got] == indices[1:]
    both = Runs(exported.path)  # several steps in one call, of two texts
    parts = [torch.tensor([indices[:7]] * 2).T, torch.tensor([indices[7:12]] * 2).T]
    scores = np.concatenate([both(part, 2)[0] for part in parts])
    np.testing.assert_allclose(scores[:, 1], wanted[:12], rtol=1e-5, atol=1e-5)


def test_a_model_without_state_is_told_so(tmp_path: Path) -> None:
    conversion, x, _ = sequenced("forgets")
    with pytest.raises(UsageError, match="keeps no state from one call to the next"):
        tm.export_onnx(conversion, tmp_path / "m.onnx", example_input=x, stateful=True)
    assert not list(tmp_path.iterdir())


def test_a_lost_state_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: a graph that gives back the states that it was given."""
    monkeypatch.setattr("torchmigrate.onnx.operators.cells.like", give_back)
    conversion, x, _ = sequenced("remembers")
    with pytest.raises(GraphDiffers, match="lstm1_h_out"):
        tm.export_onnx(conversion, tmp_path / "m.onnx", example_input=x, stateful=True)
    assert not list(tmp_path.iterdir())


def give_back(state: Any, tensors: list[torch.Tensor]) -> Any:
    return recurrent.like(state, [tensor + 0.0 for tensor in state])


@pytest.mark.slow
def test_the_command_says_which_states_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(golden.FIXTURES / "sequenced" / "remembers.t7"), "--key", "module", "--stateful"]
    assert _run([*words, "-o", str(tmp_path / "m.onnx")]) == 0
    printed = capsys.readouterr().out
    assert "lstm2_c_in: batchx5\n" in printed
    assert "states: lstm1_h_in -> lstm1_h_out, lstm1_c_in -> lstm1_c_out" in " ".join(printed.split())
    assert _run([*words, "-o", str(tmp_path / "again.onnx"), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["states"][0] == {"input": "lstm1_h_in", "output": "lstm1_h_out", "layer": "3.1.1.1"}
    assert made["inputs"]["lstm1_h_in"] == ["batch", 5]
    words = ["export", str(golden.FIXTURES / "sequenced" / "forgets.t7"), "--key", "module", "--stateful"]
    assert _run([*words, "-o", str(tmp_path / "none.onnx")]) == 2
    assert "keeps no state from one call to the next" in capsys.readouterr().err
    assert not (tmp_path / "none.onnx").exists()


@pytest.mark.slow
def test_convert_writes_such_a_file_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = str(golden.FIXTURES / "sequenced" / "begins.t7"), tmp_path / "made"
    words = ["convert", file, "--key", "module", "--stateful", "--input-shape", "5x3"]
    assert _run([*words, "-o", str(folder)]) == 0
    assert "ONNX: states: rnn1_h_in -> rnn1_h_out; give is_first 1," in " ".join(capsys.readouterr().out.split())
    card = (folder / "README.md").read_text("utf-8")
    assert "Give it `is_first` 1, for which no state is read, in the first run, and in each later run" in card
    assert "| `rnn1_h_in` | `rnn1_h_out` | `3.1` |" in card
    _, x, outputs = sequenced("begins")
    got = np.concatenate(Runs(folder / "model.onnx")(x.long(), 3))
    np.testing.assert_allclose(got, outputs[0].numpy().reshape(-1, 11), rtol=1e-5, atol=1e-6)
    assert _run(["verify", str(folder), "--reference", "self", "--json"]) == 0
    backends = json.loads(capsys.readouterr().out)["backends"]
    assert [one["status"] for one in backends if one["backend"].startswith("onnxruntime")] == ["passed"]
    assert _run([*words, "-o", str(tmp_path / "no"), "--no-onnx"]) == 2
    assert "--stateful is of model.onnx, which --no-onnx" in capsys.readouterr().err
    words = ["convert", file.replace("begins", "forgets"), "--key", "module", "--stateful", "-o", str(tmp_path / "no")]
    assert _run(words) == 2
    assert "keeps no state from one call to the next" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()

"""References from elsewhere: a Torch7 that is asked, runs saved on another machine, folders, files of input."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import golden
import lua
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import torchmigrate as tm
from torchmigrate.base.folder_files import MARKER
from torchmigrate.cli import main as cli
from torchmigrate.folder.verify_folder import VerifyOptions, by_place, verify_path
from torchmigrate.parity.reference_numbers import Gradients, Reference
from torchmigrate.parity.references.input_files import read_inputs

UNET = golden.MODELS / "unet_nngraph.t7"


def model() -> tm.LuaObject:
    return lua.sequential(lua.linear(7, 5, dtype="f4"), lua.module("nn.Tanh"), lua.linear(5, 3, seed=4, dtype="f4"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tm.dump(model(), tmp_path / "model.t7")
    return tmp_path / "model.t7"


def fake_torch7(folder: Path, text: str) -> Path:
    """A command that stands for `th`; $1 is the script, $3 the file to write."""
    command = folder / "th"
    command.write_text(f"#!/bin/sh\n{text}\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return command


def test_a_live_torch7_is_asked(tmp_path: Path) -> None:
    reference = golden.MODELS / "unet_nngraph.reference.t7"
    command = fake_torch7(tmp_path, f'echo "$@" > {tmp_path}/words; cp {reference} "$3"')
    report = tm.verify(
        tm.convert(UNET), torch7=str(command), model_file=UNET, input_shape=(2, 1, 24, 32), gradients=True, batches=()
    )
    assert report, report.summary()
    assert (report.reference.kind, report.verdict.level) == ("live", "passed")
    words = (tmp_path / "words").read_text().split()
    assert words[1] == str(UNET)
    assert {"--input", "--layers", "--grad", "--cpu"} <= set(words)
    assert report.backends[0].gradients


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("echo 'unknown class <my.Layer>' >&2; exit 1", r"exit code 1.*my\.Layer"),
        ("true", "wrote no reference"),
    ],
)
def test_a_torch7_that_fails_says_why(tmp_path: Path, file: Path, text: str, match: str) -> None:
    command = fake_torch7(tmp_path, text)
    with pytest.raises(tm.UsageError, match=match):
        tm.verify(tm.convert(file), torch7=str(command), model_file=file, input_shape=(2, 7))


def test_a_torch7_that_is_not_there(file: Path) -> None:
    with pytest.raises(tm.UsageError, match="no command 'no-such-th'"):
        tm.verify(tm.convert(file), torch7="no-such-th", model_file=file, input_shape=(2, 7))


def test_references_exclude_each_other(file: Path) -> None:
    with pytest.raises(tm.UsageError, match="--reference and --torch7 exclude"):
        tm.verify(tm.convert(file), reference="self", torch7="th", model_file=file)


def test_gradients_are_those_of_torch7() -> None:
    report = tm.verify(
        tm.convert(UNET),
        reference=golden.MODELS / "unet_nngraph.reference.t7",
        gradients=True,
        layers=False,
        batches=(),
    )
    found = report.backends[0].gradients
    assert {result.field for result in found} == {"gradInput", "weight", "bias"}
    assert len(found) > 40
    assert all(result.difference is not None and result.difference.passed for result in found)


def test_a_wrong_gradient_fails(tmp_path: Path) -> None:
    value = tm.load(golden.MODELS / "unet_nngraph.reference.t7")
    entry = value["gradParameters"].list()[3]
    name = next(key for key, item in entry.items() if isinstance(item, tm.Tensor))
    numbers = np.array(entry[name].numpy())
    numbers.reshape(-1)[0] *= 1.01
    entry[name] = tm.Tensor.from_numpy(numbers)
    tm.dump(value, tmp_path / "wrong.t7")
    report = tm.verify(
        tm.convert(UNET), reference=tmp_path / "wrong.t7", gradients=True, layers=False, batches=(), devices=["cpu"]
    )
    assert not report
    assert f"{name} of {entry['class']} at {entry['path']}" in report.backends[0].reason


@pytest.mark.parametrize(("bias", "entry"), [(3e-8, 1), (0.5, 0), (0.5, 1)], ids=["at the edge", "wrong", "wrong too"])
def test_a_gradient_at_an_edge_is_not_called_wrong(bias: float, entry: int) -> None:
    """Before a ReLU that gets 3e-8, Torch7's rounding may have sent the gradient the other way; before 0.5 it can't."""
    weight, biases = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0]]), torch.tensor([0.0, bias])
    first, last = lua.linear(3, 2, dtype="f4"), lua.linear(2, 4, dtype="f4")
    first.fields["weight"], first.fields["bias"] = (tm.Tensor.from_numpy(t.numpy()) for t in (weight, biases))
    relu = lua.module("nn.ReLU", threshold=0, val=0, inplace=False)
    x = torch.ones(2, 3)
    upper = torch.from_numpy(np.array(last["weight"].numpy()))
    output = (x @ weight.T + biases).relu() @ upper.T + torch.from_numpy(np.array(last["bias"].numpy()))
    hidden = torch.ones_like(output) @ upper
    hidden[:, entry] = 0.0
    gradients = Gradients(torch.ones_like(output), hidden @ weight, ())
    reference = Reference("dump", "", x, output, torch.float32, gradients=gradients)
    conversion = tm.convert(lua.sequential(first, relu, last))
    report = tm.verify(conversion, reference=reference, gradients=True, layers=False, batches=())
    (found,) = report.backends[0].gradients
    at_edge = bias < 1e-6
    assert bool(report) == at_edge
    assert (found.difference is None) == at_edge
    assert ("an edge of a ReLU" in found.remark) == at_edge
    assert any("1 of 1 gradients could not be judged" in limit for limit in report.verdict.limits) == at_edge


@pytest.mark.parametrize(
    ("reference", "devices", "match"),
    [("self", ["cpu"], "the reference has none"), ("dump", ["cuda:7"], "where PyTorch runs on the CPU")],
)
def test_gradients_that_were_not_compared_are_missed(
    reference: str, devices: list[str], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchmigrate.parity.verify.verify.require_devices", list)  # as if there was such a GPU
    file = golden.MODELS / "unet_nngraph.reference.t7" if reference == "dump" else "self"
    report = tm.verify(
        tm.convert(UNET), reference=file, gradients=True, layers=False, batches=(), devices=devices, seed=5
    )
    (limit,) = [limit for limit in report.verdict.limits if limit.startswith("Gradients were asked for")]
    assert match in limit
    assert report.command.endswith("--no-layers --gradients")
    assert "--seed 5" in report.command


def test_classes_of_the_users_own_are_loaded_first(tmp_path: Path) -> None:
    reference = golden.MODELS / "unet_nngraph.reference.t7"
    command = fake_torch7(tmp_path, f'echo "$@" > {tmp_path}/words; cp {reference} "$3"')
    options = VerifyOptions(
        torch7=str(command), require=["lib/mine.lua", "other"], input_shape="2x1x24x32", layers=False
    )
    report = verify_path(UNET, options).report
    assert (tmp_path / "words").read_text().split()[-4:] == ["--require", "lib/mine.lua", "--require", "other"]
    assert "--torch7 th --require mine.lua --require other" in report.command
    assert not any(str(tmp_path) in note for note in report.reference.notes), "no folder of this machine"
    with pytest.raises(tm.UsageError, match="--torch7"):
        verify_path(UNET, VerifyOptions(require=["lib/mine.lua"]))


def test_a_saved_run_is_compared_elsewhere(file: Path, tmp_path: Path) -> None:
    saved = tmp_path / "cpu.npz"
    first = verify_path(file, VerifyOptions(input_shape="2x7", save_run=saved))
    assert first.saved == saved
    assert set(np.load(saved).files) >= {"input", "output", "layer/0"}
    report = verify_path(file, VerifyOptions(compare_run=saved)).report
    assert report
    assert (report.reference.kind, report.verdict.level) == ("run", "rounding")
    assert [layer.path for layer in report.backends[0].layers] == ["1", "2", "3", ""]
    assert "NOT" in report.verdict.title


def test_a_run_of_another_model_is_refused(file: Path, tmp_path: Path) -> None:
    verify_path(file, VerifyOptions(input_shape="2x7", save_run=tmp_path / "cpu.npz"))
    tm.dump(lua.sequential(lua.linear(7, 5)), tmp_path / "other.t7")
    with pytest.raises(tm.UsageError, match="another model"):
        verify_path(tmp_path / "other.t7", VerifyOptions(compare_run=tmp_path / "cpu.npz"))
    np.savez(tmp_path / "any.npz", a=np.zeros(2))
    with pytest.raises(tm.UsageError, match="no run"):
        verify_path(file, VerifyOptions(compare_run=tmp_path / "any.npz"))


@pytest.mark.parametrize("name", ["textcnn", "multitask_tables"])
def test_a_folder_is_verified_without_its_file(name: str, tmp_path: Path) -> None:
    conversion = tm.convert(golden.MODELS / f"{name}.t7")
    reference = golden.MODELS / f"{name}.reference.t7"
    conversion.save(tmp_path / "out")
    tm.verify(conversion, reference=reference, layers=False, batches=()).write(tmp_path / "out")
    alone = verify_path(tmp_path / "out", VerifyOptions()).report
    assert alone, alone.summary()
    assert alone.reference.kind == "self"
    against = verify_path(tmp_path / "out", VerifyOptions(reference=str(reference))).report
    assert against, against.summary()
    assert against.verdict.level == "passed"
    assert sum(layer.own is not None for layer in against.backends[0].layers) > 20


@pytest.mark.slow
def test_the_smallest_part_that_fails_is_written_and_fails_alone(tmp_path: Path) -> None:
    right = tm.convert(model())
    value = torch.linspace(-1, 1, 14).reshape(2, 7)
    x, layers = value, []
    for i, layer in enumerate(right.module, 1):  # type: ignore[arg-type, unused-ignore]
        x = layer(x).detach()
        typename = right.layers[i].typename
        layers.append({"path": str(i), "class": typename, "call": 1, "output": x.numpy()})
    tm.dump(lua.value({"input": value.numpy(), "output": x.numpy(), "layers": layers}), tmp_path / "ref.t7")
    wrong = model()
    weight = np.array(wrong["modules"][3.0]["weight"].numpy())
    weight[1, 2] += 1e-3
    wrong["modules"][3.0].fields["weight"] = tm.Tensor.from_numpy(weight)
    tm.dump(wrong, tmp_path / "wrong.t7")
    folder = tmp_path / "failing"
    with pytest.raises(SystemExit) as stopped:
        cli.main(["verify", *map(str, [tmp_path / "wrong.t7", "--reference", tmp_path / "ref.t7", "--bisect", folder])])
    assert stopped.value.code == 1
    assert sorted(path.name for path in folder.iterdir()) == [MARKER, "case.t7", "module.t7", "reproduce.py"]
    assert tm.load(folder / "module.t7").typename == "nn.Linear"
    case = tm.to_torch(tm.load(folder / "case.t7"))
    torch.testing.assert_close(case["input"], torch.from_numpy(layers[1]["output"]), rtol=0, atol=0)
    done = subprocess.run([sys.executable, str(folder / "reproduce.py")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "FAILED"), done.stderr
    tm.dump(model()["modules"][3.0], folder / "module.t7")
    done = subprocess.run([sys.executable, str(folder / "reproduce.py")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "PASSED"), done.stderr


def test_where_nothing_fails_nothing_is_written(file: Path, tmp_path: Path) -> None:
    assert verify_path(file, VerifyOptions(input_shape="2x7", bisect=tmp_path / "none")).reproduction is None
    assert not (tmp_path / "none").exists()


def write_input(path: Path, value: np.ndarray) -> None:
    if path.suffix == ".t7":
        tm.dump(lua.value(value), path)
    elif path.suffix == ".npy":
        np.save(path, value)
    elif path.suffix == ".npz":
        np.savez(path, only=value)
    else:
        save_file({"only": torch.from_numpy(value)}, path)


@pytest.mark.parametrize("suffix", ["t7", "npy", "npz", "safetensors"])
def test_input_from_a_file(file: Path, tmp_path: Path, suffix: str) -> None:
    value = lua.numbers(3, 7, dtype="f4")
    write_input(tmp_path / f"x.{suffix}", value)
    report = verify_path(file, VerifyOptions(input=[tmp_path / f"x.{suffix}"])).report
    torch.testing.assert_close(report.reference.input, torch.from_numpy(value), rtol=0, atol=0)
    assert any(f"x.{suffix}" in note for note in report.reference.notes)
    assert report


def test_several_inputs_make_a_table(file: Path, tmp_path: Path) -> None:
    for name, size in (("a.npy", 2), ("b.npy", 3)):
        np.save(tmp_path / name, np.zeros((size, 4)))
    value = read_inputs([tmp_path / "a.npy", tmp_path / "b.npy"], tm.convert(file)).value
    assert [tuple(tensor.shape) for tensor in value] == [(2, 4), (3, 4)]


def picture(folder: Path) -> Path:
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[1, 2, 2] = 255, 51, 102
    Image.fromarray(pixels).save(folder / "x.png")
    return folder / "x.png"


@pytest.mark.parametrize(
    ("found", "mean", "std", "expected", "last"),
    [
        (None, (0.0,), (1.0,), (1.0, 0.2), 0.4),
        (None, (0.5, 0.1, 0.2), (0.5, 0.1, 0.4), (1.0, 1.0), 0.5),
        # a mean beyond 1 is one of values of 0 to 255
        (None, (100.0, 50.0, 2.0), None, (155.0, 1.0), 100.0),
        ({"mean": [0.5, 0.1, 0.2], "std": [0.5, 0.1, 0.4]}, None, None, (1.0, 1.0), 0.5),
    ],
)
def test_a_picture_is_prepared(
    tmp_path: Path, found: Any, mean: Any, std: Any, expected: tuple[float, float], last: float
) -> None:
    checkpoint = {"model": model(), **(found or {})}
    value = read_inputs([picture(tmp_path)], tm.convert(lua.value(checkpoint)), mean, std).value
    assert (value.shape, value.dtype) == ((1, 3, 4, 5), torch.float32)
    assert value[0, :2, 0, 0].tolist() == pytest.approx(expected)
    assert value[0, 2, 1, 2].item() == pytest.approx(last)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"input": ["x.png"]}, "--mean and --std"),
        ({"input": ["x.txt"]}, "no input that is understood"),
        ({"input": ["none.npy"]}, "no file"),
        ({"mean": (1.0,)}, "--input"),
        ({"input": ["x.png"], "reference": "r.t7"}, "brings its own input"),
        ({"input": ["x.png"], "input_shape": "2x7"}, "exclude each other"),
        ({"atol": ["x"]}, "--atol takes a number"),
        ({"atol": ["3=1"], "input_shape": "2x7"}, r"no output \[3\]"),
        ({"devices": ["tpu"]}, "no device 'tpu'"),
        ({"devices": ["cpu", "cuda:x"]}, "no device 'cuda:x'"),
        ({"torch7": ""}, "--torch7 names what starts"),
        ({"input": ["pickled.npy"]}, "holds no plain numbers"),
    ],
)
def test_calls_that_can_not_be_carried_out(file: Path, tmp_path: Path, options: Any, match: str) -> None:
    picture(tmp_path)
    (tmp_path / "x.txt").write_text("x")
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    if "input" in options:
        options = {**options, "input": [tmp_path / name for name in options["input"]]}
    with pytest.raises(tm.UsageError, match=match):
        verify_path(file, VerifyOptions(**options))


def test_tolerances_by_output() -> None:
    assert by_place(["1e-4", "2=1e-3", "2.1=0.5"], "--atol") == {"": 1e-4, "[2]": 1e-3, "[2][1]": 0.5}
    assert by_place([], "--atol") is None


def test_json_has_all_of_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["verify", str(file), "--input-shape", "2x7", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert not stopped.value.code
    assert (found["reproduction"], found["saved_run"], found["backends"][0]["batches"][0]["batch"]) == (None, None, 1)

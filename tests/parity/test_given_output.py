"""An output that the user saved by other means than our script, as a reference: Torch7's numbers, as it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden
import lua
import numpy as np
import pytest
from safetensors.numpy import save_file

import torchmigrate as tm
from torchmigrate.cli import main as cli
from torchmigrate.folder.verify_folder import Verified, VerifyOptions, verify_path

LENET = golden.MODELS / "lenet_mnist.t7"


@pytest.fixture(scope="module")
def numbers() -> tuple[np.ndarray, np.ndarray]:
    """What the real Torch7 got and answered."""
    reference = tm.load(golden.MODELS / "lenet_mnist.reference.t7")
    return reference["input"].numpy().copy(), reference["output"].numpy().copy()


def write(path: Path, value: np.ndarray) -> Path:
    if path.suffix == ".t7":
        tm.dump(lua.value(value), path)
    elif path.suffix == ".safetensors":
        save_file({"y": value}, path)
    else:
        np.save(path, value)
    return path


def verified(folder: Path, x: np.ndarray, y: np.ndarray, ending: str = ".npy", **options: Any) -> Verified:
    given = {"input": [write(folder / "x.npy", x)], "expect": [write(folder / f"y{ending}", y)]}
    return verify_path(LENET, VerifyOptions(**given, layers=False, **options))


@pytest.mark.parametrize("ending", [".npy", ".t7", ".safetensors"])
def test_it_proves_the_whole(tmp_path: Path, numbers: tuple[np.ndarray, np.ndarray], ending: str) -> None:
    report = verified(tmp_path, *numbers, ending, require_proof=True).report
    assert (report.reference.kind, report.verdict.level) == ("given", "passed")
    assert f"given as Torch7's (y{ending})" in report.verdict.meaning
    assert any(f"y{ending} is what Torch7 answered" in limit for limit in report.verdict.limits)
    assert report.options["expect"] == [f"y{ending}"]


def test_numbers_of_float32_in_float64_are_no_finer(tmp_path: Path, numbers: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = numbers
    assert verified(tmp_path, x.astype(np.float64), y.astype(np.float32).astype(np.float64)).report.proven


def test_another_answer_fails(tmp_path: Path, numbers: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = numbers
    wrong = y.copy()
    wrong[-1, 3] *= 1.01
    found = verified(tmp_path, x, wrong)
    assert (found.report.verdict.level, found.exit_code) == ("failed", 1)
    assert "did not reproduce the output that was given as Torch7's" in found.report.verdict.meaning


def test_the_same_number_everywhere_proves_nothing(tmp_path: Path) -> None:
    tm.dump(lua.sequential(lua.linear(3, 2), lua.module("nn.MulConstant", constant_scalar=0.0)), tmp_path / "zero.t7")
    given = {
        "input": [write(tmp_path / "x.npy", np.ones((2, 3)))],
        "expect": [write(tmp_path / "y.npy", np.zeros((2, 2)))],
    }
    report = verify_path(tmp_path / "zero.t7", VerifyOptions(**given)).report
    assert (bool(report), report.proven) == (True, False)


def changed(x: np.ndarray, y: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    if what == "NaN in x":
        x = np.where(np.arange(x.size).reshape(x.shape) == 5, np.nan, x).astype(x.dtype)
    elif what == "NaN in y":
        y = np.where(np.arange(y.size).reshape(y.shape) == 5, np.nan, y).astype(y.dtype)
    else:
        y = {"rows": y[:-1], "flat": y.reshape(-1), "classes": y.argmax(1), "whole": y.round().astype(int),
             "half": y.astype(np.float16), "text": np.array(["a"]), "x": x[:, :, :9]}[what]  # fmt: skip
    return x, y


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("rows", r"y.npy holds \d+x10, and the model's answer to the input of \S+ is \d+x10: it is another input's"),
        ("flat", r"y.npy holds \d+, and the model's answer"),
        ("classes", r"y.npy holds \d+, and the model's answer"),
        ("whole", r"y.npy holds int64, and the model gives float\d\d; save the output as it is"),
        ("half", r"y.npy holds float16, too coarse"),
        ("text", r"which is no number"),
        ("NaN in x", r"The input has NaN or Inf"),
        ("NaN in y", r"y.npy has 1 NaN of \d+ numbers"),
    ],
)
def test_what_can_not_be_the_answer(
    tmp_path: Path, numbers: tuple[np.ndarray, np.ndarray], what: str, match: str
) -> None:
    with pytest.raises(tm.UsageError, match=match):
        verified(tmp_path, *changed(*numbers, what))


def test_an_input_that_the_model_does_not_take(tmp_path: Path, numbers: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(tm.UsageError, match="does not take the input that was given"):
        verified(tmp_path, numbers[0][:, :, :9], numbers[1])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"expect": "y.npy"}, "give that with --input"),
        ({"expect": "y.npy", "input": "x.npy", "torch7": "th"}, "--expect and --torch7 exclude each other"),
        ({"expect": "y.npy", "input": "x.npy", "reference": "self"}, "--expect and --reference exclude each other"),
        ({"expect": "y.npy", "input": "x.npy", "gradients": True}, "--expect has no gradients"),
        ({"expect": "y.png", "input": "x.npy"}, "is a picture"),
        ({"expect": "none.npy", "input": "x.npy"}, "There is no file"),
        ({"expect": golden.MODELS / "lenet_mnist.reference.t7", "input": "x.npy"}, "give it with --reference"),
    ],
)
def test_calls_that_can_not_be_carried_out(
    tmp_path: Path, numbers: tuple[np.ndarray, np.ndarray], options: Any, match: str
) -> None:
    write(tmp_path / "x.npy", numbers[0])
    write(tmp_path / "y.npy", numbers[1])
    options = {name: [tmp_path / given] if name in ("input", "expect") else given for name, given in options.items()}
    with pytest.raises(tm.UsageError, match=match):
        verify_path(LENET, VerifyOptions(**options))


def test_a_table_is_compared_in_its_order(tmp_path: Path) -> None:
    tm.dump(lua.module("nn.ConcatTable", modules=[lua.linear(3, 2), lua.linear(3, 2, seed=5)]), tmp_path / "two.t7")
    x = lua.numbers(4, 3)
    one, two = (y.detach().numpy() for y in tm.convert(tmp_path / "two.t7").module(tm.to_torch(lua.value(x))))
    files = {name: write(tmp_path / f"{name}.npy", value) for name, value in {"x": x, "1": one, "2": two}.items()}
    for order, level in (("12", "passed"), ("21", "failed")):
        options = VerifyOptions(input=[files["x"]], expect=[files[name] for name in order])
        assert verify_path(tmp_path / "two.t7", options).report.verdict.level == level


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command(
    tmp_path: Path, numbers: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    given = [write(tmp_path / f"{name}.npy", value) for name, value in zip("xy", numbers, strict=True)]
    words = ["verify", str(LENET), "--input", str(given[0]), "--expect", str(given[1])]
    with pytest.raises(SystemExit) as stopped:
        cli.main([*words, *(["--json"] if as_json else [])])
    said = capsys.readouterr().out
    assert not stopped.value.code
    if as_json:
        assert json.loads(said)["reference"]["kind"] == "given"
    else:
        assert "PASSED" in said
        assert "is the user's word" in " ".join(said.split())

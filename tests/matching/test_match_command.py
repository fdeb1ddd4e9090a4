"""`torchmigrate match`: its text, its JSON, its files and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from golden import FIXTURES

from torchmigrate.cli.main import main

FILE = str(FIXTURES / "match" / "residual.t7")
TARGETS = str(Path(__file__).parent / "targets.py")


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["match", *words])
    return int(stopped.value.code or 0)


def test_it_prints_the_pairs_and_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new.pt"
    assert run(FILE, "--into", f"{TARGETS}:residual", "--kwargs", "classes=5", "-o", str(target)) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "layers.1.downsample.0 6.1.2.1 weight layers.1.downsample.1 6.1.2.2 weight, bias, running_mean (less" in out
    assert "32 tensors, equal on an input of 2x3x32x32 in float64" in out
    assert torch.load(target)["fc.weight"].shape == (5, 6)
    assert len((tmp_path / "new.pairs.tsv").read_text("utf-8").splitlines()) == 33
    assert run(FILE, "--into", f"{TARGETS}:residual", "-o", str(target)) == 2
    assert "exists already" in capsys.readouterr().err


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(FILE, "--into", f"{TARGETS}:residual", "--kwargs", "classes=7", "--except", "fc", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["left_out"] == ["fc"]
    first = {"name": "conv1.weight", "size": [4, 3, 7, 7], "path": "1", "tensor": "weight", "how": ""}
    assert found["pairs"][0] == first
    assert (found["input"], found["files"]) == ("2x3x32x32", [])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--into", f"{TARGETS}:residual", "--kwargs", "eps=0.001"], 1, "part at bn1"),
        (["--into", f"{TARGETS}:residual", "--kwargs", "classes=7"], 1, "the target's is 7x6"),
        (["--into", f"{TARGETS}:residual", "--kwargs", "nonsense=7"], 2, "unexpected keyword argument 'nonsense'"),
        (["--into", f"{TARGETS}:residual", "--kwargs", "classes"], 2, "--kwargs takes name=value, not 'classes'"),
        (["--into", f"{TARGETS}:nothing"], 2, "has no nothing"),
        (["--into", "no.such.package:net"], 2, "no.such.package can't be imported: ModuleNotFoundError: "),
        (
            ["--into", "no.such.package:net"],
            2,
            "Install it into this environment; a file is given by its name, with .py.",
        ),
        (["--into", "nofile.py:net"], 2, "There is no file nofile.py"),
        (["--into", "collections:OrderedDict"], 2, "gives a OrderedDict, not a torch.nn.Module"),
        (["--into", TARGETS], 2, "--into takes package.module:callable"),
    ],
)
def test_it_fails(words: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(FILE, *words, "-o", str(tmp_path / "out.safetensors")) == code
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_torchvision_of_another_pytorch_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "model.py"
    target.write_text("raise RuntimeError('operator torchvision::nms does not exist')\n", "utf-8")
    assert run(FILE, "--into", f"{target}:net") == 2
    assert f"was built for another PyTorch than {torch.__version__}; install both" in capsys.readouterr().err

"""Arrays and JSON on their way to Torch7."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest
import safetensors.torch
import torch
import torchfile
from safetensors.numpy import save_file

import torchmigrate as tm
from torchmigrate.cli import main as cli
from torchmigrate.extract.pack import pack


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(word) for word in words])
    return int(stopped.value.code or 0)


DTYPES = {
    "f4": "Float", "f8": "Double", "f2": "Half", "u1": "Byte", "i1": "Char", "i2": "Short", "i4": "Int", "i8": "Long",
    ">f4": "Float",
}  # fmt: skip


@pytest.mark.parametrize(("dtype", "kind"), DTYPES.items(), ids=DTYPES)
def test_types_are_kept(dtype: str, kind: str, tmp_path: Path) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    np.save(tmp_path / "x.npy", np.asfortranarray(array))
    pack([tmp_path / "x.npy"], tmp_path / "x.t7")
    value = tm.load(tmp_path / "x.t7")
    assert (value.type, value.size, value.stride) == (f"torch.{kind}Tensor", (2, 3, 4), (12, 4, 1))
    assert np.array_equal(value.numpy(), array)
    if kind != "Half":  # torchfile is older than half precision
        assert np.array_equal(torchfile.load(str(tmp_path / "x.t7")), array)


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_several_arrays_become_a_table(ending: str, tmp_path: Path) -> None:
    arrays = {"conv.weight": np.ones((2, 3), np.float32), "bias": np.arange(2)}
    if ending == "npz":
        np.savez(tmp_path / "w.npz", **arrays)
    else:
        save_file(arrays, tmp_path / "w.safetensors")
    packed = pack([tmp_path / f"w.{ending}"], tmp_path / "w.t7")
    value = tm.load(tmp_path / "w.t7")
    assert {key: item.type for key, item in value.items()} == {
        "conv.weight": "torch.FloatTensor",
        "bias": "torch.LongTensor",
    }
    assert packed.entries == {key: f"{item.type} {'x'.join(map(str, item.size))}" for key, item in value.items()}


def test_several_files_become_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.ones(3))
    (tmp_path / "options.json").write_text('{"rate": 0.5, "sizes": [1, 2], "deep": {"yes": true}}')
    words = [f"input={tmp_path / 'x.npy'}", tmp_path / "options.json"]
    assert run("pack", *words, "-o", tmp_path / "batch.t7") == 0
    assert "batch.t7" in capsys.readouterr().out
    value = tm.load(tmp_path / "batch.t7")
    assert value["input"].numpy().tolist() == [1, 1, 1]
    assert tm.to_torch(value["options"]) == {"rate": 0.5, "sizes": [1.0, 2.0], "deep": {"yes": True}}


@pytest.mark.parametrize("options", [{"ascii": True}, {"long_size": 4}], ids=["ascii", "32 bits"])
def test_forms_of_the_file(options: dict[str, Any], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[0.1, 2], [3, 4]]))
    pack([tmp_path / "x.npy"], tmp_path / "x.t7", **options)
    assert tm.load(tmp_path / "x.t7").numpy().tolist() == [[0.1, 2], [3, 4]]
    text = (tmp_path / "x.t7").read_bytes().isascii() and b"\n" in (tmp_path / "x.t7").read_bytes()
    assert text == bool(options.get("ascii"))


def test_there_and_back(tmp_path: Path) -> None:
    source = golden.MODELS / "mlp_batchnorm_regression.t7"
    assert run("extract", source, "--full", "-q", "-o", tmp_path / "all.json") == 0
    assert run("pack", tmp_path / "all.json", "-o", tmp_path / "all.t7", "-q") == 0
    one, two = tm.convert(source), tm.convert(tmp_path / "all.t7")
    for name, tensor in one.module.state_dict().items():
        assert torch.equal(two.module.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("name", "array", "note"),
    [
        ("mask", np.array([True, False]), "ByteTensor of 0 and 1"),
        ("one", np.array(3.5), "a tensor of one number"),
        ("none", np.empty((0, 3)), "its shape (0, 3) is lost"),
        ("half", np.ones(2, np.float16), "HalfTensor"),
    ],
)
def test_changes_are_noted(name: str, array: Any, note: str, tmp_path: Path) -> None:
    np.save(tmp_path / f"{name}.npy", array)
    assert note in pack([tmp_path / f"{name}.npy"], tmp_path / "x.t7").notes[0]


def write_wrong(folder: Path) -> None:
    np.save(folder / "complex.npy", np.ones(2, np.complex64))
    np.save(folder / "unsigned.npy", np.ones(2, np.uint16))
    np.save(folder / "objects.npy", np.array([{}, []], dtype=object))
    np.save(folder / "good.npy", np.ones(2))
    (folder / "torn.npy").write_bytes((folder / "good.npy").read_bytes()[:90])
    (folder / "torn.npz").write_bytes(b"PK\x03\x04")
    (folder / "torn.safetensors").write_bytes(b"torn")
    safetensors.torch.save_file({"x": torch.ones(2, dtype=torch.bfloat16)}, folder / "bf16.safetensors")
    for name, text in JSON.items():
        (folder / f"{name}.json").write_text(text)
    (folder / "model.pth").write_bytes(b"")


JSON = {
    "no_json": "{",
    "null": '{"a": [1, null]}',
    "twice": '{"a": 1, "a": 2}',
    "nan": '{"a": NaN}',
    "large": '{"a": 9007199254740993}',
    "summary": '{"$tensor": "torch.FloatTensor", "size": [100], "min": 0}',
    "kind": '{"$tensor": "torch.NoTensor", "values": [1]}',
    "byte": '{"$tensor": "torch.ByteTensor", "values": [256]}',
    "ragged": '{"$tensor": "torch.FloatTensor", "values": [[1], [2, 3]]}',
    "nowhere": '{"$ref": "#/x"}',
    "deep": "[" * 100_000,
}

WRONG = {
    "complex.npy": "complex64, which Torch7 has not",
    "unsigned.npy": "uint16, which Torch7 has not",
    "objects.npy": "allow_pickle",
    "torn.npy": "can't be read",
    "torn.npz": "can't be read",
    "torn.safetensors": "can't be read",
    "bf16.safetensors": "bfloat16",
    "no_json.json": "no JSON",
    "null.json": "can't hold nil",
    "twice.json": "the key 'a' twice",
    "nan.json": '{"$number": "nan"}',
    "large.json": "which no Lua number equals",
    "summary.json": "--full",
    "kind.json": "Torch7 has not",
    "byte.json": "none of a torch.ByteTensor",
    "ragged.json": "no JSON that Lua can hold",
    "nowhere.json": "leads nowhere",
    "deep.json": "no JSON",
    "model.pth": "can't be read",
    "model.onnx": "should end in .npy",
    "missing.npy": "No such file",
    "good.npy good.npy": "the name 'good'",
}


@pytest.mark.parametrize(("names", "message"), WRONG.items(), ids=WRONG)
def test_what_does_not_fit_is_refused(
    names: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_wrong(tmp_path)
    assert run("pack", *names.split(), "-o", "out.t7", "--json") == 2
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not Path("out.t7").exists()


def test_files_are_not_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.ones(2))
    (tmp_path / "x.t7").write_text("mine")
    assert run("pack", tmp_path / "x.npy", "-o", tmp_path / "x.t7") == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "x.t7").read_text() == "mine"
    assert run("pack", tmp_path / "x.npy", "-o", tmp_path / "x.t7", "--force", "-q") == 0
    assert capsys.readouterr().out == ""

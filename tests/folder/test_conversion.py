"""What a conversion offers in Python: layers by path, features, cuts, how it shows itself."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import golden
import lua
import onnxruntime
import pytest
import torch

import torchmigrate as tm

LENET = golden.MODELS / "lenet_mnist.t7"
RESNET = golden.MODELS / "resnet_bottleneck_B.t7"

LIST = lua.sequential(lua.linear(3, 2, dtype="f4"), lua.module("nn.Tanh"))


@pytest.fixture(scope="module")
def lenet() -> tm.Conversion:
    return tm.convert(LENET)


@pytest.fixture(scope="module")
def torch7() -> tm.LuaTable:
    return tm.load(LENET.with_suffix(".reference.t7"))


def test_paths_and_back(lenet: tm.Conversion) -> None:
    assert lenet[""] is lenet.module
    assert lenet["8"] is lenet[8]
    assert isinstance(lenet["8"], torch.nn.Linear)
    assert lenet.path_of(lenet["8"]) == "8"
    assert list(lenet.find("nn.Linear")) == list(lenet.find(torch.nn.Linear)) == ["8", "10"]
    assert lenet.find("nn.ReLU") == {}
    assert lenet._ipython_key_completions_()[:3] == ["", "1", "2"]


def test_a_path_that_is_not_there(lenet: tm.Conversion) -> None:
    with pytest.raises(tm.UsageError, match="no layer at the Torch7 path '12'; others are 2, 1"):
        lenet["12"]
    with pytest.raises(tm.UsageError, match="no layer at the Torch7 path 'layer3'; others are 1, 2, 3"):
        lenet.features(["layer3"])
    with pytest.raises(KeyError, match="no layer of the model became this Tanh"):
        lenet.path_of(torch.nn.Tanh())


def test_features_are_what_torch7_recorded(lenet: tm.Conversion, torch7: tm.LuaTable) -> None:
    recorded = {entry["path"]: tm.to_torch(entry["output"]) for entry in torch7["layers"].list() if "output" in entry}
    assert len(recorded) == 10
    found = lenet.features(list(recorded))(tm.to_torch(torch7["input"]))
    assert list(found) == list(recorded)
    for path, output in recorded.items():
        torch.testing.assert_close(found[path], output, rtol=1e-7, atol=1e-9)


def test_features_that_a_later_layer_writes_over() -> None:
    relu = lua.module("nn.ReLU", inplace=True, threshold=0.0, val=0.0)
    conv = tm.convert(lua.sequential(lua.linear(3, 2, dtype="f4"), relu))
    conv["1"].weight.data = torch.tensor([[-1.0, 0, 0], [0, 1, 0]])
    conv["1"].bias.data.zero_()
    assert conv.features("1")(torch.tensor([[3.0, 4, 5]]))["1"].tolist() == [[-3, 4]]


def test_features_of_what_runs_twice() -> None:
    tanh = lua.module("nn.Tanh")
    conv = tm.convert(lua.sequential(tanh, lua.linear(3, 3, dtype="f4"), tanh))
    with pytest.raises(tm.UsageError, match="The layer at '3' runs 2 times in one run of the model"):
        conv.features("3")(torch.ones(2, 3))


def test_cut_and_new_head(lenet: tm.Conversion, torch7: tm.LuaTable) -> None:
    body = lenet.cut("9")
    given = tm.to_torch(torch7["input"])
    torch.testing.assert_close(body(given), tm.to_torch(torch7["layers"][9]["output"]), rtol=1e-7, atol=1e-9)
    assert body[0].weight is lenet["1"].weight
    assert torch.nn.Sequential(body, torch.nn.Linear(40, 7).double())(given).shape == (2, 7)


def test_no_cut_among_branches() -> None:
    with pytest.raises(tm.UsageError, match=r"no cut after 5\.1\.1\.1\.1: it stands in a ConcatTable"):
        tm.convert(RESNET).cut("5.1.1.1.1")


def test_runs_moves_and_trains() -> None:
    conv = tm.convert(LIST)
    assert conv.train().module.training
    assert not conv.eval().module.training
    assert conv.to(torch.float64)(torch.ones(4, 3, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.slow
@pytest.mark.parametrize("file", [LENET, RESNET], ids=["lenet", "resnet"])
def test_pickled_in_one_process_and_used_in_another(file: Path, tmp_path: Path) -> None:
    conv = tm.convert(file)
    (tmp_path / "conv").write_bytes(pickle.dumps(conv))
    (tmp_path / "module").write_bytes(pickle.dumps(conv.module))
    code = (
        "import pickle, sys, torch\n"
        "conv, module = (pickle.load(open(name, 'rb')) for name in ('conv', 'module'))\n"
        "assert all(map(torch.equal, conv.module.state_dict().values(), module.state_dict().values()))\n"
        "conv.save('out')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    conv.save(tmp_path / "here")
    for name in ("model.py", "model.safetensors", "config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_representations(lenet: tm.Conversion) -> None:
    assert repr(lenet) == "<Conversion of lenet_mnist.t7: nn.Sequential\n 12 layers, 4,990 parameters>"
    assert repr(tm.convert(LIST)) == "<Conversion of a value: nn.Sequential\n 3 layers, 8 parameters>"
    html = lenet._repr_html_()
    assert "8 nn.Linear → Linear" in html
    assert html.count("<details") == html.count("</details>") == 1
    resnet = tm.convert(RESNET)._repr_html_()
    assert resnet.count("<details") == resnet.count("</details>") > 1
    assert resnet.count("<div") == resnet.count("</div>")


def test_representations_of_a_report(lenet: tm.Conversion) -> None:
    report = tm.verify(lenet, reference=LENET.with_suffix(".reference.t7"))
    assert repr(report).startswith("<ParityReport: PASSED against Torch7's own numbers (lenet_mnist.reference.t7): ")
    assert len(repr(report)) < 300
    assert report._repr_html_().startswith("<p><b>PASSED</b> against Torch7&#x27;s own numbers")


@pytest.mark.slow
def test_features_in_onnx(lenet: tm.Conversion, torch7: tm.LuaTable, tmp_path: Path) -> None:
    exported = tm.export_onnx(lenet, tmp_path / "f.onnx", outputs=["8", "5"], input_shape=(2, 1, 32, 32))
    assert exported.outputs == {"output_1": ("batch", 40), "output_2": ("batch", 12, 5, 5)}
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    given = tm.to_torch(torch7["input"]).float().numpy()
    for found, number in zip(session.run(None, {"input": given}), (8, 5), strict=True):
        wanted = tm.to_torch(torch7["layers"][number]["output"]).float()
        torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=2e-5, atol=2e-5)

"""`run` and `push`, preprocess.py, and the front matter of README.md: text and JSON of each command."""

from __future__ import annotations

import base64
import importlib.util
import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import golden
import lua
import numpy as np
import pytest
import torch
from PIL import Image

import torchmigrate as tm
from torchmigrate.cli.main import main
from torchmigrate.folder.run import ConvertOptions, convert_file
from torchmigrate.folder.task import is_distribution
from torchmigrate.parity.references.input_files import Picture, read_picture

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(map(str, words)))
    return int(str(exit_.value.code))


def convolution(inputs: int, outputs: int) -> tm.LuaObject:
    weight = lua.numbers(outputs, inputs, 1, 1, dtype="f4")
    sizes = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": 1, "kH": 1, "dW": 1, "dH": 1, "padW": 0, "padH": 0}
    return lua.module("nn.SpatialConvolution", weight=weight, bias=lua.numbers(outputs, dtype="f4"), **sizes)


def network(kind: str) -> tm.LuaObject:
    """A network that takes 6x4 pictures as a classifier, and any as the others."""
    if kind == "labels":
        view = lua.module("nn.View", size=[72], numElements=72, numInputDims=3)
        return lua.sequential(convolution(3, 3), view, lua.linear(72, 4, dtype="f4"), lua.module("nn.LogSoftMax"))
    last = lua.module("nn.Tanh") if kind == "picture" else lua.module("nn.SpatialSoftMax")
    return lua.sequential(convolution(3, 3 if kind == "picture" else 4), last)


LABELS = ["cat", 'a "dog"\n', "\u00e9", "bird"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each kind of model: labels, picture, mask."""
    place = tmp_path_factory.mktemp("use")
    for kind in ("labels", "picture", "mask"):
        held = {"model": network(kind), "transform": {"mean": list(MEAN), "std": list(STD)}}
        tm.dump(lua.value({**held, **({"classes": LABELS} if kind == "labels" else {})}), place / f"{kind}.t7")
        options = ConvertOptions(no_onnx=True, input_shape="2x3x6x4", license="mit", hub=True)
        convert_file(place / f"{kind}.t7", place / kind, options, print)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(place / "cat.png")
    return place


def answer(folders: Path, kind: str) -> torch.Tensor:
    """What the model gives for the picture."""
    given = read_picture(folders / "cat.png", Picture(MEAN, STD, 1.0, False, ""))
    found: torch.Tensor = tm.load_converted(folders / kind)(given)
    return found.detach()


def test_a_classifier_prints_its_labels(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = answer(folders, "labels")[0].exp()
    assert run("run", folders / "labels", folders / "cat.png", "--json", "--top", 2) == 0
    found = json.loads(capsys.readouterr().out)
    best = expected.topk(2)
    assert [one["place"] for one in found["labels"]] == best.indices.tolist()
    assert [one["name"] for one in found["labels"]] == [LABELS[i] for i in best.indices]
    assert [one["value"] for one in found["labels"]] == pytest.approx(best.values.tolist())
    assert found["probabilities"]
    assert run("run", folders / "labels.t7", folders / "cat.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith(f"{expected.max():.1%}")
    assert "1x3x6x4, values of 0 to 1, mean and std from transform.mean" in lines[-1]


@pytest.mark.parametrize("kind", ["picture", "mask"])
def test_pictures_and_masks_are_written(
    kind: str, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = answer(folders, kind)[0]
    out = tmp_path / "out.png"
    extra = ["--as", "mask"] if kind == "mask" else []
    assert run("run", folders / kind, folders / "cat.png", "-o", out, *extra) == 0
    assert f"({kind})" in capsys.readouterr().out
    shown = np.asarray(Image.open(out))
    if kind == "mask":
        assert np.array_equal(shown, given.argmax(0).numpy())
    else:
        assert np.array_equal(shown, ((given.double() + 1) / 2 * 255).round().permute(1, 2, 0).numpy())
    assert run("run", folders / kind, folders / "cat.png", "-o", out, *extra) == 2
    assert "--force" in capsys.readouterr().err
    assert run("run", folders / kind, folders / "cat.png", "-o", out, "--force", "--json", *extra) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give a picture, or --seed-text"),
        (["cat.png", "--size", "3x3"], "--size HEIGHTxWIDTH scales it"),
        (["cat.png", "--size", "x"], "height and width"),
        (["cat.png", "--range", "1,-1"], "the lower number first"),
        (["cat.png", "--as", "mask"], "which is no mask"),
        (["nothing.png"], "can't be read as a picture"),
        (["--seed-text", "cat"], "it does not write text|none of the"),
    ],
)
def test_what_can_not_be_run_is_refused(
    words: list[str], said: str, folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders)
    assert run("run", "labels", *words) == 2
    assert any(part in capsys.readouterr().err for part in said.split("|"))


def test_nothing_is_guessed(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tm.dump(network("labels"), tmp_path / "bare.t7")
    assert run("run", tmp_path / "bare.t7", folders / "cat.png") == 2
    assert "say it with --mean and --std" in capsys.readouterr().err
    assert run("run", tmp_path / "bare.t7", folders / "cat.png", "--mean", "0", "--std", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["labels"][0]["name"] is None


def test_char_rnn_goes_on_with_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    file = golden.MODELS / "charrnn_checkpoint.t7"
    conversion = tm.convert(file)
    labels = conversion.preprocessing.labels
    assert labels is not None
    states = [torch.zeros(1, 16) for _ in range(4)]
    written = "ab"
    for character in "ab":
        *states, scores = conversion([torch.tensor([labels.index(character) + 1]), *states])
    for _ in range(5):
        token = int(scores[0].argmax())
        written += labels[token]
        *states, scores = conversion([torch.tensor([token + 1]), *states])
    assert run("run", file, "--seed-text", "ab", "--length", 5, "--temperature", 0) == 0
    assert capsys.readouterr().out == f"{written}\n"
    texts = set()
    for seed in (1, 1, 2):
        assert run("run", file, "--seed-text", "ab", "--length", 30, "--seed", seed, "--json") == 0
        texts.add(json.loads(capsys.readouterr().out)["text"])
    assert len(texts) == 2
    assert run("run", file, "--seed-text", "\u00e9") == 2
    assert "none of the 20 that the model knows" in capsys.readouterr().err


def test_preprocess_and_the_names_of_classes_are_code(folders: Path) -> None:
    spec = importlib.util.spec_from_file_location("preprocess_labels", folders / "labels" / "preprocess.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.id2label == dict(enumerate(LABELS))
    with Image.open(folders / "cat.png") as picture:
        got = module.preprocess(picture)
    assert torch.equal(got, read_picture(folders / "cat.png", Picture(MEAN, STD, 1.0, False, "")))
    assert "does not say the order of the channels" in module.preprocess.__doc__
    assert "scaled or cropped" in module.__doc__
    text = (folders / "mask" / "preprocess.py").read_text()
    assert "id2label" not in text
    assert "the names of the classes" in text


@pytest.mark.parametrize(
    ("kind", "task"),
    [("labels", "image-classification"), ("picture", "image-to-image"), ("mask", "image-segmentation")],
)
def test_the_front_matter_says_what_is_known(kind: str, task: str, folders: Path) -> None:
    front = (folders / kind / "README.md").read_text().split("---")[1].strip().splitlines()
    assert front[:3] == ["library_name: pytorch", "license: mit", f"pipeline_tag: {task}"]
    config = json.loads((folders / kind / "config.json").read_text())
    assert config["pipeline_tag"] == task
    assert config["architectures"] == [kind.capitalize()]


def test_an_example_that_the_model_refuses_is_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    statistics = {name: tm.Tensor.from_numpy(np.ones(3)) for name in ("running_mean", "running_var")}
    layer = lua.module("nn.BatchNormalization", eps=-1e-5, affine=False, momentum=0.1, **statistics)
    tm.dump(layer, tmp_path / "net.t7")
    assert run("convert", tmp_path / "net.t7", "-o", tmp_path / "out", "--no-onnx", "--input-shape", "4x3") == 2
    assert "batch_norm eps must be non-negative" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_license_is_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tm.dump(lua.sequential(lua.linear(3, 2)), tmp_path / "net.t7")
    assert run("convert", tmp_path / "net.t7", "-o", tmp_path / "out", "--license", "mit\ntags: [x]") == 2
    assert "--license takes a name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "expected"),
    [([[0.2, 0.8]], True), ([[-0.1, 1.1]], False), ([[2.0, -1.0]], False), ([[float("nan"), 1.0]], False)],
)
def test_probabilities_are_told_by_their_sum(values: list[list[float]], expected: bool) -> None:
    given = torch.tensor(values)
    assert is_distribution(given, 1) is expected
    assert is_distribution(given.log_softmax(1), 1) is not bool(given.isnan().any())


class Hub(BaseHTTPRequestHandler):
    """So much of the Hub's API as a small commit and a download need."""

    repositories: dict[str, dict[str, bytes]]
    tokens: set[str]

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def reply(self, content: Any, code: int = 200) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in (("X-Repo-Commit", "0" * 40), ("ETag", f'"{sha256(data).hexdigest()}"')):
            self.send_header(name, value)
        if code == 404:
            self.send_header("X-Error-Code", "RepoNotFound" if "/api/" in self.path else "EntryNotFound")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            held = self.repositories.get("/".join(parts[2:4]))
            files = [
                {"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in (held or {}).items()
            ]
            if held is None:
                self.reply({"error": "Repository not found"}, 404)
            elif "tree" in parts:
                self.reply(files)
            else:
                self.reply(
                    {"id": "/".join(parts[2:4]), "siblings": [{"rfilename": f["path"]} for f in files], "sha": "0" * 40}
                )
        else:
            data = self.repositories.get("/".join(parts[:2]), {}).get(parts[-1])
            self.reply(data if data is not None else {"error": "Entry not found"}, 200 if data is not None else 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.tokens.add(self.headers.get("Authorization", ""))
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[-1] == "create":
            held = json.loads(body)
            name = f"{held.get('organization') or 'user'}/{held['name']}"
            self.repositories[name] = {}
            self.reply({"url": f"http://{self.headers['Host']}/{name}"})
        elif "preupload" in parts:
            files = json.loads(body)["files"]
            self.reply({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        elif "commit" in parts:
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    content = base64.b64decode(entry["value"]["content"])
                    self.repositories["/".join(parts[2:4])][entry["value"]["path"]] = content
            url = f"http://{self.headers['Host']}/{'/'.join(parts[2:4])}/commit/{'0' * 40}"
            self.reply({"success": True, "commitUrl": url, "commitOid": "0" * 40})
        else:
            self.reply({"errors": [], "warnings": []})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    """A Hub on the loopback, and someone who is logged in."""
    constants = pytest.importorskip("huggingface_hub.constants")
    Hub.repositories, Hub.tokens = {}, set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield Hub
    server.shutdown()
    server.server_close()


def test_a_folder_is_pushed_and_comes_back(hub: type[Hub], folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folders / "labels"
    (folder / "mine.txt").write_text("mine")
    assert run("push", folder, "user/net", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["repository"] == "user/net"
    assert found["left_out"] == ["mine.txt"]
    assert hub.repositories["user/net"] == {name: (folder / name).read_bytes() for name in found["files"]}
    assert {"model.safetensors", "model.py", "config.json", "README.md", "preprocess.py"} <= set(found["files"])
    assert "Bearer hf_test" in hub.tokens
    assert run("push", folder, "user/net") == 2
    assert "has README.md" in capsys.readouterr().err
    assert run("push", folder, "user/net", "--force", "--private") == 2
    assert "user/net is there already and not private, so what is brought to it would be public" in (
        capsys.readouterr().err
    )
    assert run("push", folder, "user/net", "--force") == 0
    assert "mine.txt" in capsys.readouterr().out
    spec = importlib.util.spec_from_file_location("pushed_labels", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.Model.from_pretrained("user/net")
    given = read_picture(folders / "cat.png", Picture(MEAN, STD, 1.0, False, ""))
    assert torch.equal(model(given), answer(folders, "labels"))


def test_only_a_good_folder_of_ours_is_pushed(
    hub: type[Hub], folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.safetensors").write_bytes(b"x")
    for place, name, said in (
        (tmp_path / "other", "user/net", "is no folder of a converted model"),
        (tmp_path / "nothing", "user/net", "is no folder of a converted model"),
        (folders / "mask", "net", "no name of a repository"),
        (folders / "mask", "user/../net", "no name of a repository"),
    ):
        assert run("push", place, name, "--json") == 2
        assert said in json.loads(capsys.readouterr().out)["error"]["message"]
    (folders / "mask" / "PARITY-FAILED.txt").write_text("x")
    assert run("push", folders / "mask", "user/net") == 2
    assert "failed its comparison" in capsys.readouterr().err
    (folders / "mask" / "PARITY-FAILED.txt").unlink()
    monkeypatch.delenv("HF_TOKEN")
    assert run("push", folders / "mask", "user/net") == 2
    assert "Nobody is logged in" in capsys.readouterr().err
    assert hub.repositories == {}

"""Files behind URLs: fetched once, checked each time."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import golden
import pytest
from click.testing import CliRunner

import torchmigrate as tm
from torchmigrate.base.download import CACHE_VARIABLE, is_url, local_copy
from torchmigrate.cli.main import cli

fsspec = pytest.importorskip("fsspec")

LENET = golden.MODELS / "lenet_mnist.t7"
CONTENT = b"the first version"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and counts."""

    gets = 0

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's word
        Quiet.gets += self.command == "GET"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a web server on this machine, and its folder."""
    pytest.importorskip("aiohttp")
    folder = tmp_path / "web"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("text", "remote"),
    [("https://h/x.t7", True), ("s3://b/x", True), ("C:\\nets\\x.t7", False), ("x.t7", False), ("a/b://c", False)],
)
def test_what_a_url_is(text: str, remote: bool) -> None:
    assert is_url(text) is remote


def test_over_http_once(server: tuple[str, Path]) -> None:
    address, folder = server
    (folder / "net.t7").write_bytes(CONTENT)
    Quiet.gets = 0
    first = local_copy(f"{address}/net.t7")
    assert first.name == "net.t7"
    assert first.read_bytes() == CONTENT
    told: list[str] = []
    assert local_copy(f"{address}/net.t7", told.append) == first
    assert told == []
    assert Quiet.gets == 1


def test_a_new_version_is_fetched(server: tuple[str, Path]) -> None:
    address, folder = server
    (folder / "net.t7").write_bytes(CONTENT)
    local_copy(f"{address}/net.t7")
    (folder / "net.t7").write_bytes(CONTENT + b", and more")
    assert local_copy(f"{address}/net.t7").read_bytes() == CONTENT + b", and more"


def test_memory_and_a_damaged_cache() -> None:
    fsspec.filesystem("memory").pipe("/zoo/net.t7", CONTENT)
    path = local_copy("memory://zoo/net.t7")
    path.write_bytes(b"torn")
    assert local_copy("memory://zoo/net.t7").read_bytes() == CONTENT


def test_the_promised_content_is_checked(cache: Path) -> None:
    fsspec.filesystem("memory").pipe("/zoo/net.t7", CONTENT)
    right = hashlib.sha256(CONTENT).hexdigest()
    assert local_copy(f"memory://zoo/net.t7#sha256={right}").read_bytes() == CONTENT
    with pytest.raises(tm.UsageError, match=f"has the SHA-256 {right}, not {'0' * 64}"):
        local_copy(f"memory://zoo/net.t7#sha256={'0' * 64}")
    assert not list(cache.rglob("*.t7"))


def test_what_is_pinned_needs_no_network_again(server: tuple[str, Path]) -> None:
    address, folder = server
    (folder / "net.t7").write_bytes(CONTENT)
    pinned = f"{address}/net.t7#sha256={hashlib.sha256(CONTENT).hexdigest()}"
    local_copy(pinned)
    (folder / "net.t7").unlink()
    assert local_copy(pinned).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://nowhere/x.t7", "can't be fetched"),
        ("nonsense://x.t7", "can't be opened"),
        ("memory://x.t7#md5=00", "write #sha256="),
    ],
)
def test_what_can_not_be_fetched_is_said(url: str, words: str, cache: Path) -> None:
    with pytest.raises(tm.UsageError, match=words):
        local_copy(url)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_inspect_takes_a_url() -> None:
    fsspec.filesystem("memory").pipe("/zoo/lenet.t7", LENET.read_bytes())
    done = CliRunner().invoke(cli, ["inspect", "memory://zoo/lenet.t7", "--json"])
    assert json.loads(done.output)["file"] == "lenet.t7"
    done = CliRunner().invoke(cli, ["inspect", f"memory://zoo/lenet.t7#sha256={'0' * 64}"])
    assert isinstance(done.exception, tm.UsageError)


def test_convert_takes_a_url(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe("/zoo/lenet.t7", LENET.read_bytes())
    url = f"memory://zoo/lenet.t7#sha256={hashlib.sha256(LENET.read_bytes()).hexdigest()}"
    done = CliRunner().invoke(cli, ["convert", url, "-o", str(tmp_path / "out"), "--no-onnx", "-q"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "model.safetensors").exists()

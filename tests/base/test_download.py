"""Files behind URLs: fetched once, checked each time."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import golden
import pytest
from click.testing import CliRunner

import torchmigrate as tm
from torchmigrate.base import download
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
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in memory stand for those of another machine."""
    monkeypatch.setattr(download, "PROTOCOLS", download.PROTOCOLS | {"memory"})


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
    assert [path.read_bytes() for path in cache.rglob("*.t7")] == [CONTENT]


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
        ("nonsense://x.t7", "is no address that is opened: these are .*https://"),
        ("reference://x.json::http://127.0.0.1:9/x", "is no address that is opened"),
        ("file://simplecache::http://127.0.0.1:9/x", "without a chain of ::"),
        ("http://[::1]::http://127.0.0.1:9/x", "without a chain of ::"),
        ("http://[::1]/x::http://127.0.0.1:9/x", "without a chain of ::"),
        ("http://[reference::1]/x", "without a chain of ::"),
        ("http://[::1::2]/x", "without a chain of ::"),
        ("file://[::1]/x", "without a chain of ::"),
        ("http://a/[::1]/x", "without a chain of ::"),
        ("ftp://h/x.t7", "is no address that is opened"),
        ("memory://x.t7#md5=00", "write #sha256="),
    ],
)
def test_what_can_not_be_fetched_is_said(url: str, words: str, cache: Path) -> None:
    with pytest.raises(tm.UsageError, match=words):
        local_copy(url)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_an_ipv6_address_is_no_chain(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    (tmp_path / "net.t7").write_bytes(CONTENT)

    class Ipv6(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6

    with Ipv6(("::1", 0), functools.partial(Quiet, directory=str(tmp_path))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        for server in ("::1", "0:0:0:0:0:0:0:1"):
            found = local_copy(f"http://[{server}]:{running.server_port}/net.t7")
            assert (found.name, found.read_bytes()) == ("net.t7", CONTENT)
        running.shutdown()


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path, cache: Path) -> None:
    os.mkfifo(tmp_path / "pipe.t7")
    for place in (tmp_path / "pipe.t7", "/dev/zero", tmp_path):
        with pytest.raises(tm.UsageError, match="is no regular file"):
            local_copy(f"file://{place}")
    assert not cache.exists()


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


@pytest.mark.parametrize("line", ["reference://x.json::http://127.0.0.1:9/x", "sftp://h/x.t7", "file://a::http://b/c"])
@pytest.mark.slow
def test_a_line_of_a_list_is_held_to_the_same(line: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{line}\n")
    words = ["convert", "--files-from", str(tmp_path / "list.txt"), "-o", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    (file,) = json.loads(done.output)["files"]
    assert (file["exit_code"], "is no address that is opened" in file["message"]) == (2, True)


def test_a_wrong_promise_leaves_the_good_copy() -> None:
    fsspec.filesystem("memory").pipe("/zoo/net.t7", CONTENT)
    kept = local_copy("memory://zoo/net.t7")
    with pytest.raises(tm.UsageError, match="has the SHA-256"):
        local_copy(f"memory://zoo/net.t7#sha256={'0' * 64}")
    assert kept.read_bytes() == CONTENT
    assert local_copy("memory://zoo/net.t7") == kept


@pytest.mark.parametrize("name", ["origin.json", ".origin.json", "x.part"])
def test_names_do_not_collide_with_our_notes(name: str) -> None:
    fsspec.filesystem("memory").pipe(f"/zoo/{name}", CONTENT)
    assert local_copy(f"memory://zoo/{name}").read_bytes() == CONTENT
    assert local_copy(f"memory://zoo/{name}").read_bytes() == CONTENT


class Endless(http.server.BaseHTTPRequestHandler):
    """Sends zeros without end and without saying how many."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        with suppress(OSError):
            while True:
                self.wfile.write(bytes(100_000))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's word
        pass


class Silent(Endless):
    """Takes a request and says nothing."""

    def do_HEAD(self) -> None:
        time.sleep(2)

    def do_GET(self) -> None:
        self.do_HEAD()


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_download_has_an_end(cache: Path) -> None:
    pytest.importorskip("aiohttp")
    with serving(Endless) as address, pytest.raises(tm.UsageError, match=r"more than 0\.003 GB: --max-download"):
        local_copy(f"{address}/net.t7", most=3_000_000)
    fsspec.filesystem("memory").pipe("/zoo/net.t7", CONTENT)
    with pytest.raises(tm.UsageError, match="--max-download"):
        local_copy("memory://zoo/net.t7", most=len(CONTENT) - 1)
    done = CliRunner().invoke(cli, ["inspect", "memory://zoo/net.t7", "--max-download", "0.000000005"])
    assert "has more than 5e-09 GB" in str(done.exception)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(download, "READ_TIMEOUT", 0.2)
    with serving(Silent) as address, pytest.raises(tm.UsageError, match="the server did not answer in time"):
        local_copy(f"{address}/net.t7")


def test_a_server_that_takes_no_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(download, "CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting:
        for _ in range(8):  # nobody takes these, and the system answers no more than a few
            other = waiting.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        time.sleep(0.1)
        began = time.monotonic()
        with pytest.raises(tm.UsageError, match="the server did not answer in time"):
            local_copy(f"http://127.0.0.1:{full.getsockname()[1]}/net.t7")
        assert time.monotonic() - began < 5


class Drip(Endless):
    """Sends a byte now and then, without end; of all headers or the second answer's too where the address says so."""

    def do_HEAD(self) -> None:
        if "headers" in self.path:
            self.wfile.write(b"HTTP/1.0 200 OK\r\nX-")
            return self.drip()
        if "answer" in self.path:
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\nAccept-Ranges: none\r\n\r\n")
            return None
        return super().do_HEAD()

    def do_GET(self) -> None:
        if "answer" in self.path:
            self.wfile.write(b"HTTP/1.0 200 OK\r\nX-")
        else:
            self.do_HEAD()
        self.drip()

    def drip(self) -> None:
        with suppress(OSError):
            while True:
                self.wfile.write(b"0")
                time.sleep(0.02)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("net.t7", "less than 1,000 bytes a second"),
        ("headers.t7", "did not answer in time"),
        ("answer.t7", "did not answer in time"),
    ],
)
def test_a_server_that_sends_byte_by_byte_is_given_up(
    path: str, said: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(download, "CONNECT_TIMEOUT", 0.1)
    monkeypatch.setattr(download, "READ_TIMEOUT", 0.2)
    with serving(Drip) as address, pytest.raises(tm.UsageError, match=said):
        local_copy(f"{address}/{path}")
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_what_a_dead_process_left_is_removed(cache: Path) -> None:
    fsspec.filesystem("memory").pipe("/zoo/net.t7", CONTENT)
    kept = local_copy("memory://zoo/net.t7")
    kept.unlink()
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead, own, elsewhere, old = (
        kept.parent / f".{name}.part"
        for name in (
            f"{download.process_name().rpartition('.')[0]}.{int(done.stdout)}.abc",
            f"{download.process_name()}.abc",
            "other_machine-00000001.5.1.abc",
            "tmpabc",
        )
    )
    for part in (dead, own, elsewhere, old):
        part.touch()
    os.utime(old, (0, 0))
    local_copy("memory://zoo/net.t7")
    assert [part.exists() for part in (dead, own, elsewhere, old)] == [False, True, True, False]


class Stuck(Silent):
    """Says nothing for longer than anybody waits."""

    def do_HEAD(self) -> None:
        time.sleep(30)


@pytest.mark.slow
def test_the_deadline_of_a_file_covers_its_download(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    began = time.monotonic()
    with serving(Stuck) as address:
        words = ["convert", f"{address}/net.t7", "-o", str(tmp_path / "out"), "--timeout", "2", "--json"]
        done = CliRunner().invoke(cli, words, standalone_mode=False)
    (file,) = json.loads(done.output)["files"]
    assert "it took longer than 2 seconds" in file["message"]
    assert time.monotonic() - began < 25

"""Archives around one model are opened, whatever they are in; of several files the names are told; none is written."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

import torchmigrate as tm
from torchmigrate.base.errors import LimitExceeded, T7Error, TornFile
from torchmigrate.cli.main import cli
from torchmigrate.t7 import Limits, load, load_file

FIXTURES = Path(__file__).parents[2] / "fixtures"
RAW = (FIXTURES / "values" / "cyclic.t7").read_bytes()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def no_bytes(value: object) -> str | None:
    """The name of a case: what is packed holds the time, by which processes of the tests would name it differently."""
    return "data" if isinstance(value, bytes) else None


@pytest.mark.parametrize(
    ("data", "packed"),
    [
        (gzip.compress(RAW), "gzip"),
        (lzma.compress(RAW), "xz"),
        (bz2.compress(RAW), "bzip2"),
        (lzma.compress(RAW[:50]) + lzma.compress(RAW[50:]), "xz"),
        (bz2.compress(RAW[:50]) + bz2.compress(RAW[50:]) + bytes(512), "bzip2"),
        (zipped({"nets/net.t7": RAW}), "zip (nets/net.t7)"),
        (zipped({"net.t7": RAW}, zipfile.ZIP_STORED), "zip (net.t7)"),
        (zipped({"net.t7": RAW}, zipfile.ZIP_LZMA), "zip (net.t7)"),
        (zipped({"a/": b"", "a/net.t7": RAW, "__MACOSX/a/._net.t7": b"x", ".DS_Store": b"y"}), "zip (a/net.t7)"),
        (zipped({"README.md": b"text", "net.T7": RAW, "LICENSE": b"text"}), "zip (net.T7)"),
        (zipped({"weights.bin": RAW}), "zip (weights.bin)"),
        (zipped({"net.t7.gz": gzip.compress(RAW)}), "gzip in zip (net.t7.gz)"),
        (tarred({"net.t7": RAW}), "tar (net.t7)"),
        (tarred({"../../etc/net.t7": RAW, "/readme": b"text"}), "tar (../../etc/net.t7)"),
        (tarred({"net.t7": RAW}, "w:gz"), "tar (net.t7) in gzip"),
        (tarred({"net.t7": RAW}, "w:xz"), "tar (net.t7) in xz"),
        (tarred({"n" * 300 + ".t7": RAW}), f"tar ({'n' * 97}.t7)"),
        (tarred({"net.t7": RAW})[: -2 * 512], "tar (net.t7)"),  # without the end that some programs leave out
    ],
    ids=no_bytes,
)
def test_one_model_in_an_archive(data: bytes, packed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("archive").write_bytes(data)
    for source in ("archive", data):
        file = load_file(source)
        assert (file.packed, file.size) == (packed, len(RAW))
        again = io.BytesIO()
        tm.dump(file.objects[0], again)
        assert again.getvalue() == RAW
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


SEVERAL = {"a.t7": RAW, "b.t7": RAW, "c.txt": b"text"}


@pytest.mark.parametrize(
    ("data", "said", "error"),
    [
        (zipped(SEVERAL), r"The zip archive holds 3 files, not one: a\.t7, b\.t7, c\.txt", T7Error),
        (tarred(SEVERAL), r"The tar archive holds 3 files, not one: a\.t7", T7Error),
        (zipped({f"{i}.t7": b"" for i in range(20)}), r"holds 20 files.* 7\.t7 and 12 more", T7Error),
        (zipped({"readme": b"x", "licence": b"y"}), "holds 2 files", T7Error),
        (zipped({"a/": b""}), "The zip archive holds no file", T7Error),
        (tarred({}) + b"", "zeros", T7Error),
        (zipped({f"{i:0200}": b"" for i in range(11_000)}), "more than 10,000 files", LimitExceeded),
        (tarred({f"{i}": b"" for i in range(10_002)}), "more than 10,000 files", LimitExceeded),
        (zipped({"net.t7": RAW})[:-30], "The zip archive is torn", TornFile),
        (lzma.compress(RAW)[:-20], "The xz archive is torn", TornFile),
        (bz2.compress(RAW)[:-9], "The bzip2 archive is torn", TornFile),
        (tarred({"net.t7": bytes(5000) + RAW})[:3000], "The tar archive is torn", TornFile),
        (zipped({"net.t7": RAW}, zipfile.ZIP_STORED).replace(RAW[-9:], bytes(9)), "Bad CRC-32", T7Error),
        (lzma.compress(RAW)[:30] + bytes(50), "The xz archive is damaged", T7Error),
        (bz2.compress(RAW)[:30] + bytes(50), "The bzip2 archive is damaged", T7Error),
        (zipped({"net.t7": b"text"}), "a zip archive of a text file", T7Error),
        (tarred({"net.t7": b"text"}, "w:gz"), "a gzip archive of a tar archive of a text file", T7Error),
        (zipped({"net.t7": RAW[:-3]}), "In what the zip archive holds", TornFile),
    ],
    ids=no_bytes,
)
def test_what_is_no_archive_around_a_model(data: bytes, said: str, error: type[T7Error]) -> None:
    with pytest.raises(error, match=said):
        load(data)


def _encrypted() -> bytes:
    data = bytearray(zipped({"net.t7": RAW}))
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + at] |= 1
    return bytes(data)


def _other_method() -> bytes:
    data = bytearray(zipped({"net.t7": RAW}))
    for magic, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = data.index(magic) + at
        data[start : start + 2] = struct.pack("<H", 99)
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "said"), [(_encrypted, "is encrypted"), (_other_method, "in a way that Python does not unpack")]
)
def test_zips_that_can_not_be_unpacked(make: Callable[[], bytes], said: str) -> None:
    with pytest.raises(T7Error, match=said):
        load(make())


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_bombs(pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(bytes(3_000_000))
    for data in (bomb, zipped({"net.t7": bomb}), tarred({"net.t7": bomb}), zipped({"net.t7": bytes(3_000_000)})):
        with pytest.raises(LimitExceeded, match=r"holds more than Limits\.unpacked_bytes = 2000000"):
            load(data, limits=Limits(unpacked_bytes=2_000_000))
    nested = RAW
    for _ in range(9):
        nested = pack(nested)
    with pytest.raises(T7Error, match=r"archive of an? .* archive of"):
        load(nested)


def test_every_cut_of_an_archive_is_a_clean_answer() -> None:
    for whole in (zipped({"net.t7": RAW}), tarred({"net.t7": RAW}, "w:xz"), bz2.compress(RAW), tarred({"a": RAW})):
        for length in range(8, len(whole), 97):
            for data in (whole[:length], whole[:length] + b"\xff" + whole[length + 1 :]):
                with suppress(T7Error):  # a byte in a gap or a time changes nothing
                    load(data)


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "net.tar.gz"],
        pytest.param(["extract", "net.tar.gz", "-o", "all.npz"], marks=pytest.mark.slow),
        pytest.param(["convert", "net.tar.gz", "--source-only", "-o", "all.npz"], marks=pytest.mark.slow),
        pytest.param(["verify", "net.tar.gz", "--reference", "answers.zip", "--no-layers"], marks=pytest.mark.slow),
    ],
)
def test_commands_open_them(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, reference = (FIXTURES / "models" / f"mobile_b32{end}" for end in (".t7", ".reference.t7"))
    Path("net.tar.gz").write_bytes(tarred({"old/net.t7": model.read_bytes(), "old/README": b"text"}, "w:gz"))
    Path("answers.zip").write_bytes(zipped({"answers.t7": reference.read_bytes()}))
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert done.return_value == 0, done.output
    if words[0] == "inspect":
        assert "unpacked from tar (old/net.t7) in gzip" in done.output
    written = ["all.npz"] if "-o" in words else []
    assert sorted(path.name for path in tmp_path.iterdir()) == [*written, "answers.zip", "net.tar.gz"]

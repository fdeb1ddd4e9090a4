"""Files that are something else."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from t7.handwritten import FIXTURES, NIL, integer, number, storage, string, table, tensor, torch

from torchmigrate.t7 import T7Error, TornFile, load, load_file
from torchmigrate.t7.reading.diagnosis import diagnose
from torchmigrate.t7.writing.dump import dump


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, raw in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), raw)
    return file.getvalue()


def tarred(name: str = "model.t7") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return file.getvalue()


def saved(save: object, *args: object) -> bytes:
    file = io.BytesIO()
    save(file, *args)  # type: ignore[operator]
    return file.getvalue()


#: Numbers of which some have a byte that is that of a new line.
DOUBLES = saved(lambda file: dump(np.arange(0.0, 30_000.0, 7.0) / 1.1, file))

ROWS = {
    "empty": (b"", "it is empty", "interrupted"),
    "zeros": (bytes(4096), "only zeros", "interrupted"),
    "PyTorch": (zipped(archive__data_pkl=b"x"), "PyTorch 1.6 or later", "torch.load"),
    "old PyTorch": (
        pickle.dumps(0x1950A86A20F9469CFC6C, 2) + b"\x80\x02M\xe9\x03.",
        "before PyTorch 1.6",
        "torch.load",
    ),
    "pickle": (pickle.dumps([1, 2, 3], 4), "a Python pickle", "trust"),
    "npz": (saved(np.savez, np.zeros(3)), "numpy .npz", "numpy.load"),
    "npy": (saved(np.save, np.zeros(3)), "numpy .npy", "numpy.load"),
    "zip": (zipped(readme_txt=b"some text"), "a zip archive of a text file", "editor"),
    "gzip of text": (gzip.compress(b"x" * 100), "a gzip archive of a text file", "editor"),
    "gzip of tar": (gzip.compress(tarred()), "a gzip archive of a tar archive of empty", "interrupted"),
    "zip of a file": (zipped(nets__model_t7=b"x"), "a zip archive of a text file", "editor"),
    "tar": (tarred(), "a tar archive of empty", "interrupted"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5", "h5py"),
    "web page": (b"\n<!DOCTYPE html>\n<html><head><title>Download</title>", "a web page", "Get the file again"),
    "web page without doctype": (b"<HTML><body>", "a web page", "Get the file again"),
    "git-LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n",
        "git-LFS pointer",
        "git lfs pull",
    ),
    "safetensors": (struct.pack("<Q", 40) + b'{"a":{"dtype":"F32"' + b" " * 100, "safetensors", "safetensors"),
    "ONNX": (b"\x08\x08\x12\x07pytorch\x1a\x051.9.0" + bytes(30), "ONNX", "onnx.load"),
    "text": ("-- Lösung\nreturn 1\n".encode(), "a text file that begins with '-- Lösung", "editor"),
    "ASCII with Windows line ends": (
        (FIXTURES / "values" / "strings.ascii.t7").read_bytes().replace(b"\n", b"\r\n"),
        "line ends were changed",
        "dos2unix",
    ),
    "PyTorch 0.1": (tarred("sys_info"), "before PyTorch 0.2", "torch.load"),
    "read as text": (
        DOUBLES.decode("utf-8", "replace").encode(),
        "was read as text and saved again",
        "as binary",
    ),
    "line ends changed": (DOUBLES.replace(b"\n", b"\r\n"), "whose line ends were changed", "autocrlf"),
    "numbers with commas": (b"0.5,0.25\n1,2\n", "a text file that begins with '0.5,0.25", "editor"),
    "numbers in a row": (b"3 5\n0.1 0.2 0.3\n", "a text file that begins with '3 5", "editor"),
    "labels": (b"5\n7\n4\n1\n9\n", "a text file that begins with '5", "editor"),
    "counts": (b"3\n4\n1\n5\n9\n2\n", "a text file that begins with '3", "editor"),
    "dates": (b"2016-05-01 loss 0.5\n", "a text file that begins with '2016", "editor"),
    "vocabulary": (b"<blank> 1\n<unk> 2\n", "a text file", "editor"),
    "BigDL, Java": (b"\xac\xed\x00\x05sr\x00\x27com.intel.analytics.bigdl", "Java objects (BigDL", "wrote it"),
    "BigDL, protobuf": (b"\x12\x30\x0a\x05conv1" + bytes(60), "protobuf file (Caffe, TensorFlow, BigDL)", "wrote it"),
    "caffemodel": (b"\x0a\x09CaffeNet1\xa2\x06\x80\x01" + bytes(140), "protobuf file (Caffe", "wrote it"),
    "TensorFlow graph": (b"\x0a\x2b\x0a\x05input\x12\x0bPlaceholder" + bytes(40), "protobuf file", "wrote it"),
    "OpenNMT": (b"\x06\0\0\0\x10\0TransformerSpec\0\x07\0\0\0", "CTranslate2 (OpenNMT", "ctranslate2"),
    "unknown": (b"\xde\xad\xbe\xef" + bytes(60), "a file of another kind", "Find out"),
    "unknown letters": (b"DKNT\x01\0\0\0" + bytes(60), "the letters 'DKNT'", "Find out"),
    "doubles": (np.linspace(1.1, 2, 60).tobytes(), "a file of another kind", "Find out"),
    "bytecode": (b"\x1bLJ\x02" + bytes(20), "LuaJIT code", "luajit"),
}


@pytest.mark.parametrize("name", ROWS)
def test_says_what_the_file_is_and_what_opens_it(name: str) -> None:
    raw, what, opens = ROWS[name]
    with pytest.raises(T7Error) as caught:
        load(raw)
    assert what in str(caught.value)
    assert opens in caught.value.hint
    assert caught.value.offset == 0
    for word in ("at byte", "damaged", "a class before"):
        assert word not in str(caught.value)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_damaged_t7_file_is_not_called_something_else(part: float) -> None:
    for path in sorted((FIXTURES / "values").glob("*.t7")):
        raw = path.read_bytes()
        assert diagnose(raw[: max(int(len(raw) * part), 4)]) is None, path.name


def test_errors_name_the_file(tmp_path: Path) -> None:
    for name, raw in (("torn.t7", string("whole")[:-2]), ("page.t7", b"<html>"), ("none.t7", None)):
        path = tmp_path / name
        if raw is not None:
            path.write_bytes(raw)
        with pytest.raises(T7Error) as caught:
            load(path)
        assert str(caught.value).count(str(path)) == 1
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_pattern_that_matches_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(T7Error, match="no file matches this pattern"):
        load(tmp_path / "*.t7")


def test_how_much_of_a_torn_file_is_missing() -> None:
    raw = (FIXTURES / "values" / "tensor_Float.t7").read_bytes()
    with pytest.raises(TornFile, match="5 bytes too early"):
        load_file(raw[:-5])


def test_a_class_that_writes_itself_in_a_way_of_its_own_is_named() -> None:
    raw = table(1, string("a"), torch(2, "my.Own", number(1) + integer(99)), string("b"), number(2))
    with pytest.raises(T7Error, match=r"my\.Own holds something else than a table.*`bodies` can describe"):
        load_file(raw)


def test_bytes_after_the_last_object_are_counted() -> None:
    raw = table(1, string("a"), number(1))
    file = load_file(raw + b"\n")
    assert (file.trailing, len(file.objects), file.error) == (1, 1, None)
    assert load_file(raw + b"-- written by me").trailing == 16
    # what begins like an object is one, and torn
    with pytest.raises(TornFile):
        load_file(raw + integer(3, 2))
    # after a number or nil it would be a guess
    with pytest.raises(T7Error):
        load_file(number(1) + b"\n")
    with pytest.raises(T7Error):
        load(NIL + b"any binary file")


def test_numbers_that_read_as_a_function_are_none() -> None:
    # a model of another program, which begins with 7 and 5
    raw = integer(7, 5, 5, 5, 10, 0) + np.linspace(0.1, 9, 50, dtype=np.float32).tobytes()
    with pytest.raises(T7Error, match="object begins with a number from 0 to 8"):
        load_file(raw)


def test_a_guess_gives_no_tensor_without_elements() -> None:
    # with longs of 4 bytes, the first half is a tensor of 2x0
    raw = tensor(1, (2, 3), (3, 1), 1, storage(2, *range(6)))
    with pytest.raises(TornFile):
        load_file(raw[: 4 + 4 + 7 + 22 + 4 + 5 * 4 + 4])

"""Says what a file is that can't be read as `.t7`, and what opens it."""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass

from ...base.errors import T7Error

_HEAD = 4096
_SAMPLE = 1 << 16
#: What UTF-8 makes of a byte that it doesn't know.
_REPLACEMENT = b"\xef\xbf\xbd"
#: What to do about a file that an interrupted download or copy leaves.
INCOMPLETE = "Its download or copy was interrupted: get it again."
#: What to do with a file that is called so.
LUA_SOURCE = (
    "Lua source holds no weights. If it builds a network whose parameters lie in a .t7 file: torchmigrate convert "
    "model.lua --weights params.t7. If it defines layers: convert, verify, export or optimizer of the .t7 file with "
    "--lua layers.lua. In Torch7, torch.save writes the .t7 file of a network."
)
_DOWNLOAD = "Get the file again: from the page behind the link, or with the download button."


@dataclass(frozen=True)
class Diagnosis:
    """What a file is.

    Attributes:
        what: such as "a gzip archive".
        opens: what to do with it, a sentence.
    """

    what: str
    opens: str


@dataclass(frozen=True)
class _Magic:
    """The bytes by which a kind of file is known."""

    magic: bytes
    what: str
    opens: str
    at: int = 0


_MAGICS = (
    _Magic(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P", "a PyTorch file (before PyTorch 1.6)", "torch.load opens it."),
    _Magic(b"\x1f\x8b", "a gzip archive", "Unpack it first: gunzip, or tar xzf if it is a .tar.gz."),
    _Magic(b"BZh", "a bzip2 archive", "Unpack it first with bunzip2."),
    _Magic(b"\xfd7zXZ\x00", "an xz archive", "Unpack it first with unxz."),
    _Magic(b"\x28\xb5\x2f\xfd", "a zstd archive", "Unpack it first with unzstd."),
    _Magic(b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it first with 7z x."),
    _Magic(b"Rar!\x1a\x07", "a rar archive", "Unpack it first with unrar x."),
    _Magic(b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, hdf5 of Torch)", "h5py opens it."),
    _Magic(b"\x93NUMPY", "a numpy .npy file", "numpy.load opens it."),
    _Magic(b"version https://git-lfs", "a git-LFS pointer, not the file itself", "Run git lfs pull in the repository."),
    _Magic(b"GGUF", "a GGUF file", "llama.cpp opens it."),
    _Magic(b"TFL3", "a TensorFlow Lite model", "TensorFlow Lite opens it.", at=4),
    _Magic(b"\x1bLua", "compiled Lua code", "The lua that compiled it runs it; it holds no model."),
    _Magic(b"\x1bLJ", "compiled LuaJIT code", "luajit runs it; it holds no model."),
    _Magic(b"\x89PNG", "a PNG image", "It holds no model."),
    _Magic(b"\xff\xd8\xff", "a JPEG image", "It holds no model."),
    _Magic(b"MATLAB 5.0", "a MATLAB file", "scipy.io.loadmat opens it."),
    _Magic(b"\xac\xed\x00\x05", "a file of Java objects (BigDL, DL4J)", "The Java program that wrote it opens it."),
    _Magic(b"%PDF-", "a PDF document", "It holds no model."),
    _Magic(b"SQLite format 3", "an SQLite database", "sqlite3 opens it."),
    _Magic(b"\x7fELF", "a program or library", "It holds no model."),
)
_HTML = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)
# The fields of an onnx.ModelProto: ir_version, then producer name, version or a later field of text.
_ONNX = re.compile(rb"\x08[\x01-\x20][\x12\x1a\x22\x2a\x32\x3a\x42]", re.DOTALL)
# CTranslate2 writes models of OpenNMT so: its version, then the name of the kind of model, as long as it says.
_CTRANSLATE = re.compile(rb"[\x01-\x10]\0\0\0.\0[A-Z][A-Za-z0-9]{2,60}Spec\0", re.DOTALL)
# A table, an object and a function say the number that they have in the file, and the first has the number 1.
_ASCII_T7 = re.compile(rb"\s*[0-8][ \t]*(?:\n|\Z)")
_NUMBERS = re.compile(rb"\s*(?:[3478]\s+(?!1\s)\d{1,9}|5\s+(?![01]\s)\d{1,9})(?:\s+[-+.\deE]+){2}\s")
# The tag of one of the first fields of a protobuf message, if it is text or a message, and how long that is.
_FIELD = re.compile(rb"[\x0a\x12]([\x80-\xff]{0,4}[\x01-\x7f])", re.DOTALL)
_CRLF = re.compile(rb"\s*[0-8]\r\n")


def diagnose(data: bytes | mmap.mmap) -> Diagnosis | None:
    """What a file is, if it is certainly no `.t7` file of the usual kind; None if it may be a damaged one."""
    head = data[:_HEAD]
    if not head:
        return Diagnosis("empty", INCOMPLETE)
    for row in _MAGICS:
        if head.startswith(row.magic, row.at):
            return Diagnosis(row.what, row.opens)
    return _archive(head) or _structured(head, len(data)) or _text(head) or _protobuf(head) or diagnose_text_mode(data)


def _archive(head: bytes) -> Diagnosis | None:
    if head.startswith(b"ustar", 257):
        name = head[:100].rstrip(b"\0")
        if name in (b"sys_info", b"pickle", b"tensors", b"storages"):
            return Diagnosis("a PyTorch file (a tar, before PyTorch 0.2)", "torch.load opens it.")
        return Diagnosis(f"a tar archive{_holding(name)}", "Unpack it first with tar xf.")
    if head[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
        return None
    if b"data.pkl" in head or b"constants.pkl" in head:
        return Diagnosis("a PyTorch file (a zip, PyTorch 1.6 or later)", "torch.load or torch.jit.load opens it.")
    if b".npy" in head:
        return Diagnosis("a numpy .npz file", "numpy.load opens it.")
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")] if head[2:3] == b"\x03" else b""
    hint = "torch.load opens it if PyTorch wrote it; else unpack it first with unzip."
    return Diagnosis(f"a zip archive{_holding(name)}", hint)


def _holding(name: bytes) -> str:
    """Names the first file of an archive."""
    shown = name[:100].decode("utf-8", "replace")
    return f" that holds {shown}" if shown and shown.isprintable() else ""


def diagnose_text_mode(data: bytes | mmap.mmap) -> Diagnosis | None:
    """Says whether a program took a binary file for text, and changed it."""
    sample = data[:_SAMPLE]
    if sample.count(_REPLACEMENT) >= 4:
        return Diagnosis(
            "a binary file that was read as text and saved again, which destroyed every byte above 127",
            "Get the file again, as binary (from git: with `*.t7 binary` in .gitattributes).",
        )
    lines = sample.count(b"\n")
    if lines >= 16 and sample.count(b"\r\n") == lines:
        return Diagnosis(
            "a binary file whose line ends were changed to those of Windows",
            "Get the file again, as binary (from git: with core.autocrlf off; by FTP: in binary mode).",
        )
    return None


def _structured(head: bytes, size: int) -> Diagnosis | None:
    if len(head) >= 2 and head[0] == 0x80 and 2 <= head[1] <= 5:
        return Diagnosis("a Python pickle", "Python's pickle opens it: do that only if you trust whoever made it.")
    if len(head) > 9 and head[8:10] in (b'{"', b"{}", b"{ ") and 0 < int.from_bytes(head[:8], "little") <= size - 8:
        return Diagnosis("a safetensors file", "safetensors opens it.")
    if _CTRANSLATE.match(head):
        return Diagnosis("a model of CTranslate2 (OpenNMT, fairseq, Marian)", "ctranslate2 opens it.")
    if _ONNX.match(head):
        return Diagnosis("an ONNX model, or another protobuf file", "onnx.load opens it if it is ONNX.")
    return None


def _protobuf(head: bytes) -> Diagnosis | None:
    """A protobuf message whose first field is the name of a network, or a message that begins with that of a layer."""
    content = head
    for _ in range(3):
        found = _FIELD.match(content)
        if found is None:
            return None
        sizes = found[1]
        size = sum((byte & 0x7F) << 7 * i for i, byte in enumerate(sizes))
        content = content[found.end() : found.end() + size]
        if len(content) >= 2 and content[:64].isascii() and content[:64].decode().isprintable():
            return Diagnosis("a protobuf file (Caffe, TensorFlow, BigDL)", "The program that wrote it opens it.")
    return None


def _text(head: bytes) -> Diagnosis | None:
    if _HTML.match(head):
        return Diagnosis("a web page (HTML), not the file that its link promised", _DOWNLOAD)
    if _CRLF.match(head):
        return Diagnosis(
            "an ASCII .t7 file whose line ends were changed to those of Windows",
            "Get the file again as binary, or try dos2unix on a copy.",
        )
    start = head[:200]
    try:
        shown = start.decode()
    except UnicodeDecodeError as error:
        # a character may be cut in two at the end
        if error.start < len(start) - 3:
            return None
        shown = start[: error.start].decode()
    # an ASCII .t7 file is text too, and begins with the number of a type on a line of its own
    if _ASCII_T7.match(head) and not _NUMBERS.match(head):
        return None
    if not all(c.isprintable() or c in "\n\r\t\f" for c in shown):
        return None
    return Diagnosis(f"a text file that begins with {shown[:30]!r}", "Open it in an editor to see what it is.")


def is_another_kind(error: T7Error) -> bool:
    """Is a file wrong from its first number on, so that nothing of it can be damaged?"""
    return error.offset == 0 and not error.path and error.message.lower().startswith(_NO_TAG)


def explain_tag(tag: int) -> tuple[str, str]:
    """What an impossible tag of an object says: (message, hint)."""
    message = f"{_NO_TAG} from 0 to 8, not with {tag}"
    if tag & 0xFFFF == 0 and 0x3F80 <= tag >> 16 <= 0x41F0:
        return message, "That is the second half of a double: the reader is 4 bytes off, perhaps since " + _OWN_WAY
    letters = (tag & 0xFFFFFFFF).to_bytes(4, "little")
    if all(0x20 <= letter < 0x7F for letter in letters):
        message += f", the letters {letters.decode()!r}"
    return message, "The file is damaged, or " + _OWN_WAY


_NO_TAG = "an object begins with a number"
_OWN_WAY = "a class before this place writes itself in a way of its own that is not known (from Python: `bodies`)."

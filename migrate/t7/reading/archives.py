"""Opens what is packed around one file: gzip, xz, bzip2, zip and tar, also in each other. No member becomes a file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ...base.errors import LimitExceeded, T7Error, TornFile
from ..limits import Limits
from .file_bytes import Data, spool

if TYPE_CHECKING:
    import zipfile

_CHUNK = 1 << 20

#: So many archives may be in each other: a .t7.gz in a .tar.gz in a .zip, for example.
_DEEPEST = 5

#: More files an archive around one model does not hold; each takes memory before any is read.
_MOST_MEMBERS = 10_000

#: Memory that unpacking an xz archive may take; the strongest that xz makes needs 65 MiB.
_XZ_MEMORY = 1 << 28

#: What files of Torch7 are called; the rest of an archive's files is beside it.
MODELS = (".t7", ".t7b", ".th7", ".net", ".torch", ".t7.gz", ".t7.xz", ".t7.bz2", ".ascii")

#: How the names of archives end.
ENDINGS = (".gz", ".xz", ".bz2", ".tgz", ".txz", ".tbz", ".tbz2", ".tar", ".zip")

#: What macOS and Windows put into archives by themselves.
_BY_ITSELF = (".ds_store", "thumbs.db", "desktop.ini")

#: The first entries of the archives that PyTorch writes, which are no archives around a file.
_OF_PYTORCH = (b"sys_info", b"pickle", b"tensors", b"storages")

#: So many names are told, and so much of each.
_NAMES, _LONGEST = 8, 100


class _Gzip:
    """A member of a gzip archive, with the interface that Python's other decompressors have."""

    def __init__(self) -> None:
        import zlib

        self._inflate = zlib.decompressobj(wbits=31)

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail or data, max_length)


def _xz() -> Any:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)


def _bzip2() -> Any:
    import bz2

    return bz2.BZ2Decompressor()


#: Kind of a packed stream -> the bytes with which it begins, and what unpacks a part of it.
_STREAMS: dict[str, tuple[bytes, Callable[[], Any]]] = {
    "gzip": (b"\x1f\x8b\x08", _Gzip),
    "xz": (b"\xfd7zXZ\0", _xz),
    "bzip2": (b"BZh", _bzip2),
}


def without_archive(name: str) -> str:
    """The name of what an archive holds: `net.t7` for `net.t7.gz`, `net` for `net.tar.gz`."""
    while ending := next((end for end in ENDINGS if name.lower().endswith(end)), ""):
        name = name[: -len(ending)]
    return name


def in_words(kinds: Sequence[str]) -> str:
    """`a gzip archive of a tar archive of `, of the kinds of archives in each other."""
    names = (kind.partition(" ")[0] for kind in kinds)
    return "".join(f"{'an' if name == 'xz' else 'a'} {name} archive of " for name in names)


def opened(data: Data, limits: Limits, *, salvage: bool) -> tuple[Data, list[str]]:
    """What is in archives, and of which kinds these are, the outermost first; the data itself where it is none.

    Args:
        data: a file.
        limits: how much archives may hold.
        salvage: be content with the part that can be unpacked.

    Raises:
        LimitExceeded: they hold more than `limits.unpacked_bytes`.
        TornFile: one ends too early.
        T7Error: one is damaged or encrypted, or holds several files, or none.
    """
    kinds: list[str] = []
    left = limits.unpacked_bytes
    while len(kinds) < _DEEPEST and (kind := _kind_of(data)):
        try:
            member, pieces = _OPENERS[kind](data, salvage)
            data = spool(_limited(pieces, kind, left, limits))
        except (T7Error, MemoryError):
            raise
        except Exception as error:  # a damaged archive may raise anything
            raise _damaged(kind, error) from error
        left -= len(data)
        kinds.append(f"{kind} ({member})" if member else kind)
    return data, kinds


def _kind_of(data: Data) -> str:
    """Which kind of archive this is; "" for everything else, and for archives that PyTorch and numpy write."""
    head = data[:512]
    for kind, (magic, _) in _STREAMS.items():
        if head.startswith(magic) and (kind != "bzip2" or head[4:10] == b"1AY&SY"):
            return kind
    if head.startswith(b"ustar", 257) and head[:100].rstrip(b"\0") not in _OF_PYTORCH:
        return "tar"
    start = data[:4096]
    theirs = any(name in start for name in (b"data.pkl", b"constants.pkl", b".npy"))
    return "zip" if head[:4] == b"PK\x03\x04" and not theirs else ""


def _limited(pieces: Iterator[bytes], kind: str, left: int, limits: Limits) -> Iterator[bytes]:
    """The pieces, as long as they are not more than may be left."""
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise LimitExceeded(
                f"The {kind} archive holds more than Limits.unpacked_bytes = {limits.unpacked_bytes} allow",
                hint="Raise Limits.unpacked_bytes if you trust the file, or unpack it by other means.",
            )
        yield piece


def _torn(kind: str, data: Data) -> TornFile:
    return TornFile(
        f"The {kind} archive is torn: it ends before the end of what it holds",
        offset=len(data),
        hint="Its download or copy was interrupted: get it again.",
    )


def _damaged(kind: str, error: Exception) -> T7Error:
    if type(error).__name__ == "LZMAError" and "emory" in str(error):
        return LimitExceeded(f"The {kind} archive takes more than {_XZ_MEMORY >> 20} MiB of memory to unpack")
    if isinstance(error, OSError) and error.errno:
        return T7Error(f"Can't unpack the {kind} archive: {error.strerror or error}")
    if isinstance(error, ImportError):
        return T7Error(f"This Python does not unpack a {kind} archive: {error}", hint="Unpack it first.")
    if isinstance(error, NotImplementedError):
        return T7Error(f"The {kind} archive is packed in a way that Python does not unpack: {error}")
    return T7Error(f"The {kind} archive is damaged: {error}", hint="Get it again.")


def _stream(kind: str, data: Data, salvage: bool) -> tuple[str, Iterator[bytes]]:
    return "", _unpacked(kind, data, salvage)


def _unpacked(kind: str, data: Data, salvage: bool) -> Iterator[bytes]:
    """What is in a packed stream, one member after the other, as `cat a.gz b.gz` makes them."""
    magic, make = _STREAMS[kind]
    pos = 0
    while pos < len(data):
        member = make()
        while not member.eof:
            packed = data[pos : pos + _CHUNK] if member.needs_input else b""
            if member.needs_input and not packed:
                if salvage:
                    return
                raise _torn(kind, data)
            pos += len(packed)
            try:
                piece = member.decompress(packed, _CHUNK)
            except Exception as error:
                if salvage:
                    return
                made = _damaged(kind, error)
                made.offset = pos
                raise made from None
            yield piece
        pos -= len(member.unused_data)
        if not data[pos : pos + len(magic)].startswith(magic):
            return  # tapes and some copies pad an archive with zeros


class _View(io.RawIOBase):
    """Bytes as a file, without a copy of them."""

    def __init__(self, data: Data) -> None:
        self._data = memoryview(data)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._data[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = (0, self._at, len(self._data))[whence]
        if base + offset < 0:
            raise ValueError("there is nothing before the beginning")
        self._at = base + offset
        return self._at


def _only(kind: str, names: Sequence[str]) -> int:
    """Which of the files of an archive is the one around which it is."""
    ours = [i for i, name in enumerate(names) if not _comes_by_itself(name)]
    models = [i for i in ours if names[i].lower().endswith(MODELS)]
    chosen = ours if len(ours) == 1 else models
    if len(chosen) == 1:
        return chosen[0]
    if not ours:
        raise T7Error(f"The {kind} archive holds no file")
    shown = ", ".join(names[i][-_LONGEST:] for i in ours[:_NAMES])
    more = f" and {len(ours) - _NAMES:,} more" if len(ours) > _NAMES else ""
    raise T7Error(
        f"The {kind} archive holds {len(ours):,} files, not one: {shown}{more}",
        hint="Unpack it, and give one of them.",
    )


def _comes_by_itself(name: str) -> bool:
    last = name.rpartition("/")[2].lower()
    return name.startswith("__MACOSX/") or last.startswith("._") or last in _BY_ITSELF


def _too_many(kind: str) -> LimitExceeded:
    return LimitExceeded(
        f"The {kind} archive holds more than {_MOST_MEMBERS:,} files", hint="Unpack it, and give one of them."
    )


def _zip(data: Data, salvage: bool) -> tuple[str, Iterator[bytes]]:
    import zipfile

    # what stands in the record at the end, before a list of millions is made
    end = bytes(data[-(1 << 16) - 22 :])
    record = end[end.rfind(b"PK\x05\x06") :]
    if len(record) < 22 or not record.startswith(b"PK\x05\x06"):
        raise _torn("zip", data)
    if int.from_bytes(record[12:16], "little") > _MOST_MEMBERS * 256:
        raise _too_many("zip")
    archive = zipfile.ZipFile(io.BufferedReader(_View(data)))
    members = [member for member in archive.infolist() if not member.is_dir()]
    member = members[_only("zip", [member.filename for member in members])]
    if member.flag_bits & 1:
        raise T7Error(f"{member.filename[-_LONGEST:]} in the zip archive is encrypted", hint="Unpack it first.")
    return member.filename[-_LONGEST:], _read(archive, member)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive, archive.open(member) as stream:
        while piece := stream.read(_CHUNK):
            yield piece


def _tar(data: Data, salvage: bool) -> tuple[str, Iterator[bytes]]:
    import tarfile

    members = []
    whole = True
    with tarfile.open(fileobj=io.BufferedReader(_View(data)), mode="r:") as archive:
        try:
            for number, member in enumerate(archive):
                if number >= _MOST_MEMBERS:
                    raise _too_many("tar")
                if member.isreg():
                    members.append(member)
        except tarfile.ReadError:  # the last file is cut
            whole = False
    member = members[_only("tar", [member.name for member in members])]
    if member.issparse():
        raise T7Error(f"{member.name[-_LONGEST:]} in the tar archive is a sparse file", hint="Unpack it first.")
    start, end = member.offset_data, member.offset_data + member.size
    if not (whole and end <= len(data)) and not salvage:
        raise _torn("tar", data)
    pieces = (data[at : min(at + _CHUNK, end)] for at in range(start, min(end, len(data)), _CHUNK))
    return member.name[-_LONGEST:], pieces


_OPENERS: dict[str, Callable[[Data, bool], tuple[str, Iterator[bytes]]]] = {
    "zip": _zip,
    "tar": _tar,
    **{kind: partial(_stream, kind) for kind in _STREAMS},
}

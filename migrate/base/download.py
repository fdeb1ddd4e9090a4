"""Files behind URLs: downloaded once into a cache, and checked by their SHA-256 each time they are used."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from .errors import UsageError
from .processes import PROCESS, is_abandoned, process_name

#: `https://…`, `s3://…`; a single letter is the drive of a Windows path.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
#: The numeric address of a server in an address, of version 6.
_IPV6 = re.compile(r"(https?://(?:[^/?@]*@)?\[)([0-9A-Fa-f:.]+)(\].*)", re.DOTALL)
_SHA256 = re.compile(r"sha256=([0-9a-fA-F]{64})\Z")
_BLOCK = 1 << 20

#: Which addresses are opened. fsspec knows many more, some of which run what a server says.
PROTOCOLS = frozenset({"http", "https", "s3", "gs", "hf", "file"})

#: No model of Torch7 is larger; a server that never ends would fill the disk.
MAX_DOWNLOAD = 20 * 10**9

#: Seconds in which a server has to answer, and to send something more.
CONNECT_TIMEOUT, READ_TIMEOUT = 30.0, 60.0

#: Bytes a second, over that time: what is slower never ends.
_SLOWEST = 1000

#: What is left of a download that was never finished, and of one of an earlier version, which nobody writes any more.
_PART = re.compile(rf"\.{PROCESS}\.[^.]*\.part")
_OLD = 24 * 3600.0

#: Where the cache is; by default `torchmigrate` in XDG_CACHE_HOME or ~/.cache.
CACHE_VARIABLE = "TORCHMIGRATE_CACHE"


def is_url(text: str) -> bool:
    """Is this the URL of a file, rather than a path?"""
    return _URL.match(text) is not None


def _without_colons(url: str) -> str:
    """The same address, with a server's IPv6 address written in full: fsspec takes each `::` for a chain."""
    found = _IPV6.fullmatch(url)
    try:
        return url if found is None else found[1] + ipaddress.IPv6Address(found[2]).exploded + found[3]
    except ValueError:
        return url


@dataclass(frozen=True)
class Address:
    """Where a remote file is.

    Attributes:
        url: without the fragment.
        sha256: what the file must be, in lower case; None: whatever is there.
    """

    url: str
    sha256: str | None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `URL` or `URL#sha256=…`.

        Raises:
            UsageError: what follows the # is something else, or it is an address of another kind.
        """
        url, hash_sign, fragment = text.partition("#")
        protocol, _, rest = url.partition("://")
        url = f"{protocol.lower()}://{rest}"
        if protocol.lower() not in PROTOCOLS or "::" in _without_colons(url):
            kinds = ", ".join(f"{name}://" for name in sorted(PROTOCOLS))
            raise UsageError(f"{url} is no address that is opened: these are {kinds}, without a chain of ::.")
        if not hash_sign:
            return cls(url, None)
        found = _SHA256.match(fragment)
        if found is None:
            raise UsageError(f"{text!r} ends in {fragment!r}; write #sha256= and 64 hexadecimal digits, or nothing.")
        return cls(url, found[1].lower())

    @property
    def is_web(self) -> bool:
        """Is it the address of a web server?"""
        return self.url.startswith(("http://", "https://"))

    @property
    def file(self) -> str:
        """The name of the file, fit for a file system."""
        last = self.url.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
        return re.sub(r"[^A-Za-z0-9._+=@-]", "_", last).lstrip(".")[-100:] or "file"


def path_behind(text: str) -> Path | None:
    """The path on this machine that a path or an address means; None if it is that of another machine."""
    if not is_url(text):
        return Path(text)
    protocol, _, rest = Address.parse(text).url.partition("://")
    return Path(os.path.expanduser(rest)) if protocol == "file" else None


def cache_folder() -> Path:
    """The folder of downloaded files."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torchmigrate"
    except RuntimeError as error:
        raise UsageError(f"There is no home folder for the cache; {CACHE_VARIABLE} names one.") from error


def local_copy(text: str, step: Callable[[str], None] | None = None, most: int = MAX_DOWNLOAD) -> Path:
    """The path of a local copy of a remote file; it is downloaded if the cache has none, or another version of it.

    Args:
        text: `https://…`, `s3://…`, `hf://…`, one of PROTOCOLS; with `#sha256=…`, its content is checked.
        step: is told what begins.
        most: bytes that it may have.

    Raises:
        UsageError: it can't be fetched, is too large, or is not the file that `#sha256=` promises.
    """
    address = Address.parse(text)
    here = path_behind(text)
    if here is not None and here.exists() and not here.is_file():  # a pipe or a device may never end
        raise UsageError(f"{address.url} is no regular file.")
    folder = cache_folder() / hashlib.sha256(address.url.encode()).hexdigest()[:32]
    target, note = folder / address.file, folder / _NOTE
    system, path = _file_system(address.url)
    info = _asked(system, path)
    version = _version(info)
    if (kept := _kept(target, note)) is not None and _still_good(kept, address, version):
        return target
    if step is not None:
        step("downloading")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The cache {cache_folder()} can't be written: {error.strerror or error}; {CACHE_VARIABLE} names another."
        ) from error
    remove_unfinished(cache_folder())
    found = _download(system, path, address, target, most, info)
    note.write_text(json.dumps({"url": address.url, "sha256": found, "version": version}) + "\n", encoding="utf-8")
    return target


#: The name of what is known of a copy; no file of an address begins with a dot.
_NOTE = ".origin.json"


def remove_unfinished(cache: Path) -> None:
    """Removes what is left of downloads of processes that have died."""
    for part in cache.glob("*/.*.part"):
        found = _PART.fullmatch(part.name)
        with suppress(OSError):
            left = time.time() - part.stat().st_mtime > _OLD if found is None else is_abandoned(part, found)
            if left:
                part.unlink()


def _still_good(kept: dict[str, Any], address: Address, version: str | None) -> bool:
    if address.sha256 is not None:
        return bool(kept["sha256"] == address.sha256)
    # a server that can't be asked leaves us what we have
    return version is None or kept.get("version") == version


def _file_system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise UsageError("Files behind URLs need fsspec: pip install 'fsspec>=2026.6' aiohttp s3fs.") from error
    try:
        system, path = url_to_fs(_without_colons(url), **_time_outs(url))
    except ImportError as error:
        raise UsageError(
            f"{url} can't be opened: {error}. Perhaps: pip install 'fsspec>=2026.6' aiohttp s3fs."
        ) from error
    except ValueError as error:
        raise UsageError(f"{url} can't be opened: {error}.") from error
    return system, str(path)


def _time_outs(url: str) -> dict[str, Any]:
    """Options of the file system of an address, with which it does not wait for ever."""
    protocol = url.partition("://")[0]
    if protocol in ("http", "https"):
        from aiohttp import ClientTimeout

        # no bound of the whole: a large file takes as long as it takes
        timeout = ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT)
        return {"client_kwargs": {"timeout": timeout, "response_class": _bounded_response()}}
    if protocol == "s3":
        return {"config_kwargs": {"connect_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT}}
    return {}


@cache
def _bounded_response() -> type:
    """A response whose headers are there in time as a whole: they may come byte by byte, which ends no time-out."""
    from aiohttp import ClientResponse

    class BoundedResponse(ClientResponse):
        async def start(self, connection: Any) -> ClientResponse:
            async with asyncio.timeout(READ_TIMEOUT):
                return await super().start(connection)

    return BoundedResponse


def _asked(system: Any, path: str) -> Mapping[str, Any] | str:
    """What a server says of a file; a text if it did not answer in time. Nothing of other errors."""
    try:
        info: Mapping[str, Any] = system.info(path)
    except Exception as error:  # each file system has errors of its own; the download will show what is wrong
        return _timed_out(error) or {}
    return info


def _version(info: Mapping[str, Any] | str) -> str | None:
    """What changes when the remote file does: its ETag, time or size; None if nobody says."""
    if isinstance(info, str):
        return None
    told = {name: str(info[name]) for name in ("ETag", "etag", "mtime", "LastModified", "size") if info.get(name)}
    return json.dumps(told, sort_keys=True) if told else None


def _kept(target: Path, note: Path) -> dict[str, Any] | None:
    """What is known of the copy in the cache; None if there is none, or it is not what was downloaded."""
    try:
        known = json.loads(note.read_text("utf-8"))
        with target.open("rb") as stream:
            whole = hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) and known.get("sha256") == whole else None


def _download(system: Any, path: str, address: Address, target: Path, most: int, info: Mapping[str, Any] | str) -> str:
    """Writes the file, whole and as it was promised, or not at all.

    Returns:
        Its SHA-256.
    """
    if isinstance(info, str):
        raise UsageError(f"{address.url} can't be fetched: {info}.")
    # one request for all, so that it is seen how fast it comes; packed on the way, it would have other bytes
    options = {"block_size": 0, "headers": {"Accept-Encoding": "identity"}} if address.is_web else {}
    handle, name = tempfile.mkstemp(prefix=f".{process_name()}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as part:
            try:
                with system.open(path, "rb", **options) as stream:
                    found = _copy(stream, part, most, info.get("size"))
            except _TooLarge as error:
                raise UsageError(
                    f"{address.url} has more than {most / 10**9:g} GB: --max-download allows more."
                ) from error
            except _TooSlow as error:
                said = f"the server sends less than {_SLOWEST:,} bytes a second"
                raise UsageError(f"{address.url} can't be fetched: {said}.") from error
            except FileNotFoundError as error:
                said = _timed_out(error) or "there is no such file, or no answer"
                raise UsageError(f"{address.url} can't be fetched: {said}.") from error
            except Exception as error:  # each file system has errors of its own
                said = _timed_out(error) or f"{type(error).__name__}: {error}"
                raise UsageError(f"{address.url} can't be fetched: {said}") from error
        if address.sha256 not in (None, found):
            raise UsageError(
                f"{address.url} has the SHA-256 {found}, not {address.sha256}: it is another file, or it was damaged."
            )
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)
    return found


def _timed_out(error: BaseException | None) -> str:
    """Says that a server did not answer, which file systems take for a missing file; "" if it did."""
    while error is not None:
        if isinstance(error, TimeoutError):
            return "the server did not answer in time"
        error = error.__cause__ or error.__context__
    return ""


class _TooLarge(Exception):
    """There is more than is allowed."""


class _TooSlow(Exception):
    """It comes so slowly that it would never end."""


def _copy(stream: BinaryIO, part: BinaryIO, most: int, size: Any) -> str:
    if isinstance(size, int) and size > most:
        raise _TooLarge
    digest = hashlib.sha256()
    written = seen = 0
    began = time.monotonic()
    while block := stream.read(_BLOCK):
        written += len(block)
        if written > most:
            raise _TooLarge
        if (took := time.monotonic() - began) > READ_TIMEOUT:
            if written - seen < _SLOWEST * took:
                raise _TooSlow
            began, seen = time.monotonic(), written
        digest.update(block)
        part.write(block)
    return digest.hexdigest()

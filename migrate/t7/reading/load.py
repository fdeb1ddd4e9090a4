"""Reads a file: finds out how it was written, and reads its objects."""

from __future__ import annotations

import gc
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from ...base.errors import T7Error, TornFile, UsageError
from ..bodies import Body, with_standard
from ..limits import DEFAULT_LIMITS, Limits
from ..values import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value
from .archives import in_words, opened
from .diagnosis import INCOMPLETE, LUA_SOURCE, Diagnosis, diagnose, diagnose_text_mode, is_another_kind
from .fields_by_position import FORMS, bodies_of
from .file_bytes import Data, Source, open_data
from .reader import Loss, Reader
from .tokens import Tokens
from .tokens_ascii import AsciiTokens
from .tokens_binary import BinaryTokens
from .weights_json import WEIGHTS_ONLY, read_weights_json

#: How an ASCII file begins: the tag of its first object on a line (a binary one has zeros after the tag).
_ASCII = re.compile(rb"[ \t\n\v\f\r]*[0-8][ \t\n\v\f\r]")
_BIG_ENDIAN = re.compile(rb"\0\0\0[\1-\x08]")


#: How every bytecode begins, that of Lua and that of LuaJIT.
_BYTECODE = b"\x1bL"


def _is_no_chance(value: Value) -> bool:
    """Is this what bytes that mean something else are not by chance?"""
    if isinstance(value, LuaFunction):
        return value.bytecode.startswith(_BYTECODE)
    if isinstance(value, Tensor):
        # Torch7 makes none that has dimensions, but no elements
        return value.numel() > 0 or not value.size
    return isinstance(value, (LuaTable, LuaObject, Storage))


@dataclass(frozen=True)
class T7File:
    """A file that was read to its end, or (only with `salvage`) up to where it is torn or damaged.

    Attributes:
        objects: the objects one after the other; almost every file has one.
        format: "binary" or "ascii"; "json" for a list of layers that waifu2x exported.
        long_size: bytes of a C long in it, 8 or 4; None if it made no difference.
        functions: number of Lua functions; their bytecode was not run.
        size: length in bytes; of a packed file, after unpacking.
        big_endian: was it written on a machine whose numbers begin with the highest byte (PowerPC, SPARC)?
        packed: such as "gzip" or "tar (net.t7) in xz"; "" for a file that is not packed.
        form: how its classes write themselves, if in a way that Torch7 gave up ("" for the usual one).
        bodies: the bodies of that form: `dump(..., bodies=file.bodies)` writes the same bytes again.
        parts: how many files it was made of, one appended to the other: each counts its objects from 1.
        trailing: how many bytes after the last object are none of Torch7.
        error: why it could not be read to its end; None if it could.
        losses: what is not whole because of that, from the top down to the place of the error.
        remark: what was added that the file does not say, or "".
    """

    objects: tuple[Value, ...]
    format: str
    long_size: int | None
    functions: int
    size: int
    big_endian: bool = False
    packed: str = ""
    form: str = ""
    bodies: Mapping[str, Body] | None = None
    parts: int = 1
    trailing: int = 0
    error: T7Error | None = None
    losses: tuple[Loss, ...] = ()
    remark: str = ""


def load(
    source: Source,
    *,
    limits: Limits = DEFAULT_LIMITS,
    long_size: int | None = None,
    bodies: Mapping[str, Body] | None = None,
    salvage: bool = False,
) -> Value:
    """The first object of a `.t7` file, as `torch.load` in Lua gives it; nothing in the file is run.

    Args:
        source: a path ("-" is standard input), the bytes of a file, or a file object opened in binary mode (read from
            where it stands). A file given by its path is mapped, not copied: its tensors are views of it, and it must
            not be cut or overwritten while they live. An archive around one model is unpacked: .gz, .xz, .bz2, .zip or
            .tar.
        limits: how much the file may ask for.
        long_size: bytes of a C long in a binary file, 8 or 4; found out by trying if None.
        bodies: how classes write themselves that have a way of their own, in addition to the known ones.
        salvage: of a torn or damaged file, give what stands before the place of the error (`load_file` says what is
            missing); tables and objects then lack entries, and tensors that are not whole are left out.

    Returns:
        None, bool, float, str (bytes where it is not UTF-8), LuaTable, LuaObject, Tensor, Storage or LuaFunction.

    Raises:
        T7Error: the file can't be read; says at which byte, where in the tree of objects, and what to do.
        UsageError: an argument is wrong.
    """
    return _read(source, limits, long_size, bodies, only_first=True, salvage=salvage).objects[0]


def load_file(
    source: Source,
    *,
    limits: Limits = DEFAULT_LIMITS,
    long_size: int | None = None,
    bodies: Mapping[str, Body] | None = None,
    salvage: bool = False,
) -> T7File:
    """All objects of a `.t7` file, and how it was written; the file must be whole to its last byte.

    Args:
        source: as in `load`.
        limits: as in `load`.
        long_size: as in `load`.
        bodies: as in `load`.
        salvage: as in `load`; `losses` and `error` then say what is missing, and why.

    Raises:
        T7Error: the file can't be read.
        UsageError: an argument is wrong.
    """
    return _read(source, limits, long_size, bodies, only_first=False, salvage=salvage)


def deserialize(text: str | bytes | Storage | Tensor, *, limits: Limits = DEFAULT_LIMITS) -> Value:
    """What `torch.serialize` (or `serializeToStorage`) made a string (or a storage of bytes) of.

    Args:
        text: as it stands in a value from `load`.
        limits: how much it may ask for.

    Raises:
        T7Error: it is nothing that `torch.serialize` makes.
    """
    if isinstance(text, (Storage, Tensor)):
        text = (text.numpy() if isinstance(text, Tensor) else text.data).tobytes()
    return load(text.encode() if isinstance(text, str) else text, limits=limits)


@dataclass
class _Attempt:
    """A way in which a file may have been written, and what came of reading it so.

    Attributes:
        tokens: its tokens.
        form: "", or one of `positional.FORMS`.
        appended: do indices begin anew with each file that was appended?
    """

    tokens: Tokens
    form: str = ""
    appended: bool = False
    objects: list[Value] = field(default_factory=list)
    parts: int = 1
    functions: int = 0
    reached: int = 0
    error: T7Error | None = None
    losses: list[Loss] = field(default_factory=list)
    trailing: int = 0

    @property
    def sensible(self) -> bool:
        """Has it found objects, rather than what any bytes may be?"""
        return all(map(_is_no_chance, self.objects))


@dataclass
class _Reading:
    """Reads the objects of one file, in one way after the other until one leads to its end."""

    data: Data
    limits: Limits
    long_size: int | None
    bodies: Mapping[str, Body] | None
    only_first: bool
    attempts: list[_Attempt] = field(default_factory=list)
    # what a failed attempt shows: were there longs, old classes, several objects?
    longs_read: bool = False
    positional: bool = False

    def run(self) -> _Attempt:
        """The first way that leads to the end of the file, or else the one that came farthest."""
        for attempt in self._ways():
            self.attempts.append(attempt)
            self._try(attempt)
            if attempt.error is None and (attempt is self.attempts[0] or attempt.sensible):
                return attempt
        first = self.attempts[0]
        if first.trailing:
            # only where no way leads to the end, what follows the last object may be nothing of Torch7's
            first.error = None
            first.objects.pop()
            return first
        failed = [attempt for attempt in self.attempts if attempt.error is not None]
        return max(failed, key=lambda attempt: (attempt.reached, isinstance(attempt.error, TornFile)))

    def _ways(self) -> Iterator[_Attempt]:
        usual = list(self._tokens())
        for tokens in usual:
            # nothing in the file says how long a long is: 8 wins where both would do
            if tokens is usual[0] or self.longs_read:
                yield _Attempt(tokens)
        if len(self.attempts[0].objects) > 1:
            for tokens in self._tokens():
                yield _Attempt(tokens, appended=True)
        if self.positional:
            for form in FORMS:
                for tokens in self._tokens():
                    yield _Attempt(tokens, form)

    def _tokens(self) -> Iterator[Tokens]:
        data, limits = self.data, self.limits
        if _ASCII.match(data):
            yield AsciiTokens(data, limits)
            return
        big_endian = _BIG_ENDIAN.match(data) is not None
        for size in (8, 4) if self.long_size is None else (self.long_size,):
            yield BinaryTokens(data, limits, size, big_endian=big_endian)

    def _try(self, attempt: _Attempt) -> None:
        tokens = attempt.tokens
        bodies = {**bodies_of(attempt.form), **(self.bodies or {})} if attempt.form else self.bodies
        reader = Reader(tokens, self.limits, with_standard(bodies), bodies_of(FORMS[2]))
        start = 0
        try:
            while not attempt.objects or not tokens.at_end():
                start = tokens.pos
                if attempt.appended and reader.starts_anew():
                    reader.forget()
                    attempt.parts += 1
                attempt.objects.append(reader.read())
                # a guess must be right to the end of the file, and nil is too short to tell
                if self.only_first and attempt is self.attempts[0] and attempt.objects[0] is not None:
                    break
        except T7Error as error:
            attempt.error = error
            attempt.losses = reader.losses
            attempt.reached = reader.reached
            tokens.pos = start
            if not (tokens.begins_object() or reader.odd_class) and attempt.objects and attempt.sensible:
                attempt.trailing = tokens.size - start
            attempt.objects.append(reader.salvaged)
        attempt.functions = reader.functions
        self.longs_read = self.longs_read or tokens.longs_read
        self.positional = self.positional or reader.saw(bodies_of(FORMS[2]))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Puts off the search for garbage: nothing becomes garbage while millions of objects are made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _read(
    source: Source,
    limits: Limits,
    long_size: int | None,
    bodies: Mapping[str, Body] | None,
    *,
    only_first: bool,
    salvage: bool,
) -> T7File:
    if long_size not in (None, 4, 8):
        raise UsageError(f"long_size must be 4, 8 or None, not {long_size!r}")
    with _named(source):
        return _read_data(open_data(source), limits, long_size, bodies, only_first=only_first, salvage=salvage)


@contextmanager
def _named(source: Source) -> Iterator[None]:
    """Errors name the file that they are about: a command reads several."""
    try:
        yield
    except T7Error as error:
        if isinstance(source, (str, os.PathLike)):
            error.file = "standard input" if os.fspath(source) == "-" else os.fspath(source)
            if error.file.lower().endswith(".lua") and error.message.startswith(
                "This is not a file of Torch7: it is a text"
            ):
                error.hint = LUA_SOURCE
        raise


def _read_data(
    data: Data,
    limits: Limits,
    long_size: int | None,
    bodies: Mapping[str, Body] | None,
    *,
    only_first: bool,
    salvage: bool,
) -> T7File:
    data, kinds = opened(data, limits, salvage=salvage)
    packed = " in ".join(reversed(kinds))
    if data[:16] == bytes(16):
        # it would read as nil
        raise T7Error("The file holds only zeros, or begins with them", offset=0, hint=INCOMPLETE)
    if (listed := read_weights_json(data)) is not None:
        return T7File((listed,), "json", None, 0, len(data), packed=packed, remark=WEIGHTS_ONLY)
    with _no_collection():
        attempt = _Reading(data, limits, long_size, bodies, only_first).run()
    if isinstance(data, mmap.mmap) and data.size() != len(data):
        raise T7Error(
            f"The file had {len(data)} bytes when it was opened, and now has {data.size()}",
            hint="Somebody is writing to it: read it again when that is done.",
        )
    error = attempt.error
    if error is not None:
        diagnosis = diagnose(data)
        if diagnosis is None and is_another_kind(error):
            said = f"{error.message[:1].lower()}{error.message[1:]}"
            diagnosis = Diagnosis(f"a file of another kind, since {said}", "Find out which program wrote it.")
        if diagnosis is not None:
            what = f"{in_words(kinds)}{diagnosis.what}"
            raise T7Error(f"This is not a file of Torch7: it is {what}", offset=0, hint=diagnosis.opens) from error
        if packed:
            message = f"In what the {kinds[-1].partition(' ')[0]} archive holds: {error.message}"
            error = type(error)(message, offset=error.offset, path=error.path, hint=error.hint)
        if not salvage:
            raise error
    tokens = attempt.tokens
    if error is None and not tokens.at_end() and (changed := diagnose_text_mode(data)) is not None:
        # its structure is whole, but its numbers are wrong, and there are too many of them
        raise T7Error(f"This is {changed.what}", offset=0, hint=changed.opens)
    return T7File(
        tuple(attempt.objects),
        tokens.format,
        tokens.long_size if tokens.longs_read and tokens.format == "binary" else None,
        attempt.functions,
        tokens.size,
        big_endian=tokens.big_endian,
        packed=packed,
        form=attempt.form,
        bodies={**bodies_of(attempt.form), **(bodies or {})} if attempt.form else bodies,
        parts=attempt.parts,
        trailing=attempt.trailing,
        error=error,
        losses=tuple(attempt.losses),
    )

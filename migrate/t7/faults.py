"""What the lower stages of the reader raise; the reader adds the path and turns it into a `T7Error`."""

from __future__ import annotations

from .limits import Limits

#: What is missing more than so many bytes was not cut off, but misread.
FAR = 2**31
_GET_AGAIN = (
    "Its download or save was cut short, or it is damaged: get it again, or see what is left with "
    "`torchmigrate inspect --salvage` (from Python: salvage=True)."
)


class Fault(Exception):
    """Something in the file is wrong.

    Attributes:
        message: what is wrong.
        offset: byte offset of the token that is wrong; None where the raiser doesn't know it (the reader fills it in).
        hint: what to do next, or "".
        inside: class of the object that was being begun, or "" (the reader adds that of the innermost one).
        cut_off: does the file end too early, and was it read right up to there?
        limit: is the file refused only because of `Limits`?
    """

    def __init__(
        self,
        message: str,
        offset: int | None = None,
        *,
        hint: str = "",
        cut_off: bool = False,
        limit: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint
        self.inside = ""
        self.cut_off = cut_off
        self.limit = limit


def over(limits: Limits, name: str, message: str, offset: int | None = None) -> Fault:
    """The fault of something that goes over a limit: "… more than Limits.name = n allow"."""
    return Fault(
        f"{message} Limits.{name} = {getattr(limits, name)} allow",
        offset,
        hint=f"Raise Limits.{name} if you trust the file.",
        limit=True,
    )


def too_short(what: str, extent: str, offset: int, size: int, missing: int | None) -> Fault:
    """The fault of something that goes beyond the end of the file.

    Args:
        what: what begins at `offset`.
        extent: how long it is, such as "8 bytes long, "; or "".
        offset: where it begins.
        size: length of the file.
        missing: how many bytes the file is too short, if that is known.
    """
    early = "too early" if missing is None else f"at least {missing} bytes too early"
    # misread longs ask for more than 4 GB, which is no sign of a file that is cut off
    torn = missing is None or missing < FAR
    return Fault(
        f"the file {'is torn: it ' if torn else ''}ends at byte {size}, {early}: {what}, {extent}begins here",
        offset,
        cut_off=torn,
        hint=_GET_AGAIN,
    )


def halved(fault: Fault, size: int) -> Fault:
    """The fault of a text that ends with the first half of a number, which is another number."""
    message = f"the file is torn: it ends at byte {size}, perhaps within a number; as it stands, {fault.message}"
    return Fault(message, fault.offset, cut_off=True, hint=_GET_AGAIN)


def check_dimensions(dimensions: int, limits: Limits, offset: int) -> None:
    """Checks the number of dimensions of a tensor."""
    if dimensions < 0:
        raise Fault(f"a tensor has {dimensions} dimensions", offset, hint="The file is damaged.")
    if dimensions > limits.dimensions:
        raise over(limits, "dimensions", f"a tensor has {dimensions} dimensions, more than", offset)

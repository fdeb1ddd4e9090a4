"""What the lower stages of the reader raise; the reader adds the path and turns it into a `T7Error`."""

from __future__ import annotations

from .limits import Limits


class Fault(Exception):
    """Something in the file is wrong.

    Attributes:
        message: what is wrong.
        offset: byte offset of the token that is wrong; None where the raiser doesn't know it (the reader fills it in).
        hint: what to do next, or "".
        inside: class of the object that was being begun, or "" (the reader adds that of the innermost one).
        missing: how many bytes the file is too short, if that is what is wrong and the number is known.
        limit: is the file refused only because of `Limits`?
    """

    def __init__(
        self,
        message: str,
        offset: int | None = None,
        *,
        hint: str = "",
        missing: int | None = None,
        limit: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint
        self.inside = ""
        self.missing = missing
        self.limit = limit


def over(limits: Limits, name: str, message: str, offset: int | None = None) -> Fault:
    """The fault of something that goes over a limit: "… more than Limits.name = n allow"."""
    return Fault(
        f"{message} Limits.{name} = {getattr(limits, name)} allow",
        offset,
        hint=f"Raise Limits.{name} if you trust the file.",
        limit=True,
    )


def check_dimensions(dimensions: int, limits: Limits, offset: int) -> None:
    """Checks the number of dimensions of a tensor."""
    if dimensions < 0:
        raise Fault(f"a tensor has {dimensions} dimensions", offset, hint="The file is damaged.")
    if dimensions > limits.dimensions:
        raise over(limits, "dimensions", f"a tensor has {dimensions} dimensions, more than", offset)

"""What the lower stages of the reader raise; the reader adds the path and turns it into a `T7Error`."""

from __future__ import annotations


class Fault(Exception):  # noqa: N818 - never leaves the package
    """Something in the file is wrong.

    Attributes:
        message: what is wrong.
        offset: byte offset of the token that is wrong; None where the raiser doesn't know it (the reader fills it in).
        hint: what to do next, or "".
        limit: is the file refused only because of `Limits`?
    """

    def __init__(self, message: str, offset: int | None = None, *, hint: str = "", limit: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint
        self.limit = limit

"""What is unusual about a file as a whole, and what of a torn one is lost."""

from __future__ import annotations

from ..t7 import Loss, T7File


def remarks_of(file: T7File) -> list[str]:
    """What few files are: packed, of another machine or time, made of several, or with something after the end."""
    found = []
    if file.packed:
        found.append(f"unpacked from {file.packed}; sizes are those after unpacking")
    if file.big_endian:
        found.append("big-endian: written on a machine such as a PowerPC")
    if file.form:
        found.append(f"classes write {file.form}")
    if file.parts > 1:
        found.append(f"{file.parts} files appended to each other")
    if file.trailing:
        found.append(f"{file.trailing} bytes after the last object are not Torch7's")
    return found


def lost_of(file: T7File) -> list[str]:
    """What of a file is not whole, from the top to the place where it is torn or damaged."""
    return [_loss(loss) for loss in file.losses]


def _loss(loss: Loss) -> str:
    where = loss.path or "the top"
    what = {"": "a table", "?": "something"}.get(loss.typename, loss.typename)
    if loss.of is None:
        return f"{where}: {what}, lost"
    return f"{where}: {what}, {loss.read} of {loss.of} entries are there"

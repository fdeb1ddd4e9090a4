"""Storages, tds and raw memory: sizes that lie."""

from __future__ import annotations

from t7.attacks.attack import Attack, field
from t7.handwritten import longs, torch

ATTACKS = {
    "storage of negative size": Attack(torch(1, "torch.FloatStorage", longs(-1)), "a storage has -1 elements"),
    "storage beyond the file": Attack(
        field("x", torch(4, "torch.FloatStorage", longs(2) + bytes(7))), "1 bytes too early: a storage of 2 elements"
    ),
    "huge storage": Attack(torch(1, "torch.FloatStorage", longs(2**62)), "a storage of 4611686018427387904 elements"),
    "negative tds.Vec": Attack(torch(1, "tds.Vec", longs(-1)), "a table has -1 entries"),
    "huge tds.Hash": Attack(torch(1, "tds.Hash", longs(2**60)), "entries needs at least"),
    "generator cut off": Attack(torch(1, "torch.Generator", bytes(100)), "the memory of an object, 5048 bytes long"),
}

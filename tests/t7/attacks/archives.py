"""Archives: bombs, torn and damaged ones."""

from __future__ import annotations

import gzip
import zlib

from t7.attacks.attack import Attack
from t7.handwritten import string, table

_BOMB = zlib.compressobj(9, zlib.DEFLATED, 31)
_FILE = gzip.compress(table(1, string("a"), string("x" * 300)), mtime=0)


def _nested() -> bytes:
    """More archives in each other than anybody makes."""
    data = _FILE
    for _ in range(9):
        data = gzip.compress(data, mtime=0)
    return data


ATTACKS = {
    "bomb": Attack(b"".join([_BOMB.compress(bytes(1 << 20)) for _ in range(40)]) + _BOMB.flush(), "holds only zeros"),
    "torn archive": Attack(_FILE[:-12], "the gzip archive is torn"),
    "archive of nothing": Attack(gzip.compress(b"", mtime=0), "it is a gzip archive of empty"),
    "archive of an archive": Attack(_nested(), "a gzip archive of a gzip archive"),
    "damaged archive": Attack(_FILE[:20] + b"\xff\xff" + _FILE[22:], "the gzip archive is damaged"),
    "header alone": Attack(b"\x1f\x8b\x08", "the gzip archive is torn"),
    "archive of a torn file": Attack(gzip.compress(table(1, string("a"), string("b"))[:-1], mtime=0), "ends at byte"),
}

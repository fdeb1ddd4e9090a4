"""Objects: indices that lie, bodies that are missing or unknown."""

from __future__ import annotations

from t7.attacks.attack import Attack, field
from t7.handwritten import NIL, integer, longs, string, table, text, torch

ATTACKS = {
    "index 0": Attack(table(0), "the index of an object is 0"),
    "negative index": Attack(field("a", table(-7)), "the index of an object is -7", path="[1].a"),
    "index of another kind": Attack(table(1, string("a"), integer(4, 1)), "object 1 was a table before", path="a"),
    "function that was a table": Attack(table(1, string("a"), integer(8, 1)), "object 1 was a table", path="a"),
    "object without body": Attack(field("a", torch(4, "my.Own", b"")), "too early", path="[1].a"),
    "unknown way of writing": Attack(
        table(1, string("a"), torch(2, "my.Own", string("x") + integer(99)), string("b"), NIL), "`bodies` can describe"
    ),
    "tensor that was a table": Attack(
        table(1, string("a"), table(2), string("b"), integer(3, 1)) + integer(4, 2), "object 2 was a table before"
    ),
    "table that was a tensor": Attack(
        table(1, string("a"), torch(2, "torch.FloatTensor", integer(0) + longs(1) + NIL), string("b"), integer(3, 2)),
        "object 2 was a torch.FloatTensor before",
        path="b",
    ),
    "fields that are a back reference to nothing": Attack(
        torch(1, "nn.Linear", integer(4, 1)) + integer(3, 9), "ends at byte"
    ),
    "index above 31 bits": Attack(field("a", integer(3, -(2**31))), "the index of an object is -2147483648"),
    "version of a hundred digits": Attack(
        table(1, string("a"), integer(4, 2) + text("V " + "9" * 100) + text("A") + table(3)),
        "is no version of an object",
    ),
}

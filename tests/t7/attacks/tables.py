"""Tables: counts that lie, keys that Lua has not."""

from __future__ import annotations

from t7.attacks.attack import BIG, Attack, field
from t7.handwritten import NIL, boolean, integer, longs, number, string, table, torch

ATTACKS = {
    "boolean of 2": Attack(field("a", boolean(2)), "a boolean is 0 or 1, but this one is 2", path="[1].a"),
    "negative count": Attack(table(1, count=-1), "a table has -1 entries"),
    "count beyond the file": Attack(table(1, count=BIG), "a table of 2147483647 entries needs at least"),
    "count a little beyond the file": Attack(table(1, NIL, NIL, count=2), "a table of 2 entries needs at least 16"),
    "nil as key": Attack(table(1, NIL, number(1)), "the key nil"),
    "NaN as key": Attack(table(1, number(float("nan")), number(1)), "the key NaN"),
    "a key twice": Attack(table(1, string("a"), NIL, string("a"), NIL), "has the key .a twice"),
    "nil as key of a tds.Hash": Attack(torch(1, "tds.Hash", longs(1) + NIL + NIL), "the key nil"),
    "a table as key twice": Attack(table(1, table(2), NIL, integer(3, 2), NIL), "has the key [a table] twice"),
    "true and true": Attack(table(1, boolean(1), NIL, boolean(1), NIL), "has the key [true] twice"),
    "0 and -0": Attack(table(1, number(0.0), NIL, number(-0.0), NIL), "has the key [0] twice"),
}

"""Strings, names of classes and functions: lengths that lie."""

from __future__ import annotations

from t7.attacks.attack import BIG, Attack, field
from t7.handwritten import NIL, integer, string, table, text, torch

ATTACKS = {
    "string of negative length": Attack(field("a", integer(2, -5)), "has a length of -5", path="[1].a"),
    "string longer than the file": Attack(string("abc")[:-1], "1 bytes too early: a string, 3 bytes long", 8),
    "huge string": Attack(field("a", integer(2, BIG)), "Limits.string_bytes", path="[1].a"),
    "huge class name": Attack(integer(4, 1) + text("V 1") + integer(BIG), "the class name of an object"),
    "class name of negative length": Attack(integer(4, 1) + text("V 1") + integer(-1), "has a length of -1"),
    "class name that is not text": Attack(torch(1, b"\xff\xfe", table(2)), "is not text"),
    "function of negative length": Attack(integer(8, 1, -1), "a function has a length of -1"),
    "cut in a key": Attack(table(1, string("weight"), NIL)[:-8], "a string, 6 bytes long"),
    "cut after a key": Attack(table(1, string("weight"), string("x"))[:-7], "too early", path="weight"),
}

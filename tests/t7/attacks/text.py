"""ASCII files: what looks like a number, and endless lines."""

from __future__ import annotations

from t7.attacks.attack import Attack

ATTACKS = {
    "ASCII: letters for a number": Attack(b"1\nabc\n", "b'abc' is not a number"),
    "ASCII: letters for an index": Attack(b"3\nabc\n", "should be a whole number, but is b'abc'"),
    "ASCII: 1_0": Attack(b"1\n1_0\n", "is not a number"),
    "ASCII: endless digits": Attack(b"1\n" + b"9" * 100000, "does not end"),
    "ASCII: integer of 33 bits": Attack(b"3\n4294967296\n", "more than 32 bits hold"),
    "ASCII: cut off": Attack(b"3\n1\n1\n2\n3\nab", "1 bytes too early: a string, 3 bytes long"),
    "ASCII: nothing after the tag": Attack(b"3\n", "ends at byte 2"),
    "ASCII: no such tag": Attack(b"3\n1\n1\n10\n1\n", "from 0 to 8, not with 10"),
    "ASCII: boolean of 7": Attack(b"5\n7\n", "a boolean is 0 or 1"),
    "ASCII: negative string": Attack(b"2\n-1\n", "has a length of -1"),
    "ASCII: huge string": Attack(b"2\n2147483647\n", "Limits.string_bytes"),
    "ASCII: huge storage": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n99999999999\n1 2\n", "too early"),
    "ASCII: element that is no number": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\n1 x\n", "no float32"),
    "ASCII: element with _": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\n1 1_0\n", "no float32"),
    "ASCII: element too large": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\n1 1e99\n", "no float32"),
    "ASCII: short too large": Attack(b"4\n1\n3\nV 1\n18\ntorch.ShortStorage\n2\n1 40000\n", "no int16"),
    "ASCII: long too large": Attack(b"4\n1\n3\nV 1\n17\ntorch.LongStorage\n2\n1 9223372036854775808\n", "no int64"),
    "ASCII: storage cut off": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n4\n1    2    \n", "too early"),
    "ASCII: one number that is two": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\n1-2 3\n", "b'1-2'"),
    "ASCII: a number too few, and a tab": Attack(
        b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\n1\t2 1 x\n", "b'x' is not a number"
    ),
    "ASCII: hexadecimal": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\n0x10 2\n", "no float32"),
    "ASCII: infinity": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\n1 infinity\n", "no float32"),
    "ASCII: nan(1)": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\nnan(1) 2\n", "no float32"),
    "ASCII: int with a point": Attack(b"4\n1\n3\nV 1\n16\ntorch.IntStorage\n2\n1.5 2\n", "no int32"),
    "ASCII: zero byte": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\n1\0 2\n", "no float32"),
    "ASCII: endless digits of an element": Attack(
        b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\n1 " + b"2" * 100_000 + b"\n", "no float32"
    ),
}

"""What begins an object: tags that do not exist, or hint at where the reader lost its place."""

from __future__ import annotations

from t7.attacks.attack import Attack, field
from t7.handwritten import integer

ATTACKS = {
    "no such tag": Attack(integer(9), "from 0 to 8, not with 9", 0, ""),
    "negative tag": Attack(integer(-1, 1), "from 0 to 8, not with -1", 0, ""),
    "no such tag within": Attack(field("a", integer(77)), "not with 77, inside nn.Linear", path="[1].a"),
    "letters for a tag": Attack(field("a", b"nn.L"), "the letters 'nn.L'"),
    "half a double for a tag": Attack(field("a", integer(0x3FF00000)), "4 bytes off"),
}

"""The number that begins each object of a file."""

from __future__ import annotations

NIL = 0
NUMBER = 1
STRING = 2
TABLE = 3
TORCH = 4
BOOLEAN = 5
FUNCTION_WITHOUT_INDEX = 6
FUNCTION_LEGACY = 7
FUNCTION = 8

"""Torch7's and LuaJIT's generators of random numbers: the same numbers from the same seed."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

#: The bytes of Torch7's state: seed, numbers left, seeded?, next, 624 words of the twister, the normal pair, kept?
_STATE = struct.Struct("<QiiQ624Q3di4x")


class Twister:
    """Torch7's generator: a Mersenne twister of 32 bits, and pairs of normal numbers.

    Args:
        seed: as `torch.manualSeed` takes it.
    """

    def __init__(self, seed: int) -> None:
        self._words = np.random.MT19937()
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Starts the sequence of a seed."""
        self.initial = seed % 2**64
        started: Any = np.random.RandomState(self.initial % 2**32).get_state(legacy=False)
        self._words.state = started
        self._kept: tuple[float, float] | None = None

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        """The next whole numbers of 32 bits."""
        return self._words.random_raw(count)

    def uniform(self, count: int) -> Numbers:
        """Numbers in [0, 1)."""
        return self.words(count).astype(np.float64) * (1.0 / 4294967296.0)

    def normal(self, count: int) -> Numbers:
        """Normal numbers, two from each pair of uniform ones; the second of a pair is kept for the next call."""
        start = 0 if self._kept is None or not count else 1
        values = np.empty(start + 2 * ((count - start + 1) // 2))
        if start:
            assert self._kept is not None
            values[0] = _second(*self._kept)
            self._kept = None
        pairs = self.uniform(len(values) - start).reshape(-1, 2)
        if len(pairs):
            angle = 2.0 * math.pi * pairs[:, 0]
            length = np.sqrt(-2.0 * np.log(1.0 - pairs[:, 1]))
            values[start::2] = length * np.cos(angle)
            values[start + 1 :: 2] = length * np.sin(angle)
            if len(values) > count:
                self._kept = (float(pairs[-1, 0]), float(pairs[-1, 1]))
        return values[:count]

    def state(self) -> bytes:
        """The state as `torch.getRNGState` gives it."""
        held = self._words.state["state"]
        at = int(held["pos"])
        x, y = self._kept or (0.0, 0.0)
        length = math.sqrt(-2.0 * math.log(1.0 - y)) if self._kept else 0.0
        fresh = at == 624
        return _STATE.pack(
            self.initial, 1 if fresh else 625 - at, 1, 0 if fresh else at, *held["key"].tolist(), x, y, length,
            int(self._kept is not None),
        )  # fmt: skip

    def set_state(self, state: bytes) -> bool:
        """Takes what `state` gave; was it a state?"""
        if len(state) != _STATE.size:
            return False
        initial, left, seeded, at, *rest = _STATE.unpack(state)
        words, (x, y, _, kept) = rest[:624], rest[624:]
        if seeded != 1 or not 1 <= left <= 624 or at > 624 or max(words) >= 2**32:
            return False
        self.initial = initial
        key = np.array(words, dtype=np.uint32)
        self._words.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": 624 if left == 1 else at}}
        self._kept = (x, y) if kept else None
        return True


def _second(x: float, y: float) -> float:
    return math.sqrt(-2.0 * math.log(1.0 - y)) * math.sin(2.0 * math.pi * x)


#: Of each of four registers: its bits, and three shifts.
_REGISTERS = ((63, 31, 18), (58, 19, 28), (55, 24, 7), (47, 21, 8))
_MASK = 2**64 - 1


class Tausworthe:
    """The generator of LuaJIT's `math.random`, which Torch7 runs on; it starts from the same number in every process.

    Args:
        seed: as `math.randomseed` takes it.
    """

    def __init__(self, seed: float = 0.0) -> None:
        self.seed(seed)

    def seed(self, seed: float) -> None:
        """Starts the sequence of a seed."""
        smallest, value = 0x11090601, seed
        self._registers: list[int] = []
        for _ in range(4):
            least = 1 << (smallest & 255)
            smallest >>= 8
            value = value * 3.14159265358979323846 + 2.7182818284590452354
            bits = int.from_bytes(struct.pack("<d", value), "little")
            self._registers.append((bits + least if bits < least else bits) & _MASK)
        for _ in range(10):
            self.uniform()

    def uniform(self) -> float:
        """The next number in [0, 1)."""
        bits = 0
        for index, (k, q, s) in enumerate(_REGISTERS):
            z = self._registers[index]
            z = ((((z << q) & _MASK) ^ z) >> (k - s)) ^ (((z & (_MASK << (64 - k)) & _MASK) << s) & _MASK)
            self._registers[index] = z
            bits ^= z
        return float((bits & 0x000FFFFFFFFFFFFF) * 2.0**-52)

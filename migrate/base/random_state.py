"""Random numbers of our own: the generators of whoever calls stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def random_state_of_our_own(seed: int | None = None) -> Iterator[None]:
    """Gives PyTorch's global generators, of the CPU and of all GPUs, back as they were.

    Args:
        seed: what they begin with inside; None: as they are.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        if seed is not None:
            torch.manual_seed(seed)
        yield

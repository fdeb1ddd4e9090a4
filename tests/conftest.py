"""Fixtures for all tests."""

from __future__ import annotations

import pytest

from torchmigrate.model import registry


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the test registers is forgotten afterwards."""
    registry.load_all()
    monkeypatch.setattr(registry, "_converters", dict(registry._converters))
    monkeypatch.setattr(registry, "_loaded", set(registry._loaded))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what needs a GPU where there is none, and what is slow unless it is asked for."""
    import torch

    without_gpu = pytest.mark.skip(reason="no CUDA device here")
    slow = pytest.mark.skip(reason="slow: run with -m slow")
    for item in items:
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(without_gpu)
        if "slow" in item.keywords and "slow" not in str(config.getoption("markexpr")):
            item.add_marker(slow)

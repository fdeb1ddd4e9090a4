"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest

from torchmigrate.model import registry

#: The tests of the file format run without PyTorch too, which a new Python may not have yet.
TORCH = find_spec("torch") is not None


def pytest_configure() -> None:
    """Processes that share the cores compute with one thread each, and so do those that they start."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is slow, unless -m says what to run, and skips what needs a GPU where there is none."""
    if not _named(config):
        asked = config.getoption("markexpr")
        left = {*(() if asked else ("slow",)), *(() if "runtimes" in asked else ("runtimes",))}
        out = [item for item in items if not left.isdisjoint(item.keywords)]
        items[:] = [item for item in items if left.isdisjoint(item.keywords)]
        config.hook.pytest_deselected(items=out)
    if TORCH:
        import torch

        without_gpu = pytest.mark.skip(reason="no CUDA device here")
        for item in items:
            if "gpu" in item.keywords and not torch.cuda.is_available():
                item.add_marker(without_gpu)


def pytest_collection_finish() -> None:
    """Thousands of tests with their cases stay to the end: the garbage collector need not look at them each time.

    It also looks as rarely as under the command line: each export makes objects that stay, which it would go through.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _named(config: pytest.Config) -> bool:
    """Was a test asked for by its name?"""
    return any("::" in str(argument) for argument in config.args)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the test registers is forgotten afterwards."""
    if TORCH:
        registry.load_all()
    for table in ("_converters", "_traits", "_forms"):
        monkeypatch.setattr(registry, table, dict(getattr(registry, table)))
    monkeypatch.setattr(registry, "_loaded", set(registry._loaded))


@pytest.fixture(autouse=True, scope="session")
def operators_listed_once() -> Iterator[None]:
    """PyTorch lists all operators anew for every export, which takes most of a small one; here they stay the same."""
    if not TORCH:
        yield
        return
    from torch.export import decomp_utils, exported_program
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    made = cache(ONNXRegistry.from_torchlib)
    valid = cache(exported_program._collect_all_valid_cia_ops)  # nobody may change what it returns

    def copied(_: type[ONNXRegistry], opset_version: int) -> ONNXRegistry:
        registry: Any = ONNXRegistry()
        registry._opset_version = opset_version
        registry.functions = {name: list(functions) for name, functions in made(opset_version).functions.items()}
        return registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", classmethod(copied))
        for module in (exported_program, decomp_utils):
            patch.setattr(module, "_collect_all_valid_cia_ops", valid)
        yield

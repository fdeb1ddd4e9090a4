"""Without a GPU: layers run on tensors without numbers that say that they are elsewhere; none is made on the CPU."""

from __future__ import annotations

from typing import Any

import golden
import on_device
import pytest
import torch
from golden import Row
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorDeviceMismatchError,
    FakeTensorMode,
)
from torch.utils import backend_registration

import torchmigrate as tm
from torchmigrate.base.tensor_trees import apply, leaves

#: What can't run without numbers.
BEYOND = {
    "nn.MaskedSelect[0]": "how much it selects depends on the numbers",
}

#: The name of the device that PyTorch has for backends of others; "cuda" needs a PyTorch that was built for it.
ELSEWHERE = "privateuseone"


@pytest.fixture(autouse=True)
def device() -> None:
    if not hasattr(torch, ELSEWHERE):
        backend_registration._setup_privateuseone_for_python_backend()


def on_fake_device(module: torch.nn.Module, mode: FakeTensorMode) -> None:
    """Moves parameters and buffers, as `module.to` does, and nothing else."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(fake(parameter, mode), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = fake(buffer, mode)


def fake(tensor: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    size, stride, dtype = tuple(tensor.shape), tensor.stride(), tensor.dtype
    with mode:
        return torch.empty_strided(size, stride, dtype=dtype, device=ELSEWHERE)


def run_elsewhere(module: torch.nn.Module, value: Any) -> set[str]:
    """Runs a module; returns the devices of what it gives."""
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    on_fake_device(module, mode)
    given = apply(value, lambda tensor: fake(tensor, mode))
    with mode, torch.no_grad():
        return {tensor.device.type for _, tensor in leaves(module(given)) if tensor.dim()}


def marks(number: int, row: Row) -> list[Any]:
    """By default only some classes are run."""
    found = [pytest.mark.xfail(reason=BEYOND[str(row)], strict=True)] if str(row) in BEYOND else []
    return found if number % 8 == 0 else [*found, pytest.mark.slow]


ROWS = [pytest.param(row, id=str(row), marks=marks(number, row)) for number, row in enumerate(on_device.rows())]


@pytest.mark.parametrize("training", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("row", ROWS)
def test_layer(row: Row, training: bool) -> None:
    case = row.load()
    module = tm.convert(case["module"]).module.train(training)
    given = golden.widened(tm.to_torch(case["input"]))
    try:
        assert run_elsewhere(module, given) <= {ELSEWHERE}  # a loss has no dimensions
    except (FakeTensorDeviceMismatchError, AssertionError, DynamicOutputShapeException, NotImplementedError):
        raise
    except DataDependentOutputException as error:
        assert "item" in str(error) or "local_scalar" in str(error)  # noqa: PT017 - numbers that Python goes on with
    except (RuntimeError, ValueError, TypeError, IndexError):
        if not training:
            raise


@pytest.mark.slow
@pytest.mark.parametrize("name", [row["name"] for row in golden.model_rows()])
def test_model(name: str) -> None:
    conversion, reference = on_device.model(name)
    assert run_elsewhere(conversion.module, tm.to_torch(reference["input"])) == {ELSEWHERE}


class Forgetful(torch.nn.Module):
    """Makes a tensor on the CPU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.ones(x.shape)


def test_a_tensor_on_the_wrong_device_is_seen() -> None:
    with pytest.raises(FakeTensorDeviceMismatchError):
        run_elsewhere(Forgetful(), torch.ones(2, 3))

"""What runs the converted model with PyTorch, on a device and in a type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch

from ...base.errors import UsageError
from ...model.conversion import ConvertedModel
from ...model.running.answers import ask
from ...shapes.random_input import floating_type
from ..judge.tolerances import Rules
from ..network_copies import Network, copy_network
from ..reference_numbers import Reference
from .layers import Layered, LayerResult, compare_layers


class Backend(Protocol):
    """Something that can run the converted model.

    Attributes:
        name: as the report shows it.
        onnx: does it run the ONNX file?
        gpu: does a GPU compute?
        decides: does a difference make the verdict? Otherwise it is information.
    """

    name: str
    onnx: bool
    gpu: bool
    decides: bool

    def missing(self) -> str:
        """Why it can't run here; "" if it can."""

    def dtype(self, conv: ConvertedModel) -> torch.dtype:
        """The type in which it computes."""

    def outputs(self, conv: ConvertedModel, value: Any) -> Any:
        """What the model answers, on the CPU, nested as the model's output is."""

    def layers(self, conv: ConvertedModel, reference: Reference, rules: Rules) -> Layered:
        """How its layers compare with the reference's; none where they can't be seen."""
        return Layered([])

    def locate(self, conv: ConvertedModel, value: Any, rules: Rules) -> list[LayerResult]:
        """After a failure of a backend whose layers can't be seen: what can be found out about them nevertheless."""
        return []

    def fixed_batch(self, batch: int) -> str:
        """Why it can't run another batch; "" if it can."""
        return ""

    def close(self) -> None:
        """Gives back what it holds."""
        return


class PyTorch(Backend):
    """PyTorch on a device.

    Args:
        device: "cpu", "cuda", "cuda:1".
        dtype: type of the floating numbers; None: that of the model.
        tf32: may a GPU round the factors of products to TF32?
        decides: does a difference make the verdict?
    """

    onnx = False

    def __init__(
        self, device: str, dtype: torch.dtype | None = None, *, tf32: bool = False, decides: bool = True
    ) -> None:
        self.device = device
        self.gpu = torch.device(device).type == "cuda"
        self.decides = decides
        suffix = "-tf32" if tf32 else "" if dtype is None else f"-{str(dtype).removeprefix('torch.')}"
        self.name = f"pytorch-{device}{suffix}"
        self._dtype = dtype
        self._tf32 = tf32
        self._network: Network | None = None

    def missing(self) -> str:
        if self.gpu and not torch.cuda.is_available():
            return "no CUDA device was found"
        if self.gpu and (torch.device(self.device).index or 0) >= torch.cuda.device_count():
            return f"there are {torch.cuda.device_count()} CUDA devices"
        if self._dtype == torch.bfloat16 and self.gpu and not torch.cuda.is_bf16_supported():
            return "the GPU has no bfloat16"
        return ""

    def dtype(self, conv: ConvertedModel) -> torch.dtype:
        return self._dtype or floating_type(conv.module)

    def network(self, conv: ConvertedModel) -> Network:
        """The copy of the model that it runs, made once."""
        if self._network is None:
            self._network = copy_network(conv, self._dtype, self.device)
        return self._network

    def outputs(self, conv: ConvertedModel, value: Any) -> Any:
        network = self.network(conv)
        with tf32(self._tf32):
            if self.gpu:
                return network.run(value)
            return ask(conv.answers, network.module, network.taken(value), partial(network.run, value))

    def layers(self, conv: ConvertedModel, reference: Reference, rules: Rules) -> Layered:
        with tf32(self._tf32):
            return compare_layers(self.network(conv), reference, rules.layer, rules.output())

    def close(self) -> None:
        self._network = None


def require_devices(devices: Sequence[str]) -> None:
    """Sees that there are the devices that somebody named.

    Raises:
        UsageError: one is not a device, or not there.
    """
    for device in devices:
        kind, _, number = device.partition(":")
        if kind not in ("cpu", "cuda") or (":" in device and (kind == "cpu" or not number.isdecimal())):
            raise UsageError(f"There is no device {device!r} to compare on; there are cpu, cuda, and cuda:1 and so on.")
        if reason := PyTorch(device).missing():
            raise UsageError(f"Nothing can be compared on the device {device}: {reason}.")


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Switches TF32 on CUDA on or off, and back to what it was."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn

"""Checks of an exported graph: onnx's own, and ONNX Runtime against PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch

from ...base.errors import ExportError, GraphDiffers
from ...base.tensor_slices import explained_by_noise, worst_slice
from ...base.tensor_trees import leaves
from ...model.running.answers import Answers
from ..runtime import ask_session, open_session
from .save import Stored

#: |a - b| <= tolerance * (largest |b| + |b|), by the type of the numbers in the file; of a slice, such as a channel,
#: |a - b| <= tolerance * its largest |b|, unless rounding before it makes more of it.
TOLERANCES = {torch.float16: 1e-2, torch.float32: 1e-4, torch.float64: 1e-9}

#: So many times the rounding noise of a slice is allowed then: 4 roundings of the type.
_ROUNDINGS = {torch.float16: 2.0**-9, torch.float32: 2.0**-22, torch.float64: 2.0**-51}

#: Gives the rounding noise of all outputs, as `RoundingNoise` does.
Noise = Callable[[], Iterable[Any]]

#: Weights of at least so many bytes are fed to ONNX Runtime when it checks.
_FED = 1 << 24


def check_graph(stored: Stored) -> None:
    """onnx.checker, which infers all shapes strictly.

    Raises:
        ExportError: the graph is not valid ONNX.
    """
    # the checker wants numbers in the graph or in a file; an input of the same type and sizes is checked alike
    model, _ = stored.with_inputs()
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {str(error)[:400]}") from error


def difference(
    name: str,
    got: torch.Tensor,
    expected: torch.Tensor,
    tolerance: float,
    noise: Callable[[], Iterable[torch.Tensor | None]] | None = None,
) -> float:
    """The largest difference, relative to the largest expected number.

    Args:
        name: of the output.
        got: what ONNX Runtime gives.
        expected: what PyTorch gives.
        tolerance: of the type.
        noise: gives the rounding noise of the output; without it the tensor is judged as a whole.

    Raises:
        GraphDiffers: sizes differ, one is NaN or infinite where the other is not, or the tolerance is exceeded.
    """
    if got.shape != expected.shape:
        raise GraphDiffers(f"{name} has shape {tuple(got.shape)} in ONNX Runtime, {tuple(expected.shape)} in PyTorch")
    if got.numel() == 0:
        return 0.0
    a, b = got.double(), expected.double()
    if not torch.equal(a.isnan(), b.isnan()) or not torch.equal(a.isinf(), b.isinf()):
        raise GraphDiffers(f"{name} is NaN or infinite where PyTorch's is not, or the other way round")
    if not torch.equal(a[a.isinf()], b[b.isinf()]):
        raise GraphDiffers(f"{name} is infinite with the other sign than PyTorch's")
    finite = b.isfinite()
    if not finite.any():
        return 0.0
    scale = max(float(b[finite].abs().max()), 1e-30)
    distance = (a - b)[finite].abs()
    top, worst = float(distance.max()), None
    if noise is not None and tolerance > 0 and bool(finite.all()):
        rounding = _ROUNDINGS.get(got.dtype, 0.0)
        worst = worst_slice(a, b, error=top, share=tolerance, rounding=rounding, noise=noise)
    if worst is not None and worst.used > 1:
        raise GraphDiffers(
            f"{name} differs between ONNX Runtime and PyTorch by {worst.error:.3g} in its slice {worst.name(b.dim())} "
            f"(largest number there {worst.largest:.3g}, at most {worst.allowed:.3g} is allowed)"
        )
    if worst is None and bool((distance > tolerance * (scale + b[finite].abs())).any()):
        raise GraphDiffers(
            f"{name} differs between ONNX Runtime and PyTorch by {top:.3g}, "
            f"{top / scale:.2g} of the largest output {scale:.3g} (tolerance {tolerance:g} of it)"
        )
    return top / scale


def _one(noise: Noise, number: int) -> Iterator[torch.Tensor | None]:
    for step in noise():
        found = [tensor for _, tensor in leaves(step)]
        yield found[number] if number < len(found) else None


class Checker:
    """Runs a graph in ONNX Runtime and compares it with PyTorch.

    Args:
        graph: it, or the file that holds it with its weights.
        input_names: of the graph.
        output_names: of the graph.
        tolerance: as `difference` takes it.
        known: what ONNX Runtime has answered.
        path: where the graph will be; it tells its answers from those of others.

    Attributes:
        growth: how far rounding grows, where an output is off by more than the tolerance and that explains it; else 0.
    """

    def __init__(
        self,
        graph: Stored | Path,
        input_names: Sequence[str],
        output_names: Sequence[str],
        tolerance: float,
        known: Answers | None,
        path: Path,
    ) -> None:
        self.growth = 0.0
        self._fed: dict[str, torch.Tensor] = {}
        if isinstance(graph, Stored):
            # ONNX Runtime copies large weights while it opens a session, but not what it is fed
            model, fed = graph.with_inputs(_FED)
            rest = {name: numbers for name, numbers in graph.weights.items() if name not in fed}
            self._session = open_session(model.SerializeToString(), weights=rest)
            self._fed = {name: torch.from_numpy(numbers) for name, numbers in fed.items()}
            known = None
        else:
            self._session = open_session(graph)
        self._input_names, self._output_names = input_names, output_names
        self._tolerance = tolerance
        self._known, self._path = known, path

    def compare(
        self,
        inputs: Sequence[torch.Tensor],
        expected: Sequence[torch.Tensor],
        noise: Noise,
        growth: Noise | None = None,
    ) -> float:
        """Runs the graph once; returns the largest relative difference.

        Args:
            inputs: the input.
            expected: what PyTorch answered.
            noise: the rounding noise of that.
            growth: the same without a limit; without it a difference is none that rounding explains.

        Raises:
            ExportError: it fails.
            GraphDiffers: it differs from what PyTorch answered.
        """
        return self.judge(self.answer(inputs), expected, noise, growth)

    def answer(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Runs the graph once.

        Raises:
            ExportError: it fails.
        """
        feeds = dict(zip(self._input_names, inputs, strict=True))
        return ask_session(self._known, self._path, self._session, {**self._fed, **feeds})

    def judge(
        self,
        got: Sequence[torch.Tensor],
        expected: Sequence[torch.Tensor],
        noise: Noise,
        growth: Noise | None = None,
    ) -> float:
        """The largest relative difference between what the graph and PyTorch answered, as `compare` says it.

        Raises:
            GraphDiffers: it is too large.
        """
        if len(got) != len(expected):
            raise GraphDiffers(f"the graph has {len(got)} outputs, the model {len(expected)}")
        worst = 0.0
        for i, (name, a, b) in enumerate(zip(self._output_names, got, expected, strict=True)):
            if not (a.is_floating_point() and b.is_floating_point()):
                difference(name, a, b, 0.0)  # whole numbers must be equal
                continue
            b = b.to(a.dtype)
            try:
                found = difference(name, a, b, self._tolerance, partial(_one, noise, i))
            except GraphDiffers:
                found = self._grown(a, b, None if growth is None else partial(_one, growth, i))
                if not found:
                    raise
            worst = max(worst, found)
        return worst

    def _grown(
        self, got: torch.Tensor, expected: torch.Tensor, growth: Callable[[], Iterable[torch.Tensor | None]] | None
    ) -> float:
        """The largest relative difference, where the growth of rounding explains it; else 0."""
        if growth is None or got.shape != expected.shape or not bool((got.isfinite() & expected.isfinite()).all()):
            return 0.0
        rounding = _ROUNDINGS.get(got.dtype, 0.0)
        found = explained_by_noise(got, expected, share=self._tolerance, rounding=rounding, noise=growth)
        if found is None:
            return 0.0
        self.growth = max(self.growth, found[1])
        return float((got.double() - expected.double()).abs().max() / expected.double().abs().max().clamp(min=1e-30))

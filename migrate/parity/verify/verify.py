"""verify(): runs every backend, compares it with the reference, and says where they part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from ...base.errors import ExportError, UsageError
from ...base.files import AUTO, LUA
from ...base.memory import is_out_of_device_memory, is_out_of_memory
from ...base.random_state import random_state_of_our_own
from ...base.tensor_slices import fold
from ...base.tensor_trees import apply, leaves, moved, position, shapes
from ...model.conversion import ConvertedModel
from ...model.running.answers import last_layers_of
from ...shapes.infer import Guess
from ...shapes.random_input import floating_type
from ...shapes.random_layers import Drawn, drawn_numbers
from ...shapes.rounding_noise import RoundingNoise, rounding_growth
from ..judge.compare import Difference, Noise, Tolerance, compare
from ..judge.grown_rounding import explained
from ..judge.status import FAILED, NOT_RUN, PASSED
from ..judge.tolerances import Rules, coarser, depth_of, fan_in_of, operands_of
from ..network_copies import copy_network
from ..reference_numbers import Reference
from ..references.choose import ReferenceOptions, choose_reference
from ..references.live import without_folder
from ..references.self_reference import with_layers, with_output
from ..report.comparison import BackendResult
from ..report.report import ParityReport
from ..runs.batches import BATCHES, compare_batches
from ..runs.gradients import compare_gradients
from ..runs.layers import Layered
from ..runs.pytorch import Backend, PyTorch, require_devices
from ..torch7_lua import torch7_lua
from .environment import environment
from .model_layers import layers_of, not_finite_of

#: A tolerance for all outputs, or by the place of an output such as "[2]"; "" stands for the others.
Allowed = float | Mapping[str, float] | None

#: What may go wrong when a model is run on an input that does not suit it.
_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, ExportError)


@random_state_of_our_own()
def verify(
    conv: ConvertedModel,
    *,
    reference: str | Path | Reference | None = None,
    devices: Sequence[str] = ("cpu",),
    onnx: str | Path | None = None,
    input: Any = None,  # noqa: A002 - the word that Torch7 and its references use
    input_shape: Any = None,
    atol: Allowed = None,
    rtol: Allowed = None,
    layers: bool = True,
    seed: int = 0,
    torch7: str | None = None,
    model_file: str | Path | None = None,
    compare_run: str | Path | None = None,
    gradients: bool = False,
    batches: Sequence[int] = BATCHES,
    requires: Sequence[str] = (),
    torch7_source: str | Path | None = None,
    lua: Sequence[Path] = (),
) -> ParityReport:
    """Compares a converted model with a reference, end to end and layer by layer.

    Args:
        conv: the converted model.
        reference: a file that dump_reference.lua wrote on a Torch7; "recorded": the activations in the model's file;
            "lua": Torch7's own Lua with PyTorch's kernels; "self": the converted model in float64, which shows
            rounding only; None or "auto": the strongest there is; or a reference that was chosen before.
        devices: where PyTorch runs: "cpu", "cuda", "cuda:1".
        onnx: an exported file to compare too, with ONNX Runtime on the same devices.
        input: a tensor or nested list to feed; only without a reference file, which has its own.
        input_shape: sizes of random input, as `export_onnx` takes them; only without a reference file.
        atol: absolute tolerance; by default it follows from the type of the numbers, the depth and the sums.
        rtol: relative tolerance.
        layers: compare every layer as well; the outputs of a "self" reference's lie in a temporary file meanwhile.
        seed: of random input.
        torch7: a command that starts a Torch7, which is then asked for a reference.
        model_file: the .t7 file, which such a Torch7 reads.
        compare_run: a run that was saved on another machine, to compare with.
        gradients: compare gradients too, where the reference has them.
        batches: sizes in which the samples are run again.
        requires: Lua files or modules that such a Torch7 loads first, with classes of the user's own.
        torch7_source: a folder with checkouts of Torch7's packages, whose Lua is then run with PyTorch's kernels.
        lua: Lua files that it loads too, with classes of the user's own.

    Returns:
        The report; true when every backend that ran agrees.

    Raises:
        UsageError: the reference belongs to another model, a device is not there, or no input was given and none could
            be found.
        OSError: the disk of the temporary file is full.
    """
    require_devices(devices)
    found = (
        reference
        if isinstance(reference, Reference)
        else choose_reference(
            conv,
            reference,
            ReferenceOptions(
                guess=input if input is None or isinstance(input, Guess) else Guess(input, "the input was given"),
                input_shape=input_shape,
                seed=seed,
                torch7=torch7,
                model_file=None if model_file is None else Path(model_file),
                compare_run=compare_run,
                gradients=gradients,
                requires=requires,
                torch7_lua=torch7_lua(torch7_source, lua),
            ),
        )
    )
    single = floating_type(conv.module) == torch.float32
    with with_layers(found, single=single) if layers else nullcontext(with_output(found)) as whole:
        _check_places({*by_place(atol), *by_place(rtol)} - {""}, whole)
        drawn = drawn_numbers(conv, moved(whole.input, floating_type(conv.module)))
        noise, growth = cache(partial(_noise, conv, whole.input)), cache(partial(_growth, conv, whole.input))
        allowed = by_place(atol), by_place(rtol)
        comparison = Comparer(conv, whole, *allowed, layers, gradients, batches, drawn, noise, growth)
        results = [comparison.of(backend) for backend in backends_for(conv, whole, devices, onnx)]
        found = replace(found, output=whole.output)  # the layers' outputs end with the block
        if drawn.outputs:
            count = f"{len(drawn.outputs)} of {len(list(leaves(whole.output)))} outputs"
            found = replace(found, limits=(*found.limits, f"{drawn}: {count} depend on them and are not compared."))
    if onnx is None:
        results.append(BackendResult("onnxruntime", NOT_RUN, "there is no ONNX file"))
    results += _not_asked(devices)
    options = {
        "key": conv.key or None,
        "alias": [f"{name}={stand_in}" for name, stand_in in conv.build.aliases.items()],
        "reference": _named(found, reference),
        "torch7": None if torch7 is None else without_folder(torch7),
        "require": [Path(name).name for name in requires],
        "torch7-source": found.file if found.kind == "lua" else None,
        "compare-run": found.file if found.kind == "run" else None,
        "onnx": None if onnx is None else Path(onnx).name,
        "input-shape": None if found.kind in ("dump", "run", "given") or input is not None else shapes(found.input),
        "seed": seed or None,
        "device": devices,
        "atol": _spelled(atol),
        "rtol": _spelled(rtol),
        "no-layers": not layers,
        "gradients": gradients,
    }
    source = {**asdict(conv.provenance), "key": conv.key, "layers": len(conv.layers)}
    unproven = sorted({record.typename for record in conv.layers if record.traits.unproven})
    if unproven:
        source["unproven"] = unproven
    return ParityReport(found, results, source, seed, environment(), layers_of(conv), options, not_finite_of(conv))


def _named(found: Reference, asked: object) -> Any:
    """How `--reference` names what was compared with; None: it need not."""
    if found.kind in ("dump", LUA):
        return found.file if found.kind == "dump" else LUA
    return None if isinstance(asked, Reference) or asked in (None, AUTO) else asked


def _check_places(places: set[str], reference: Reference) -> None:
    known = [position(place) for place, _ in leaves(reference.output)]
    if unknown := sorted(places - {"", *known}):
        there = ", ".join(known) if known != [""] else "one only, without a number"
        raise UsageError(f"A tolerance was given, but there is no output {', '.join(unknown)}; there is {there}.")


def by_place(allowed: Allowed) -> Mapping[str, float]:
    """Tolerances by the place of an output; "" stands for all others."""
    if allowed is None:
        return {}
    return dict(allowed) if isinstance(allowed, Mapping) else {"": allowed}


def _spelled(allowed: Allowed) -> Any:
    if not isinstance(allowed, Mapping):
        return allowed
    return [f"{place}={value:g}" if place else f"{value:g}" for place, value in allowed.items()]


def backends_for(
    conv: ConvertedModel, reference: Reference, devices: Sequence[str], onnx: str | Path | None
) -> list[Backend]:
    """All that is to run: PyTorch in the model's type and in the other, on a GPU also in faster ones; ONNX Runtime."""
    found: list[Backend] = []
    own = floating_type(conv.module)
    for device in devices:
        found.append(PyTorch(device))
        if torch.device(device).type == "cpu":
            other = torch.float32 if own == torch.float64 else torch.float64
            own_ends = reference.follows is None and reference.probe is None
            if other == torch.float32 or own_ends:  # else float64 is the reference itself
                found.append(PyTorch(device, other))
        else:
            found.append(PyTorch(device, tf32=True, decides=False))
            found += [PyTorch(device, dtype, decides=False) for dtype in (torch.float16, torch.bfloat16)]
    if onnx is not None:
        from ..runs.onnx_runtime import OnnxRuntime  # which few need, and which needs ONNX Runtime

        found += [OnnxRuntime(Path(onnx), device) for device in devices]
    return found


def _not_asked(devices: Sequence[str]) -> list[BackendResult]:
    """What could have run and was not asked for: what did not run must not look like a pass."""
    if any(torch.device(device).type == "cuda" for device in devices):
        return []
    reason = "--device cuda was not asked for" if torch.cuda.is_available() else "no CUDA device was found"
    return [BackendResult("pytorch-cuda", NOT_RUN, reason)]


@dataclass(frozen=True)
class Comparer:
    """Compares one backend after the other with the same reference.

    Attributes:
        conv: the converted model.
        reference: what to compare with.
        atol, rtol: tolerances of the user, by the place of an output.
        layers: compare every layer too.
        gradients: compare gradients too.
        batches: sizes in which the samples are run again.
        drawn: what depends on random numbers.
        noise: gives the rounding noise of the outputs.
        growth: gives the same without a limit.
    """

    conv: ConvertedModel
    reference: Reference
    atol: Mapping[str, float]
    rtol: Mapping[str, float]
    layers: bool
    gradients: bool
    batches: Sequence[int]
    drawn: Drawn
    noise: Noise
    growth: Noise

    def of(self, backend: Backend) -> BackendResult:
        """What a backend does."""
        if reason := backend.missing():
            return BackendResult(backend.name, NOT_RUN, reason, decides=backend.decides)
        try:
            return self._run(backend)
        except _ERRORS as error:
            if is_out_of_device_memory(error):
                return BackendResult(backend.name, NOT_RUN, "the GPU has not enough memory", decides=backend.decides)
            if is_out_of_memory(error):
                raise
            reason = f"it does not run on the reference's input: {_line(error)}"
            return BackendResult(backend.name, FAILED, reason, decides=backend.decides)
        finally:
            backend.close()

    def _rules(self, dtype: torch.dtype, backend: Backend) -> Rules:
        reference = self.reference
        return Rules(
            coarser(dtype, reference.dtype),
            max(map(fan_in_of, self.conv.layers), default=1),
            depth_of(self.conv.layers),
            operands_of(self.conv.layers, reference.input),
            onnx=backend.onnx,
            gpu=backend.gpu or reference.coarse,
            atol=self.atol,
            rtol=self.rtol,
        )

    def _run(self, backend: Backend) -> BackendResult:
        conv, reference = self.conv, self.reference
        rules = self._rules(backend.dtype(conv), backend)
        kept = False
        layered = backend.layers(conv, reference, rules) if self.layers and backend.decides else Layered([])
        try:
            got = backend.outputs(conv, reference.input) if layered.output is None else layered.output
            if backend.onnx:
                got, kept = with_dropped_batch(got, reference)
            outputs = self._outputs(got, rules)
            if all(layer.passed for layer in layered.results):
                outputs = explained(got, reference.output, outputs, rules.output(), self.growth)
            problems = [f"output{d.place}: {d.problem}" for d in outputs if not d.passed]
        except (*_ERRORS, UsageError) as error:
            if is_out_of_memory(error):
                raise
            outputs, problems = [], [f"it does not run on the reference's input: {_line(error)}"]
        result = BackendResult(
            backend.name, PASSED, "", rules.output(), outputs, layered.results, decides=backend.decides
        )
        if self.layers and problems and not result.layers:
            with suppress(*_ERRORS, UsageError):  # what is known already is what counts
                result.layers = backend.locate(conv, reference.input, rules)
        if backend.decides and not problems and not self.drawn.outputs:
            result.batches = compare_batches(backend, conv, reference, rules, self.batches, self.noise, self.growth)
        problems += [f"in a batch of {b.batch}: {b.reason}" for b in result.batches if b.status == FAILED]
        random = bool(self.drawn.outputs)
        if self.gradients and backend.name == "pytorch-cpu" and reference.gradients is not None and not random:
            result.gradients = compare_gradients(conv, reference, rules)
            problems += [
                f"{g.field} of {g.typename} at {g.path or 'the top'}: {g.difference.problem}"
                for g in result.gradients
                if g.difference is not None and not g.difference.passed
            ][:3]
        own = [layer for layer in result.layers if not layer.passed]
        if own and not problems and own[0].own is not None:
            layer = own[0]
            problems.append(f"{layer.typename} at {layer.path or 'the top'} by itself: {own[0].own.problem}")
        if not outputs and not problems and not self.drawn.outputs:
            problems.append("there is no output to compare")
        result.status, result.reason = FAILED if problems else PASSED, "; ".join(problems)
        compared = [layer for layer in result.layers if layer.own is not None or layer.accumulated is not None]
        if not outputs and not compared and not problems:
            result.status, result.reason = NOT_RUN, f"{self.drawn}; there is nothing else to compare"
        if (grown := max((output.growth for output in outputs), default=0.0)) and not problems:
            result.reason = f"rounding grows {fold(grown)} through this network, so its outputs prove little"
        if kept and not problems:
            result.reason = "the file keeps the batch of one, which Torch7 drops"
        return result

    def _outputs(self, got: Any, rules: Rules) -> list[Difference]:
        """The difference of every output, each by its own tolerance."""
        found = self._compared(got, rules.output())
        places = (set(self.atol) | set(self.rtol)) - {""}
        if not places:
            return found
        by_place = {
            place: difference
            for place in places
            for difference in self._compared(got, rules.output(place))
            if difference.place == place
        }
        return [by_place.get(difference.place, difference) for difference in found]

    def _compared(self, got: Any, tolerance: Tolerance) -> list[Difference]:
        """The difference of every output that depends on no random numbers."""
        random = {position(place) for place in self.drawn.outputs}
        found = compare(got, self.reference.output, tolerance, details=True, noise=self.noise)
        return [difference for difference in found if difference.place not in random]


def _noise(conv: ConvertedModel, value: Any) -> RoundingNoise:
    """The rounding noise of the outputs of the whole network."""
    network = copy_network(conv)
    value = network.taken(value)
    return RoundingNoise(network.module, value, last_layers_of(conv.answers, network.module, value))


def _growth(conv: ConvertedModel, value: Any) -> RoundingNoise:
    """How far rounding grows through the whole network."""
    network = copy_network(conv)
    return rounding_growth(network.module, network.taken(value))


def with_dropped_batch(got: Any, reference: Reference) -> tuple[Any, bool]:
    """Outputs without the batch of one that an exported file keeps where Torch7 drops it, and whether there was one."""
    if any(tensor.shape[:1] != (1,) for _, tensor in leaves(reference.input)):
        return got, False
    sizes = {place: tuple(tensor.shape) for place, tensor in leaves(reference.output)}
    dropped = {id(t): t[0] for place, t in leaves(got) if t.dim() and tuple(t.shape) == (1, *sizes.get(place, ()))}

    def drop(tensor: torch.Tensor) -> torch.Tensor:
        return dropped.get(id(tensor), tensor)

    return apply(got, drop), bool(dropped)


def _line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300] if text else ''}"

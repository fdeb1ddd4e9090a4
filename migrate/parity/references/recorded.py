"""The reference that lies in the file itself: a model saved without `clearState()` holds Torch7's last activations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from math import prod
from typing import Any

import torch
from torch import nn

from ...base.errors import UsageError
from ...base.tensor_trees import apply, leaves, moved
from ...model.conversion import ConvertedModel
from ...shapes.infer import Guess, infer_input
from ...shapes.random_input import make_input
from ...shapes.random_layers import drawn_numbers
from ..judge.compare import compare
from ..judge.tolerances import Rules, coarser, depth_of
from ..network_copies import Network, copy_network, leaf_indices
from ..reference_numbers import Reference
from ..steps.staleness import OLDER, Settled, has_weights, settle
from ..trace import LayerRun, trace
from .old_exponential import without_approximation
from .overwritten_outputs import FollowedRun
from .recorded_activations import (
    MOST_NUMBERS,
    Convolution,
    Recording,
    find_recording,
    first_layers,
    graph_input,
    input_size,
    recover_input,
)
from .recorded_layers import UNKNOWN, Probe
from .recorded_sequences import judged_inside
from .self_reference import compute_self, with_output

#: Place of a tensor in a nested value.
Place = tuple[int, ...]

#: Sizes that are tried when the size of Torch7's input is looked for.
_MOST_SIZES = 12


def read_recorded(conv: ConvertedModel, guess: Guess | None, seed: int = 0) -> Reference | None:
    """The reference that is in the file; None where no layer can be judged by it.

    Args:
        conv: the converted model.
        guess: an input for what can't be compared with Torch7; None: one is looked for.
        seed: of random inputs.
    """
    recording = find_recording(conv)
    if recording is None or conv.is_criterion:
        return None
    network = copy_network(conv)
    rules = Rules(coarser(network.dtype, recording.dtype), gpu=recording.gpu)
    sizes = _sized(conv, network, recording, seed)
    if sizes is None:
        return None
    known = _recovered(conv, network, recording, sizes)
    values = _filled(sizes, known), _filled(make_input(conv, _shape(sizes), seed + 1), known)
    given = values[0] if len(known) == len(list(leaves(sizes))) else None
    judgements = Probe(conv, network, recording, values, rules).judge()
    if not judgements[0].judged:
        return None
    settled = settle(conv, recording, values, rules, judgements)
    old = settled.before is not None or bool(settled.older)
    trained = old or bool(settled.judgement.training)
    ends = None if given is None or trained else _ends(conv, network, recording, given, rules)
    if ends is None:
        guess = guess or Guess(moved(values[0]), "it has the size that Torch7's own input had")
        base = with_output(compute_self(conv, guess))
        whole = "The outputs of the whole network are compared with the converted model in float64"
        drawn = drawn_numbers(conv, moved(values[0]))
        masked = (0, 1) in settled.judgement.masks
        why = str(drawn) if drawn.outputs and not old else _why(given, old, trained, masked)
        limits: tuple[str, ...] = (f"{whole}, since {why}.",)
    else:
        base = replace(ends, notes=("Torch7's own input is in the file", *ends.notes))
        limits = ends.limits
    return _reference(conv, base, recording, settled, None if ends is not None else values[0], limits)


def _why(given: Any, old: bool, trained: bool, masked: bool) -> str:
    """Why the outputs of the whole network can't be compared with Torch7's."""
    if old:
        return "the activations are older than the weights"
    if given is None:
        return "Torch7's input is not in the file"
    if trained:
        return "Torch7 ran some layers in training mode"
    if masked:
        return "something set numbers of the network's output in the file to 0 after it ran"
    return "the output in the file is not what the whole network answers to the input in it"


def _reference(
    conv: ConvertedModel,
    base: Reference,
    recording: Recording,
    settled: Settled,
    probe: Any,
    limits: tuple[str, ...],
) -> Reference:
    judgement, before = settled.judgement, settled.before
    judged = {key: difference for key, difference in judgement.judged.items() if key not in settled.older}
    together = {key: blamed for key, blamed in judgement.together.items() if not {*blamed} & {*settled.older}}
    unjudged = judgement.unjudged | dict.fromkeys([*settled.older, *({*judgement.together} - {*together})], OLDER)
    whole = {key: witness.own for key, witness in settled.witnesses.items() if witness.own is not None}
    unjudged = {key: reason for key, reason in unjudged.items() if key not in whole}
    unjudged |= {key: witness.remark for key, witness in settled.witnesses.items() if key not in whole}
    passed = [key for key in judged if key[0] in judgement.sequences and judged[key].passed]
    proven = {}
    if before is not None:
        proven = {key: before.remark(key) for key in judged if key in before.proven or key in passed}
    inside = judged_inside(conv.layers, judgement.sequences, judged, unjudged, proven)
    unjudged = {key: reason for key, reason in unjudged.items() if key not in inside}
    count = len(judged) + len(whole) + len(inside)
    judged_of = f"{_runs(count)} of {count + len(unjudged)}"
    proves = f"what was judged ({judged_of}) computes what Torch7 computed, on Torch7's own input"
    reasons = Counter(unjudged.values())
    grouped = "; ".join(f"{number}: {reason}" for reason, number in reasons.most_common())
    notes = [*base.notes, f"not judged by the activations: {grouped}"] if grouped else list(base.notes)
    if before is not None:
        notes.append(
            f"the activations are older than the weights: {_runs(len(proven))} judged with the weights before the last "
            f"step ({before.said(before.scale)})"
        )
    if judgement.training:
        limits += (f"{len(judgement.training)} layers ran in training mode: their running statistics are not covered.",)
    masked = sum(key in judged for key in judgement.masks)
    if masked:
        limits += (f"{_runs(masked)} judged without numbers that something set to 0 after the layer ran.",)
    if judgement.stopped:
        notes.append(f"the run on the activations ended early: {judgement.stopped}")
    inner = leaf_indices(conv.layers)
    none = settled.older and not any(key[0] in inner and has_weights(conv, key) for key in (*judged, *whole))
    return Reference(
        "recorded",
        proves,
        base.input,
        base.output,
        recording.dtype,
        conv.provenance.file,
        conv.provenance.sha256,
        judgement.known,
        tuple(notes),
        limits,
        unjudged,
        tuple(judgement.training),
        probe,
        coarse=recording.gpu,
        together=together,
        beneath=judgement.beneath,
        stale="the activations in the file are older than its weights" if none else "",
        changes={} if before is None else before.changes,
        proven=proven,
        shifts=base.shifts,
        masks={key: mask for key, mask in judgement.masks.items() if key in judgement.known},
        witnessed={key: (own, settled.witnesses[key].remark) for key, own in whole.items()} | inside,
    )


def _runs(count: int) -> str:
    return "1 run of a layer" if count == 1 else f"{count} runs of layers"


def require_recorded(conv: ConvertedModel, guess: Guess | None, seed: int = 0) -> Reference:
    """The same; a file without usable activations is an error.

    Raises:
        UsageError: there are none, or none that could be used.
    """
    if (found := read_recorded(conv, guess, seed)) is None:
        raise UsageError(
            "There are no activations in the file that a layer could be judged by: it was saved after clearState(), or "
            f"{UNKNOWN}. Make a reference (torchmigrate reference), or leave --reference out."
        )
    return found


def _sized(conv: ConvertedModel, network: Network, recording: Recording, seed: int) -> Any:
    """A made-up input of the size that Torch7's had, as far as the sizes of the recorded outputs tell."""
    best, most = None, (-1, 0)
    wanted = len(first_layers(conv, recording))
    for value in _candidates(conv, recording, seed):
        fits = _fitting(network, recording, value)
        if fits > most:
            best, most = value, fits
        if most[0] >= wanted:
            break
    return best


def _candidates(conv: ConvertedModel, recording: Recording, seed: int) -> Iterator[Any]:
    found = graph_input(conv)
    if found is not None:
        yield found
    for sizes in _sizes(conv, recording)[:_MOST_SIZES]:
        if _numbers(sizes) > MOST_NUMBERS:
            continue
        try:
            yield make_input(conv, sizes, seed)
        except (RuntimeError, TypeError, IndexError):
            continue


def _sizes(conv: ConvertedModel, recording: Recording) -> list[Any]:
    found: list[Any] = []
    try:
        guessed = _shape(infer_input(conv).value)
    except UsageError:
        guessed = None
    layers = first_layers(conv, recording)
    batches = [t.shape[0] for i in layers[:1] for _, t in leaves(recording.outputs[i])]
    batches += [t.shape[0] for _, t in leaves(recording.outputs.get(0))]
    for i in layers[:1]:
        output, module = recording.outputs[i], conv.layers[i].module
        if isinstance(output, torch.Tensor):
            if isinstance(module, Convolution) and not isinstance(module.padding, str):
                dims = len(module.kernel_size)
                if output.dim() > dims:
                    size = input_size(module, tuple(output.shape[-dims:]))
                    found.append((*output.shape[: -dims - 1], module.in_channels, *size))
            elif isinstance(module, nn.Conv1d) and conv.layers[i].traits.reads == "frames" and output.dim() > 1:
                length = (output.shape[-2] - 1) * module.stride[0] + module.kernel_size[0] - 2 * int(module.padding[0])
                found.append((*output.shape[:-2], length, module.in_channels))
            elif isinstance(module, nn.Linear):
                found.append((*output.shape[:-1], module.in_features))
            elif conv.layers[i].traits.reads == "indices":
                found.append(tuple(output.shape[:-1]))
            else:
                found.append(tuple(output.shape))
        elif isinstance(output, list):
            found += _split_sizes(output)
    if guessed is not None:
        # first, since what is exported has this size too, where several would do
        found = [*(_with_batch(guessed, batch) for batch in dict.fromkeys(batches)), *found, guessed]
    return found


def _split_sizes(entries: list[Any]) -> list[Any]:
    """The sizes of tensors that these are the slices of, as one that cuts a sequence into its steps leaves them."""
    sizes = {tuple(entry.shape) if isinstance(entry, torch.Tensor) else None for entry in entries}
    size = sizes.pop()
    if sizes or size is None:
        return []
    return [(*size[:dim], len(entries), *size[dim:]) for dim in range(len(size) + 1)]


def _numbers(sizes: Any) -> int:
    return prod(sizes) if isinstance(sizes, tuple) else sum(map(_numbers, sizes))


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else [_shape(item) for item in value]


def _with_batch(sizes: Any, batch: int) -> Any:
    if isinstance(sizes, tuple):
        return (batch, *sizes[1:])
    return [_with_batch(item, batch) for item in sizes]


def _fitting(network: Network, recording: Recording, value: Any) -> tuple[int, int]:
    """How many recorded outputs have the sizes that come of this input, of layers without layers inside and of all."""
    fits: set[int] = set()
    twin = network.twin()

    def see(step: LayerRun) -> None:
        pairs = zip_longest(leaves(step.output), leaves(recording.outputs.get(step.index)))
        # up to the first that differs, since a table may hold a hundred thousand tensors
        if all(ours and theirs and ours[1].shape == theirs[1].shape for ours, theirs in pairs):
            fits.add(step.index)

    missing = 0
    try:
        trace(twin, twin.taken(value), see)
    except Exception:
        missing = len(network.layers)
    return len(fits & leaf_indices(network.layers)) - missing, len(fits) - missing


def _recovered(conv: ConvertedModel, network: Network, recording: Recording, value: Any) -> dict[Place, torch.Tensor]:
    """The tensors of Torch7's own input that are still in the file, by their places.

    A graph holds its input; else buffers of the layers that read it may. What a layer may have overwritten is unknown.
    """
    run = FollowedRun(network, value, recording)
    kept = {place for number, (place, _) in enumerate(leaves(value)) if number not in run.inputs}
    found = graph_input(conv)
    if found is not None and [place for place, _ in leaves(found)] == [place for place, _ in leaves(value)]:
        return {place: tensor for place, tensor in leaves(found) if place in kept}
    twin = network.twin()
    taken = twin.taken(value)
    places = {tensor.untyped_storage().data_ptr(): place for place, tensor in leaves(taken)}
    like = dict(leaves(taken))
    known: dict[Place, torch.Tensor] = {}

    def see(step: LayerRun) -> None:
        given = step.input
        place = places.get(given.untyped_storage().data_ptr()) if isinstance(given, torch.Tensor) else None
        if place not in kept or place in known or step.index not in recording.outputs:
            return
        if run.calls.get(step.index, 1) > 1:
            return
        layer, output = conv.layers[step.index], recording.outputs[step.index]
        back = recover_input(layer, output, like[place], overwritten=step.index in run.overwritten)
        if back is not None and back.dim() == like[place].dim():
            known[place] = back

    with suppress(Exception):  # made-up inputs may lead anywhere
        trace(twin, taken, see)
    return known


def _filled(value: Any, known: Mapping[Place, torch.Tensor]) -> Any:
    """A made-up input with the tensors that are known, in no coarser a type than Torch7 had them."""
    rest = iter([_finer(known.get(place, tensor), tensor.dtype) for place, tensor in leaves(value)])

    def take(tensor: torch.Tensor) -> torch.Tensor:
        return next(rest)

    return apply(value, take)


def _finer(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if tensor.is_floating_point() and dtype.is_floating_point:
        dtype = torch.promote_types(tensor.dtype, dtype)
    return tensor.to(dtype)


def _ends(conv: ConvertedModel, network: Network, recording: Recording, given: Any, rules: Rules) -> Reference | None:
    """What Torch7 answered, if the whole network gives that in evaluate mode; None if Torch7 ran it in another."""
    answered = recording.outputs.get(0)
    if answered is None:
        return None
    twin = network.twin()
    tolerance = Rules(rules.dtype, depth=depth_of(network.layers), gpu=True).output()
    try:
        found = compare(twin.run(given), answered, tolerance)
    except Exception:
        return None
    made = Reference("recorded", "", given, answered, recording.dtype, coarse=recording.gpu)
    if all(difference.passed for difference in found):
        return made
    exact = without_approximation(conv, made)
    return None if exact is made else exact

"""Layer by layer: the error that each layer makes by itself, and the error that has come together up to it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch

from ...base.json_values import JsonValues
from ...base.memory import is_out_of_memory
from ...base.tensor_memo import TensorMemo
from ...base.tensor_trees import leaves, moved
from ...model.layer_record import LayerRecord
from ...shapes.random_layers import RandomNumbers, may_draw
from ...shapes.rounding_noise import RoundingNoise
from ..choices import Choices
from ..judge.compare import Difference, Known, Noise, Tolerance, compare
from ..network_copies import Network
from ..reference_numbers import Reference, TensorSummary, added, cast_like
from ..trace import LayerRun, trace
from .noise_beneath import noise_of_step, noise_with
from .rounded_means import Explained, RoundedMeans, rounded_means, together
from .summaries import compare_summary
from .unseen_weights import NO_PART, UnseenWeights


@dataclass
class LayerResult(JsonValues):
    """How one run of one layer compares with the reference.

    Attributes:
        path: its Torch7 path.
        typename: its Torch7 class.
        module: class of the PyTorch module.
        call: which run of the layer, 1-based.
        shape: sizes of its output, one per tensor.
        own: its own error, on the reference's input; None if it can't be judged.
        accumulated: its error in the running network.
        remark: why it can't be judged by itself, or in which way it was; "" if there is nothing to say.
    """

    path: str
    typename: str
    module: str
    call: int
    shape: list[tuple[int, ...]]
    own: Difference | None = None
    accumulated: Difference | None = None
    remark: str = ""

    @property
    def judged(self) -> bool:
        """Was it compared by itself?"""
        return self.own is not None and not self.own.empty

    @property
    def passed(self) -> bool:
        """Is its own error within the tolerance?"""
        return self.own is None or self.own.passed


#: Said of a layer that was run as Torch7 ran it.
TRAINING = "compared in training mode, in which Torch7 ran it; its running statistics are not covered"

#: Said of a layer behind one whose output the reference does not keep whole.
SUMMARIZED = "the reference keeps a summary of its input only: not judged by itself, but in the running network"

#: Said of a layer that draws, or that holds one whose numbers the reference does not keep whole.
DRAWS = "it draws random numbers when it evaluates, so no two runs agree"

#: Said of a layer behind one that draws.
BEHIND_RANDOM = "what it got depends on random numbers, of which the reference keeps no more than a summary"


@dataclass(frozen=True)
class Layered:
    """What came of a run layer by layer.

    Attributes:
        results: one per run of a layer.
        output: what the network answered, on the CPU; None if it did not run to its end.
    """

    results: list[LayerResult]
    output: Any = None


#: The tolerance of one layer; of how many operands, where it takes any.
Rule = Callable[[LayerRecord, int], Tolerance]


def compare_layers(network: Network, reference: Reference, own: Rule, accumulated: Tolerance) -> Layered:
    """Runs a network twice: with each layer's output replaced by the reference's, and as it is.

    In the first run each layer gets the reference's own input, so that its error is its own. Each layer is compared as
    soon as it has run.

    Args:
        network: what is judged.
        reference: what to compare with.
        own: the tolerance of each layer by itself.
        accumulated: the tolerance in the running network.

    Returns:
        The results. A layer that raises fails with what it raised, and ends its run.
    """
    fed = network.twin() if reference.training else network
    if reference.changes:
        fed = network.changed(reference.changes)
    fed.train(reference.training)
    spare = network.twin()  # without the hooks of a trace
    spare.train(reference.training)
    comparison = _Comparison(network, spare, reference, own, accumulated)
    value = fed.taken(reference.input if reference.probe is None else reference.probe)
    comparison.remember(value)
    comparison.choices = Choices(fed.layers)
    comparison.run(fed, value, own=True)
    output = None
    if reference.probe is None:
        output = moved(comparison.run(network, network.taken(reference.input), own=False))
    return Layered(list(comparison.found.values()), output)


def _rule_of(own: Rule, layers: Sequence[LayerRecord], index: int, operands: int = 0) -> Tolerance:
    return own(layers[index], operands)


class _Comparison:
    """What is known after some layers have run."""

    def __init__(
        self, network: Network, spare: Network, reference: Reference, own: Rule, accumulated: Tolerance
    ) -> None:
        self.layers = network.layers
        self.spare = spare
        self.reference = reference
        self.own = cache(partial(_rule_of, own, network.layers))  # of a layer that may run ten thousand times
        self.accumulated = accumulated
        self.found: dict[tuple[int, int], LayerResult] = {}
        self.order = None if reference.follows is None else list(reference.layers)
        self.overwritten = {key for keys in reference.together.values() for key in keys}
        self.beneath = {key for keys in reference.beneath.values() for key in keys}
        self.noises: dict[tuple[int, int], Noise] = {}
        self.means: dict[tuple[int, int], RoundedMeans | None] = {}
        self.summarized = self.order is None and any(summarized(expected) for expected in reference.layers.values())
        self.whole: dict[int, weakref.ref[torch.Tensor]] = {}
        self.known = Known(exact=False)
        self.choices = Choices(network.layers)
        self.unseen = UnseenWeights()
        self.numbers = RandomNumbers() if may_draw(network.layers) else None
        self.made: TensorMemo[torch.Tensor] = TensorMemo()

    def remember(self, value: Any) -> None:
        """Notes that these tensors are the reference's own."""
        for _, tensor in leaves(value):
            self.whole[tensor.untyped_storage().data_ptr()] = weakref.ref(tensor)

    def is_whole(self, value: Any) -> bool:
        """Are all these tensors, or what they are views of, the reference's own?"""
        found = (self.whole.get(tensor.untyped_storage().data_ptr()) for _, tensor in leaves(value))
        return all(known is not None and known() is not None for known in found)

    def run(self, network: Network, value: Any, *, own: bool) -> Any:
        """Runs a network and compares its layers; returns what it answers, None if a layer fails.

        Raises:
            ValueError: the layers run in another order than before.
        """
        order: list[tuple[int, int]] = []
        running: list[int] = []

        def see(step: LayerRun) -> Any:
            order.append(step.key)
            record = self.layers[step.index]
            with nullcontext() if self.numbers is None else self.numbers.after(record, step.output):
                expected = self.reference.layers.get(step.key)
                return self.judge(step, expected) if own else self.accumulate(step, expected)

        try:
            with self.numbers or nullcontext():
                output = trace(network, value, see, running=running)
        except Exception as error:  # a wrong conversion may raise anything
            if not running or is_out_of_memory(error):
                raise
            call = 1 + sum(index == running[-1] for index, _ in order)
            self.note_failure((running[-1], call), error, own=own)
            return None
        if self.order not in (None, order):
            raise ValueError("the layers run in another order on the reference's values than on the model's own")
        self.order = order
        return output

    def note_failure(self, key: tuple[int, int], error: Exception, *, own: bool) -> None:
        """Notes that a layer raised."""
        text = str(error).strip().splitlines()
        problem = f"it fails: {type(error).__name__}: {text[0][:200] if text else ''}"
        found = self.result(key, [])
        if own and not self.summarized:
            found.own = Difference("", False, problem, ())
        else:
            found.remark = SUMMARIZED if self.summarized else found.remark
            found.accumulated = Difference("", False, problem, ())

    def result(self, key: tuple[int, int], output: Any) -> LayerResult:
        """What is known of a layer; `output` is what it computed."""
        if key not in self.found:
            record = self.layers[key[0]]
            sizes = [tuple(tensor.shape) for _, tensor in leaves(output)]
            name = type(record.module).__name__
            self.found[key] = LayerResult(record.path, record.typename, name, key[1], sizes)
        return self.found[key]

    def randomness(self, step: LayerRun) -> str:
        """Why what a layer gives can't be compared, if it depends on random numbers; "" if it does not."""
        if self.numbers is None:
            return ""
        if self.numbers.depends(step.input):
            return BEHIND_RANDOM
        return DRAWS if self.numbers.depends(step.output) else ""

    def accumulate(self, step: LayerRun, expected: Any) -> None:
        """Compares a layer in the running network."""
        if expected is not None and not self.randomness(step):
            output, expected = self.without_masked(step, expected)
            if step.key in self.reference.shifts:
                output = added(output, self.reference.shifts[step.key])
            self.result(step.key, step.output).accumulated = worst(output, expected, self.accumulated, self.known)

    def without_masked(self, step: LayerRun, expected: Any) -> tuple[Any, Any]:
        """What a layer gave and the reference, without the numbers that something wrote over after the layer ran."""
        mask = self.reference.masks.get(step.key)
        return (step.output, expected) if mask is None else (mask.without(step.output), mask.without(expected))

    def judge(self, step: LayerRun, expected: Any) -> Any:
        """Compares a layer by itself; returns what the layers behind it are to get."""
        self.choices.note(step)
        if step.key in self.beneath:
            self.noises[step.key] = partial(RoundingNoise, self.spare.layers[step.index].module, moved(step.input))
            self.means[step.key] = self.means_of(step)
        reason = self.reference.unjudged.get(step.key) or self.randomness(step) or None
        if step.key in self.overwritten:
            self.result(step.key, step.output)
        if expected is None and reason is None and step.key not in self.reference.witnessed:
            return None
        found = self.result(step.key, step.output)
        if step.key in self.reference.witnessed:
            found.own, found.remark = self.reference.witnessed[step.key]
        elif reason is not None:
            found.remark = reason
        elif self.summarized and not self.is_whole(step.input):
            found.remark = SUMMARIZED
        else:
            found.own, way = self.by_itself(step, expected)
            if step.key in self.reference.together:
                self.blame(found, self.reference.together[step.key], way)
            elif step.key in self.reference.proven and found.own.passed:
                found.remark = self.reference.proven[step.key]
            elif step.index in self.reference.training:
                found.remark = TRAINING
            masks = [self.reference.masks[step.key].remark] if step.key in self.reference.masks and found.own else []
            unseen = NO_PART if self.unseen.has(self.spare.layers[step.index].module, step.input) else ""
            found.remark = "; ".join(filter(None, (found.remark, way, *masks, unseen)))
        if expected is None or passed_on(step, found.own) or self.is_made_of(expected, step.output):
            return None
        made = replacement(expected, step.output)
        self.remember(made)
        pairs = zip(leaves(made), leaves(expected), strict=True) if made is not None else ()
        for (_, mine), (_, theirs) in pairs:
            self.made.note(mine, theirs)
        return made

    def by_itself(self, step: LayerRun, expected: Any) -> tuple[Difference, str]:
        """A layer's own error, and in which way it was judged."""
        operands = self.layers[step.index].traits.flow == "operands" and isinstance(step.input, (list, tuple))
        rule = self.own(step.index, len(step.input) if operands else 0)
        noise: Noise = partial(RoundingNoise, self.spare.layers[step.index].module, step.input)
        if beneath := self.reference.beneath.get(step.key):
            noise = partial(noise_with, noise, [self.noises[key] for key in beneath if key in self.noises])
        if self.reference.changes and rule.rounding:
            now = self.spare.layers[step.index].module
            noise = partial(noise_with, noise, [partial(noise_of_step, now, step.input, step.output, rule)])
        output, expected = self.without_masked(step, expected)
        own = worst(output, expected, rule, self.known, noise)
        explained = None if own.passed else self.explained_by_means(step, output, expected)
        if explained is not None:
            rounded = explained.difference(own, worst(explained.output, expected, rule, noise=noise))
            if rounded.passed:
                return rounded, explained.remark
        way = self.choices.other_output(step, expected, own, rule)
        if way is None or not (other := worst(way[0], expected, rule, noise=noise)).passed:
            return own, ""
        return other, way[1]

    def means_of(self, step: LayerRun) -> RoundedMeans | None:
        """What the rounding of means makes of a layer."""
        record = self.layers[step.index]
        return rounded_means(
            record.module, step.input, self.own(step.index), training=step.index in self.reference.training
        )

    def explained_by_means(self, step: LayerRun, output: Any, expected: Any) -> Explained | None:
        """What that explains of a layer's output, also of the layers whose numbers it found in its memory."""
        beneath = (self.means.get(key) for key in self.reference.beneath.get(step.key, ()))
        means = together((self.means_of(step), *beneath))
        return None if means is None else means.explained(output, expected)

    def is_made_of(self, expected: Any, output: Any) -> bool:
        """Does a container hand on what has taken the place of the last layer's output, untouched?"""
        if summarized(expected):
            return False
        ours, theirs = ([tensor for _, tensor in leaves(value)] for value in (output, expected))
        return len(ours) == len(theirs) > 0 and all(
            self.made.get(mine) is reference for mine, reference in zip(ours, theirs, strict=True)
        )

    def blame(self, found: LayerResult, others: Sequence[tuple[int, int]], way: str) -> None:
        """Judges layers by what overwrote their outputs in Torch7, which is not to blame if that is off."""
        own = found.own
        if own is None or not own.passed:
            found.own = None
        for key in others:
            other = self.found[key]
            remark = f"its output was written over by {found.typename} at {found.path}"
            other.own, other.remark = own, "; ".join(filter(None, (remark, way)))
            if own is not None and own.passed and key in self.reference.proven:
                other.remark = f"{self.reference.proven[key]}; {other.remark}"
            found.remark = f"it was judged together with {other.typename} at {other.path}"


def replacement(expected: Any, output: Any) -> Any:
    """The reference's output as the layers behind get it; None where it is not known whole, or is something else."""
    return None if summarized(expected) else cast_like(expected, output)


def passed_on(step: LayerRun, own: Difference | None) -> bool:
    """Does the layer pass on what it got, which is the reference's already, and which others may change in place?"""
    return step.output is step.input and own is not None and own.passed


def summarized(expected: Any) -> bool:
    """Does the reference keep only a summary of some of it?"""
    if isinstance(expected, (list, tuple)):
        return any(summarized(item) for item in expected)
    return isinstance(expected, TensorSummary)


def worst(
    output: Any, expected: Any, tolerance: Tolerance, known: Known | None = None, noise: Noise | None = None
) -> Difference:
    """The difference of the tensor that fails first, or is farthest off, among all of a nested output.

    Args:
        output: what is judged.
        expected: the reference; a `TensorSummary` for large tensors.
        tolerance: the rule.
        known: what was compared before.
        noise: as `compare` takes it.
    """
    found = _differences(output, expected, tolerance, known, noise)
    if not found:
        return Difference("", True, "", (0,))
    failed = [difference for difference in found if not difference.passed]
    return failed[0] if failed else max(found, key=_relative)


def _differences(
    output: Any, expected: Any, tolerance: Tolerance, known: Known | None, noise: Noise | None
) -> list[Difference]:
    if not summarized(expected):
        return compare(output, expected, tolerance, known=known, noise=noise)
    if isinstance(expected, TensorSummary):
        return [compare_summary(output, expected, tolerance, noise)]
    if not isinstance(output, (list, tuple)) or len(output) != len(expected):
        return [Difference("", False, f"it is no table of {len(expected)}, as the reference's is", ())]
    return [
        difference
        for ours, theirs in zip(output, expected, strict=True)
        for difference in _differences(ours, theirs, tolerance, known, None)
    ]


def _relative(difference: Difference) -> float:
    return difference.max_abs / difference.largest if difference.largest else difference.max_abs


def first_diverging(layers: Sequence[LayerResult]) -> LayerResult | None:
    """The first layer whose own error is too large, else the first whose accumulated error is."""
    for layer in layers:
        if not layer.passed:
            return layer
    return next((layer for layer in layers if layer.accumulated is not None and not layer.accumulated.passed), None)

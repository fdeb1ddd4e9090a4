"""Finds out which layers can be judged by activations left in the file, and judges them.

The converted network runs on two inputs, with each layer's output replaced by the recorded one as soon as it is known.
A layer that gets the same input both times gets what Torch7 gave it: nothing in it comes from the inputs, which are
made up. Where Torch7 has overwritten an output since, ours goes on, and the layer is judged together with the one that
did.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from ...base.random_state import random_state_of_our_own
from ...base.tensor_trees import apply, digest, leaves, moved
from ...model.conversion import ConvertedModel
from ...shapes.random_layers import RandomNumbers, may_draw
from ..choices import Choices
from ..judge.compare import Difference
from ..judge.tolerances import Rules
from ..masks import Mask
from ..network_copies import Network, leaf_indices
from ..runs.layer_noises import LayerNoises, random_like
from ..runs.layers import BEHIND_RANDOM, DRAWS, replacement, worst
from ..runs.rounded_means import ONE_NUMBER
from ..trace import LayerRun, trace
from .overwritten_outputs import FollowedRun
from .recorded_activations import (
    Recording,
    drew,
    noise_in,
    ran_in_training,
    ran_on_batch,
    was_trained,
    went_back_in_place,
)
from .recorded_masks import RecordedMasks
from .recorded_sequences import UNSURE, SequenceRuns, run_as_clones, sequences_in, steps_of_sequences

Key = tuple[int, int]

UNKNOWN = "what Torch7 gave it is not in the file"
STATEFUL = "it is part of a step of a sequence, and the file does not tell of which step its activations are"
RANDOM = "it ran in training mode, in which it is random"
UNDONE = "not judged: a backward pass has changed its output since, as in-place layers that add or multiply do"
BEHIND_UNDONE = "not judged: a backward pass has changed what it got since, as in-place layers that add or multiply do"
AGAIN = "it ran again, and the file holds what it gave then"
REPEATED = "it ran several times, and the file does not tell of which run its output is"


@dataclass
class Judgement:
    """What is found out about the layers.

    Attributes:
        judged: the difference by itself of every layer that can be judged.
        unjudged: why the others can't.
        known: the recorded outputs that are what the layer gave.
        masks: where something set numbers of the output of a layer to 0 after it ran.
        together: layers that overwrote the output of another -> the layer that is judged by theirs.
        beneath: layers that overwrote, or read what was overwritten -> those that had written there before.
        training: layers that behave in another way in training mode, and ran so.
        mode: all layers that were in training mode.
        sequences: layers that run others several times, judged as a whole -> the layers with weights in them.
        trained: whether a layer ran in training mode, as its statistics of a batch show; those that tell nothing are
            left out.
        stopped: why the run ended early, or "".
    """

    judged: dict[Key, Difference] = field(default_factory=dict)
    unjudged: dict[Key, str] = field(default_factory=dict)
    known: dict[Key, Any] = field(default_factory=dict)
    masks: dict[Key, Mask] = field(default_factory=dict)
    together: dict[Key, list[Key]] = field(default_factory=dict)
    beneath: dict[Key, list[Key]] = field(default_factory=dict)
    training: list[int] = field(default_factory=list)
    mode: set[int] = field(default_factory=set)
    sequences: Mapping[int, frozenset[int]] = field(default_factory=dict)
    trained: dict[int, bool] = field(default_factory=dict)
    stopped: str = ""

    @property
    def failed(self) -> list[Key]:
        """The layers that are off."""
        return [key for key, difference in self.judged.items() if not difference.passed]


@dataclass(frozen=True)
class _Seen:
    """What a layer got and gave, as digests."""

    given: bytes
    output: bytes


class Probe:
    """Runs a converted network on the activations of a file.

    Args:
        conv: the converted model.
        network: a copy of it, which is used up.
        recording: what the file holds.
        values: two inputs of the size that Torch7 fed it; the same twice where its very input is known.
        rules: the tolerances.
        now: the network with its own weights, where the other one has those of an earlier time.
    """

    def __init__(
        self,
        conv: ConvertedModel,
        network: Network,
        recording: Recording,
        values: tuple[Any, Any],
        rules: Rules,
        now: Network | None = None,
    ) -> None:
        self.network = network
        self.now = now
        self.recording = recording
        self.values = values
        self.rules = rules
        self.leaves = leaf_indices(network.layers)
        self.trained = was_trained(conv)
        self.normalizing = {i for i in self.leaves if has_running_statistics(network, i)}
        self.cells, self.inside = steps_of_sequences(network.layers)
        followed = FollowedRun(network, values[0], recording)
        self.calls, self.shared = followed.calls, followed.overwritten
        self.cloned = run_as_clones(network.layers)
        self.sequences = sequences_in(network, recording, followed, self.cells, self.inside)
        self.undone = [i for i in recording.outputs if went_back_in_place(network.layers[i])]

    def judge(self) -> list[Judgement]:
        """Runs it in every mode in which Torch7 may have run the layers; what fits best comes first.

        The file says in which mode each layer is now; a model may have been put into another one after it ran.
        """
        layers = self.network.layers
        flagged = {
            i for i in self.leaves if layers[i].train or ran_in_training(layers[i], self.recording.outputs.get(i))
        }
        found = [self.judge_in(flagged)]
        if not found[0].failed:
            return found
        trained = found[0].trained
        told = flagged - {*trained} | {i for i, was in trained.items() if was}
        rest = self.normalizing - {*trained}
        if told != flagged:
            found = [self.judge_in(told)]  # the file says in which mode it is, and not in which it ran
        for other in (told | rest, told - rest):
            if found[0].failed and other not in [judgement.mode for judgement in found]:
                found.append(self.judge_in(other))
        return sorted(found, key=_failures)

    def judge_in(self, training: set[int]) -> Judgement:
        """Runs it with these layers in training mode."""
        no_masks: set[Key] = set()
        while True:
            first = _Pass(self, training, 0, None, no_masks)
            first.run()
            second = _Pass(self, training, 1, first.seen, no_masks)
            second.run()
            if not (refuted := second.masks.refuted(first.masks)):
                break
            no_masks |= refuted
        judgement = second.judgement
        judgement.beneath = second.noises.beneath
        judgement.training = sorted(training & self.normalizing)
        judgement.mode = training
        judgement.sequences = self.sequences
        return judgement


def _failures(judgement: Judgement) -> int:
    return len(judgement.failed)


def has_running_statistics(network: Network, index: int) -> bool:
    """Does a layer behave in another, but determined, way in training mode?"""
    return any(getattr(part, "running_mean", None) is not None for part in network.layers[index].module.modules())


class _Pass:
    """One run of the network; the second one judges."""

    def __init__(
        self,
        probe: Probe,
        training: set[int],
        number: int,
        before: Mapping[Key, _Seen] | None,
        no_masks: Collection[Key],
    ) -> None:
        self.probe = probe
        self.training = training
        self.number = number
        self.before = before
        self.seen: dict[Key, _Seen] = {}
        self.judgement = Judgement()
        self.generator = torch.Generator().manual_seed(number)
        self.pending: list[Key] = []
        self.twin = probe.network.twin()
        self.choices = Choices(self.twin.layers)
        found, layers = self.judgement.masks, probe.network.layers
        now = None if probe.now is None else probe.now.layers
        self.noises = LayerNoises(layers, now, training, probe.recording.overwrites)
        self.masks = RecordedMasks(
            layers, probe.leaves, probe.shared, training, probe.recording, found, no_masks, probe.trained
        )
        self.numbers = RandomNumbers() if may_draw(self.twin.layers) else None
        self.sequences = SequenceRuns(probe.network, training)

    def run(self) -> None:
        twin = self.twin
        twin.train(sorted(self.training))
        value = twin.taken(self.probe.values[self.number])
        with random_state_of_our_own(self.number):
            try:
                with self.numbers or nullcontext():
                    trace(twin, value, self.see, copy_inputs=True)
            except Exception as error:  # made-up inputs may lead anywhere
                self.judgement.stopped = f"{type(error).__name__}: {error}".splitlines()[0]
        for key in self.pending:
            self.judgement.unjudged[key] = "its output was written over, and what did it can't be judged"

    def see(self, step: LayerRun) -> Any:
        """The same as `step`, which random numbers are not followed into."""
        with nullcontext() if self.numbers is None else self.numbers.after(self.twin.layers[step.index], step.output):
            return self.step(step)

    def step(self, step: LayerRun) -> Any:
        """Judges a layer; returns what the layers behind it are to get."""
        probe, i = self.probe, step.index
        if i in probe.sequences:
            step = self.sequences.run(step)
        self.seen[step.key] = _Seen(digest(step.input), digest(step.output))
        self.choices.note(step)
        recorded = probe.recording.outputs.get(i)
        if i in probe.cells and i not in probe.sequences:
            self.judgement.unjudged[step.key] = STATEFUL
            return self.noise(step.output)
        if i in probe.inside:
            self.judgement.unjudged[step.key] = STATEFUL
            return None
        if recorded is None:
            self.judgement.unjudged[step.key] = "its output is not in the file"
            self.masks.suspect(step, self.masks.doubt(step))
            return None
        times = probe.calls.get(i, 1)
        # a module that runs several times has one output, which is that of its last run; in a sequence, clones run
        if step.call != times or (times > 1 and i in probe.cloned):
            self.judgement.unjudged[step.key] = AGAIN if step.call < times and i not in probe.cloned else REPEATED
            return self.noise(step.output)
        layer = probe.network.layers[i]
        rule = probe.rules.layer(layer)
        noise = self.noises.noise_of(step, rule)
        difference = worst(step.output, recorded, rule, noise=noise)
        way = self.choices.other_output(step, recorded, difference, rule)
        if way is not None and (other := worst(way[0], recorded, rule, noise=noise)).passed:
            difference = other
        means = None if difference.passed else self.noises.means_of(step, rule)
        if means is not None and (explained := means.explained(step.output, recorded)) is not None:
            difference = explained.difference(difference, worst(explained.output, recorded, rule, noise=noise))
            if difference.passed and not means.enough:
                self.judgement.unjudged[step.key] = ONE_NUMBER
                self.judgement.known[step.key] = recorded
                return replacement(recorded, step.output)
        shared = i in probe.shared
        if not difference.passed and i not in self.training and drew(layer, step, recorded, rule, shared=shared):
            self.judgement.unjudged[step.key] = RANDOM
            if shared:
                return self.noise(step.output)
            self.judgement.known[step.key] = recorded
            return replacement(recorded, step.output)
        if not difference.passed and i in probe.sequences and not self.sequences.is_sure(step):
            self.judgement.unjudged[step.key] = UNSURE
            if i in probe.cells:
                return self.noise(step.output)
            self.judgement.known[step.key] = recorded
            return replacement(recorded, step.output)
        if not difference.passed and any(probe.recording.overwrites(i, j) for j in probe.undone):
            self.judgement.unjudged[step.key] = UNDONE
            sure = noise_in(layer, step.output) is None and not any(True for _ in layer.module.parameters())
            self.masks.suspect(step, self.masks.doubt(step) if sure else BEHIND_UNDONE)
            return None
        mask = None if difference.passed else self.masks.find(step, recorded, pending=bool(self.pending))
        if mask is not None:
            clear = worst(mask.without(step.output), recorded, rule, noise=noise)
            difference, mask = (clear, mask) if clear.passed else (difference, None)
        if mask is not None:
            self.judgement.masks[step.key] = mask
            recorded = mask.filled(recorded, step.output if mask.seen else self.noise(step.output))
        intact = not shared or difference.passed
        if not intact:
            self.noises.note(step.key, noise, means)
        if self.before is not None:
            if self.before.get(step.key) == self.seen[step.key]:
                self.masks.hear(step, recorded, rule, passed=difference.passed, intact=intact)
            self.conclude(step, recorded, difference, intact)
        if not intact:
            self.masks.suspect(step, self.masks.doubt(step))
            return None
        if mask is None or mask.seen:
            self.judgement.known[step.key] = recorded
        made = replacement(recorded, step.output)
        if mask is not None:
            self.masks.accept(step, made)
        if self.judgement.unjudged.get(step.key) == UNKNOWN:
            self.masks.note(step, made)
        return made

    def conclude(self, step: LayerRun, recorded: Any, difference: Difference, intact: bool) -> None:
        """Writes down what is known of a layer now that it has run on both inputs."""
        before = (self.before or {}).get(step.key)
        now = self.seen[step.key]
        if before is not None and before.given == now.given and step.index in self.probe.normalizing:
            trained = ran_on_batch(self.probe.network.layers[step.index], step.input)
            if trained is not None:
                self.judgement.trained[step.index] = trained
        if self.numbers is not None and self.numbers.depends([step.input, step.output]):
            self.judgement.unjudged[step.key] = BEHIND_RANDOM if self.numbers.depends(step.input) else DRAWS
            return
        mask = self.judgement.masks.get(step.key)
        if mask is not None and not mask.enough:
            self.judgement.unjudged[step.key] = mask.remark
            return
        if before != now:
            random = before is not None and before.given == now.given and step.index in self.training
            self.judgement.unjudged[step.key] = RANDOM if random else UNKNOWN
            return
        if step.index in self.training and self.depends_on_mode(step):
            self.judgement.unjudged[step.key] = RANDOM
            return
        if not intact:
            self.pending.append(step.key)
            return
        if not difference.passed and (doubt := self.masks.doubt(step)):
            self.judgement.unjudged[step.key] = doubt
            return
        # what goes around a layer gives what that was found to give
        pending = self.pending if step.index in self.probe.leaves else []
        overwritten = [key for key in pending if self.probe.recording.overwrites(step.index, key[0])]
        self.pending = [key for key in self.pending if key not in overwritten]
        layers = self.probe.network.layers
        name = f"{layers[step.index].typename} at {layers[step.index].path or 'the top'}"
        with_weights = [key for key in overwritten if any(True for _ in layers[key[0]].module.parameters())]
        if with_weights and difference.passed and not any(bool(tensor.any()) for _, tensor in leaves(recorded)):
            self.judgement.judged[step.key] = difference
            for key in overwritten:
                self.judgement.unjudged[key] = f"not judged: {name} wrote over its output, and let nothing through"
            return
        if not overwritten or (difference.passed and not with_weights):
            self.judgement.judged[step.key] = difference
            for key in overwritten:
                self.judgement.unjudged[key] = f"{name} wrote over its output; the two were judged together"
            return
        blamed = (with_weights or overwritten)[0]
        first = layers[blamed[0]]
        for key in overwritten:
            if key != blamed:
                self.judgement.unjudged[key] = f"it was judged together with {first.typename} at {first.path}"
        self.judgement.judged[blamed] = difference
        if difference.passed:
            self.judgement.judged[step.key] = difference
        self.judgement.together[step.key] = [blamed]

    def depends_on_mode(self, step: LayerRun) -> bool:
        """Does a layer answer otherwise in training mode? Dropout is random there; two runs may be equal by chance."""
        if step.index in self.probe.normalizing:
            return False  # it is determined there too, and compared so
        module = self.twin.layers[step.index].module
        module.eval()
        with torch.no_grad(), suppress(Exception):
            return digest(module.forward(moved(step.input))) != self.seen[step.key].output
        return True

    def noise(self, output: Any) -> Any:
        """Numbers that are others in each run: whatever depends on them is not known."""
        return apply(output, partial(random_like, self.generator))

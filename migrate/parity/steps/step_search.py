"""How long the last step of an optimizer was: one number that has to explain all numbers of all layers.

Each layer is run on the reference's own input with weights from along the direction of the step. What it then answers
is compared with what Torch7 recorded.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from ...base.tensor_trees import as_one, moved
from ...optim.last_step import Step
from ..network_copies import Network, leaf_indices
from ..references.recorded_layers import Judgement, Key, Probe
from ..runs.layers import replacement
from ..runs.rounded_means import RoundedMeans, rounded_means, together
from ..runs.step_lines import LEAST, Line, refined
from ..trace import LayerRun, trace

#: So many decimal digits of independent numbers must agree for the length of a step to be known.
DIGITS = 12

#: So many where the file tells the length: a layer that was off by chance by what the step does.
_DIGITS_OF_KNOWN = 3

#: Rounds of Newton's method; only layers that others wrote into need more than one.
ROUNDS = 4

#: The share of the length of the step by which it is varied to get a slope, and that of the weights before it is known.
_NEARBY, _FIRST = 1e-3, 1e-3

#: A sequence may have learning rates of its own if these leave no more than this share of what it is off.
_LEFT = 0.01

#: Rounds of Newton's method in which these are looked for.
_ROUNDS_OF_OWN = 8

#: A step of which the file tells nothing.
UNKNOWN_STEP = Step("SGD", None, {})


@dataclass
class Before:
    """The weights before the last step.

    Attributes:
        name: the optimizer, such as "SGD".
        scale: by what the direction of the step was multiplied: with SGD the learning rate.
        known: did the file tell the scale?
        mode: the layers that ran in training mode.
        changes: what is added to the parameters of the converted module to get those of before, by their names.
        proven: layers that give Torch7's numbers with these weights -> the scales of their own step.
        doubtful: layers that learning rates of their own would explain, of which nothing else tells.
        score: how many digits of independent numbers show that.
        unexplained: how many layers are off nevertheless.
        told: the layers of which it is known what the step did to all of their parameters.
        shown: the layers that the step explains, maybe but for the mean of each channel.
        remade: were the gradients zeroed in the file, and made again of those of the inputs?
        decayed: what of the changes is a decay of the weights, whatever the gradients were.
        keeps_gradients: as in `Step`.
        handed_back: is it known of gradients of inputs alone?
        alone: the one layer that tells of it, if it is one: wrong weights of that would tell the same.
    """

    name: str
    scale: float
    known: bool
    mode: set[int]
    changes: dict[str, torch.Tensor]
    proven: dict[Key, tuple[float, ...]] = field(default_factory=dict)
    doubtful: set[Key] = field(default_factory=set)
    score: float = 0.0
    unexplained: int = 0
    told: frozenset[int] = frozenset()
    shown: frozenset[Key] = frozenset()
    remade: bool = False
    decayed: dict[str, torch.Tensor] = field(default_factory=dict)
    keeps_gradients: bool = True
    alone: frozenset[Key] = frozenset()
    handed_back: bool = False

    def remark(self, key: Key) -> str:
        """How it is known that a layer is right."""
        step = self.said(*self.proven.get(key, (self.scale,)))
        return f"proven before the last step ({step}): the activations are older than the weights"

    def said(self, *scales: float) -> str:
        """The step in words."""
        numbers = " and ".join(dict.fromkeys(f"{scale:.4g}" for scale in sorted(scales)))
        if self.name.startswith("SGD"):
            return f"{self.name}, lr {numbers}"
        return f"{self.name}, by its state in the file{'' if self.known else f', times {numbers}'}"


@dataclass(frozen=True)
class _Own:
    """The scales of the parameters of one layer, and how many digits show the least of them; a single number never."""

    scales: Mapping[str, float]
    digits: float


class Search:
    """Looks for the length of one step, with the layers in one mode."""

    def __init__(
        self, step: Step, changes: Mapping[str, torch.Tensor], network: Network, probe: Probe, judgement: Judgement
    ) -> None:
        self.step = step
        self.changes = changes
        self.network = network
        self.probe = probe
        self.judgement = judgement
        self.start = {name: p.detach().clone() for name, p in network.module.named_parameters() if name in changes}
        observed = {blamed[0]: key for key, blamed in judgement.together.items() if blamed}
        self.observed = {key: observed.get(key, key) for key in judgement.judged}
        self.names = names_of_parameters(network, probe.sequences)
        self.told = {i: [name for name in names if name in changes] for i, names in self.names.items()}
        untold = {i for i in probe.sequences if len(self.told[i]) < len(self.names[i])}
        self.weighted = [key for key in judgement.judged if self.names.get(key[0]) and key[0] not in untold]
        self.failed = [key for key in judgement.failed if key[0] not in untold]
        self.means: dict[Key, RoundedMeans | None] = {}
        self.lines: dict[Key, Line] = {}

    def run(self) -> Before | None:
        """The weights before the step; None where nothing is explained by it."""
        scale: float | None = self.step.scale
        lines: dict[Key, Line] = {}
        try:
            for _ in range(ROUNDS):
                lines = self._lines(scale or 0.0)
                before, scale = scale, self._best(lines)
                if scale is None or before == scale:
                    break
            self.lines = lines
            return self._found(scale, lines) if scale and lines else None
        finally:
            self._put({})  # others go on with the network

    def beside(self, other: Search) -> dict[Key, tuple[Line, Line]]:
        """The lines along this direction and another one, of the layers that have both and are off."""
        mine, theirs = self._lines(0.0), other._lines(0.0)
        self._put({})
        other._put({})
        return {key: (mine[key], theirs[key]) for key in self.failed if key in mine and key in theirs}

    def best_for(self, key: Key) -> float:
        """The length that explains most of one layer, as the last run saw it."""
        return self.lines[key].own if key in self.lines else 0.0

    def off(self, key: Key, scale: float) -> float:
        """How far a layer is off with a step of that length, in tolerances, as the last run saw it."""
        return self.lines[key].left(scale) if key in self.lines else math.inf

    def shows(self, found: Before, taken: int) -> bool:
        """Do enough digits show what the last run found, if so many numbers were fitted to them?"""
        lines = [self.lines[key] for key in found.proven]
        less = max((line.digits(found.scale) - line.digits(found.scale, taken) for line in lines), default=0.0)
        return sum(line.digits(found.scale) for line in lines) - less >= DIGITS

    def refined(self, scale: float) -> float:
        """The length near this one that explains most of all layers that it explains."""
        lines = self._lines(scale)
        self._put({})
        return refined(list(lines.values()), scale)

    def distances(self) -> dict[Key, torch.Tensor]:
        """How far the numbers of each layer are off after the whole change, in tolerances; of those that tell."""
        here = self._outputs(dict.fromkeys(self.changes, 1.0))
        self._put({})
        found = {}
        for key in self.weighted:
            seen = self.observed[key]
            expected, got = as_one(self.probe.recording.outputs.get(seen[0])), as_one(here.get(seen))
            if not (isinstance(expected, torch.Tensor) and isinstance(got, torch.Tensor)):
                continue
            if expected.shape != got.shape or not expected.numel():
                continue
            rule = self.probe.rules.layer(self.network.layers[seen[0]])
            if (atol := rule.absolute(float(expected.abs().max()))) >= LEAST:
                found[key] = (expected.double() - got) / atol
        return found

    def _found(self, scale: float, lines: Mapping[Key, Line]) -> Before | None:
        scales = dict.fromkeys(self.changes, scale)
        proven: dict[Key, tuple[float, ...]] = {}
        score = 0.0
        for key, line in lines.items():
            if line.explained(scale):
                score += line.digits(scale)
                if not self.judgement.judged[key].passed:
                    proven[key] = (scale,)
            elif self.judgement.judged[key].passed:
                scales |= dict.fromkeys(self.names[key[0]], 0.0)
        if score < DIGITS:
            score = sum(part.digits(scale) for line in lines.values() for part in line.centred())
        # the file tells these too, where it tells the scale
        own_scales = {} if scale == self.step.scale else self._own_scales(scale, lines, proven)
        for key, own in own_scales.items():
            if own.digits >= DIGITS and min(own.scales.values()) > 0:
                score += own.digits
                proven[key] = tuple(own.scales.values())
                scales |= own.scales
        if score < DIGITS and not self._is_shown(scale, lines, proven):
            return None
        grouped = any(key in proven or own.digits > 0 for key, own in own_scales.items())
        doubtful = {
            key for key, own in own_scales.items() if key not in proven and (grouped or key[0] in self.probe.sequences)
        }
        changes = {name: scales[name] * change for name, change in self.changes.items()}
        return Before(
            name=self.step.name,
            scale=scale,
            known=scale == self.step.scale,
            mode=self.judgement.mode,
            changes=changes,
            proven=proven,
            doubtful=doubtful,
            score=score,
            unexplained=len(set(self.failed) - set(proven)),
            keeps_gradients=self.step.keeps_gradients,
            shown=frozenset(key for key, line in lines.items() if any(part.digits(scale) for part in line.parts())),
        )

    def _is_shown(self, scale: float, lines: Mapping[Key, Line], proven: Collection[Key]) -> bool:
        """Does a step of which the file tells the length explain what it explains by more than chance?"""
        known = scale == self.step.scale
        return known and sum(lines[key].digits(scale, 0) for key in proven) >= _DIGITS_OF_KNOWN

    def _own_scales(self, scale: float, lines: Mapping[Key, Line], proven: Collection[Key]) -> dict[Key, _Own]:
        """The scales of parameters that may have learning rates of their own, in layers that these explain."""
        rest = [key for key in lines if key not in proven and not self.judgement.judged[key].passed]
        if not rest:
            return {}
        apart = [self._lines(scale, place) for place in range(max(len(self.told[key[0]]) for key in rest))]
        found = {}
        for key in rest:
            names = self.told[key[0]]
            parts = [part[key] for part in apart[: len(names)] if key in part]
            if not parts or len(parts) < len(names):
                continue
            slopes = torch.stack([part.slope.reshape(-1) for part in parts], dim=1)
            off = parts[0].off.reshape(-1, 1)
            solved = torch.linalg.lstsq(slopes, off, driver="gelsd").solution
            own = [scale + float(extra) for extra in solved]
            scales = dict(zip(names, own, strict=True))
            straight = float((off - slopes @ solved).abs().max()) <= parts[0].atol
            if key[0] in self.probe.sequences:
                if self._with_own_scales(key, scales, float(off.abs().max())) is not None:
                    found[key] = _Own(scales, 0.0)  # many numbers to fit: no proof
            elif not straight and self.observed[key] != key:
                # what another layer wrote over is no straight line of them
                bent = self._with_own_scales(key, scales, float(off.abs().max()))
                if bent is not None:
                    found[key] = bent
            elif straight and min(own) > 0:
                found[key] = _Own(scales, min(part.shown(n) for n, part in zip(own, parts, strict=True)))
        return found

    def _with_own_scales(self, key: Key, scales: dict[str, float], most: float) -> _Own | None:
        """Other learning rates near these that explain what a layer answers, which is no straight line of them.

        Args:
            key: the layer.
            scales: of its parameters.
            most: by how much it is off with one scale for all.
        """
        before = math.inf
        for _ in range(_ROUNDS_OF_OWN):
            slopes = [self._line(scales, {name: _NEARBY * (abs(n) or self._first())}) for name, n in scales.items()]
            lines = [found[key] for found in slopes if key in found]
            if len(lines) < len(scales):
                return None
            off = lines[0].off.reshape(-1, 1)
            left = float(off.abs().max())
            forward = min(scales.values()) > -_LEFT * max(scales.values())
            if left <= lines[0].atol or (key[0] in self.probe.sequences and left <= _LEFT * most and forward):
                return _Own(scales, min(line.shown(n) for n, line in zip(scales.values(), lines, strict=True)))
            if left > before / 2:
                return None
            before = left
            slope = torch.stack([line.slope.reshape(-1) for line in lines], dim=1)
            solved = torch.linalg.lstsq(slope, off, driver="gelsd").solution
            scales = {name: n + float(more) for (name, n), more in zip(scales.items(), solved, strict=True)}
        return None

    def _best(self, lines: Mapping[Key, Line]) -> float | None:
        """The scale that explains most; the one in the file if none explains more layers."""
        given = [] if self.step.scale is None else [self.step.scale]
        whole = list(lines.values())
        for tried in (whole, [part for line in whole for part in line.centred()]):
            candidates = [*given, *(own for line in tried if (own := line.own) > 0)]
            digits = {scale: [line.digits(scale) for line in tried] for scale in candidates}
            ranks = [(sum(n > 0 for n in digits[scale]), scale in given, sum(digits[scale])) for scale in candidates]
            best = candidates[ranks.index(max(ranks))] if ranks else None
            if best is not None and sum(digits[best]) >= DIGITS:
                return best if best in given else refined(tried, best)
        candidates = [*given, *(own for line in whole if (own := line.own) > 0)]
        return candidates[0] if candidates else None

    def _lines(self, scale: float, place: int | None = None) -> dict[Key, Line]:
        """What the layers answer near a scale; `place`: where only that one of their parameters is varied."""
        nearby = _NEARBY * scale if scale else self._first()
        varied = set(self.changes)
        if place is not None:
            varied = {names[place] for names in self.told.values() if place < len(names)}
        return self._line(dict.fromkeys(self.changes, scale), dict.fromkeys(varied, nearby))

    def _line(self, scales: Mapping[str, float], more: Mapping[str, float]) -> dict[Key, Line]:
        """The same near the scale of each parameter; those in `more` are varied by it, all of a layer alike."""
        here = self._outputs(scales)
        there = self._outputs({name: scales.get(name, 0.0) + more.get(name, 0.0) for name in {*scales, *more}})
        found = {}
        for key in self.weighted:
            seen = self.observed[key]
            expected = self.probe.recording.outputs.get(seen[0])
            expected, one, other = as_one(expected), as_one(here.get(seen)), as_one(there.get(seen))
            if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
                continue
            if not isinstance(expected, torch.Tensor) or expected.shape != one.shape or not expected.numel():
                continue
            varied = [name for name in self.told[key[0]] if name in more]
            nearby = more[varied[0]] if varied else 1.0
            off, slope = expected.double() - one, (other - one) / nearby
            rule = self.probe.rules.layer(self.network.layers[seen[0]])
            if not bool(torch.isfinite(slope).all()) or not bool(torch.isfinite(expected).all()):
                continue
            changes = [self.changes[name].abs().reshape(-1) for name in varied]
            shares = torch.cat(changes) if changes else torch.zeros(1, dtype=torch.float64)
            shares = shares / max(float(shares.max()), LEAST) if shares.numel() else shares
            if (atol := rule.absolute(float(expected.abs().max()))) < LEAST:
                continue  # zeros only, as behind a rectifier that nothing gets through, tell nothing
            at = scales.get(varied[0], 0.0) if varied else next(iter(scales.values()), 0.0)
            if (means := self._means_of(seen)) is not None and means.allowed.dim() == off.dim():
                # what the rounding of a mean hides tells nothing of the step
                off, slope = (torch.where(means.allowed > 0, 0.0, numbers) for numbers in (off, slope))
            found[key] = Line(at, off, slope, atol, shares)
        return found

    def _means_of(self, key: Key) -> RoundedMeans | None:
        """What the rounding of means makes of a layer, and of those whose numbers it found in its memory."""
        return together(self.means.get(each) for each in (key, *self.judgement.beneath.get(key, ())))

    def _first(self) -> float:
        size = max((float(start.abs().max()) for start in self.start.values() if start.numel()), default=0.0)
        steps = max((float(change.abs().max()) for change in self.changes.values() if change.numel()), default=0.0)
        return _FIRST * (size or 1.0) / (steps or 1.0)

    def _put(self, scales: Mapping[str, float]) -> None:
        with torch.no_grad():
            for name, parameter in self.network.module.named_parameters():
                if name in self.start:
                    parameter.copy_(self.start[name] + scales.get(name, 0.0) * self.changes[name])

    def _outputs(self, scales: Mapping[str, float]) -> dict[Key, Any]:
        """What the layers answer on Torch7's own inputs, with weights from along the direction."""
        self._put(scales)
        wanted = {self.observed[key] for key in self.weighted}
        found: dict[Key, Any] = {}
        twin = self.network.twin()
        twin.train(sorted(self.judgement.mode))

        def see(step: LayerRun) -> Any:
            if step.key not in self.means:
                record = self.network.layers[step.index]
                training, rule = step.index in self.judgement.mode, self.probe.rules.layer(record)
                self.means[step.key] = rounded_means(record.module, step.input, rule, training=training)
            if step.key in wanted:
                found[step.key] = moved(step.output)
            known = self.judgement.known.get(step.key)
            return None if known is None else replacement(known, step.output)

        with suppress(Exception):  # made-up inputs may lead anywhere
            trace(twin, twin.taken(self.probe.values[0]), see)
        return found


def names_of_parameters(network: Network, also: Collection[int] = ()) -> dict[int, list[str]]:
    """The names of the parameters of each layer without layers inside, and of others that are asked for."""
    names = {id(parameter): name for name, parameter in network.module.named_parameters()}
    inner = leaf_indices(network.layers)
    return {
        i: [names[id(p)] for p in record.module.parameters() if id(p) in names]
        for i, record in enumerate(network.layers)
        if i in inner or i in also
    }

"""A decay of the weights in a step whose gradients were zeroed since, of which only what the layers answered tells.

Before the step the weights were (weight + lr * gradient) / (1 - lr * decay): one learning rate, and one decay of all
weights or of all that is no vector, have to explain more than one layer. Of a single layer a decay would explain a
wrong weight too: that layer is then not judged.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from ...optim.last_step import Step
from ..references.recorded_layers import Key
from ..runs.step_lines import Line, fitted, nearest
from .step_search import Before, Search
from .zeroed_gradients import NEAR, ROUNDS_OF_GRADIENTS, SETTLED, Gradients, Zeroed

#: A step that needs a decay leaves so many times more without.
_MORE_NEARLY = 8

#: More layers than one.
_SEVERAL = 2


def with_decay(zeroed: Zeroed, gradients: Gradients, plain: Before | None) -> Before | None:
    """The weights before a step in which the weights decayed, if that explains more than the gradients alone.

    Args:
        zeroed: the model.
        gradients: those that were made again.
        plain: the weights before a step without a decay, if that explains any layer.
    """
    off = _off(zeroed, plain)
    if plain is not None and not plain.unexplained and off < NEAR:
        return plain
    found: list[Before] = []
    for attempt in _attempts(zeroed, gradients, plain):
        if any(attempt.start in before.proven for before in found):
            continue
        before = attempt.run()
        if before is not None:
            found.append(before)
            if not before.unexplained:
                break
    if not found:
        return plain
    left = [(before.unexplained, -len(before.proven), _off(zeroed, before)) for before in found]
    best = found[left.index(min(left))]
    if min(left)[2] > NEAR:
        # a rule that is nearly this one leaves others off
        best.doubtful |= {*zeroed.judgement.failed} - {*best.proven}
    explained = {key for before in found for key in before.proven}
    if plain is None:
        return best if len(best.proven) >= _SEVERAL else _of_one(zeroed, best, explained)
    explains = best.unexplained + 1 < plain.unexplained
    improves = best.unexplained <= plain.unexplained and _off(zeroed, best, plain.proven) < off / _MORE_NEARLY
    if explains or improves:
        return best
    plain.doubtful |= explained - {*plain.proven}
    return plain


def _of_one(zeroed: Zeroed, found: Before, explained: Collection[Key]) -> Before | None:
    """The weights before a step that only one layer tells, if another one is off that no decay explains."""
    if not {*zeroed.judgement.failed} - {*explained}:
        return None
    found.doubtful |= {*explained}
    found.alone = frozenset(found.proven)
    found.proven = {}
    return found


def _off(zeroed: Zeroed, found: Before | None, keys: Collection[Key] | None = None) -> float:
    """How far the layers that a step explains are off after it, in tolerances."""
    if found is None:
        return math.inf
    wanted = found.proven if keys is None else keys
    distances = zeroed.search(found.changes).distances()
    return max((float(distances[key].abs().max()) for key in wanted if key in distances), default=0.0)


def _attempts(zeroed: Zeroed, gradients: Gradients, plain: Before | None) -> Iterator[_Attempt]:
    """Steps with a decay, each begun with what explains most of one layer that is off."""
    held = {
        name: p.detach().double() for name, p in zeroed.network.module.named_parameters() if name in gradients.steps
    }
    for names in (list(held), [name for name, weight in held.items() if weight.dim() > 1]):
        first = _Attempt(zeroed, gradients, held, frozenset(names))
        lines = first.lines()
        for start, pair in lines.items():
            # what others explain without a decay is explained so
            if plain is not None and plain.unexplained and start in plain.proven:
                continue
            if start in gradients.moving or fitted([pair]) is not None:
                yield _Attempt(zeroed, gradients, held, frozenset(names), start)


@dataclass
class _Attempt:
    """One learning rate and one decay of weights, and the gradients that are made of the weights that they give.

    Attributes:
        zeroed: the model.
        gradients: those that were made again.
        held: the weights of the file, of which the gradients are known.
        names: those that decay.
        start: the layer by which the two are found at first; then it is all that they explain.
        rate: the learning rate.
        lost: the share of itself that a weight lost: the learning rate times the decay.
        keys: the layers that the two have to explain.
        moved: the share by which the gradients changed last, as they were made again.
    """

    zeroed: Zeroed
    gradients: Gradients
    held: Mapping[str, torch.Tensor]
    names: frozenset[str]
    start: Key = (0, 0)
    rate: float = 0.0
    lost: float = 0.0
    keys: set[Key] = field(default_factory=set)
    moved: float = math.inf

    def run(self) -> Before | None:
        """The weights before the step; None where nothing is explained by it."""
        self.keys = {self.start}
        most, found = math.inf, None
        for _ in range(ROUNDS_OF_GRADIENTS):
            pairs = self.lines()
            wanted = [pairs[key] for key in self.keys if key in pairs]
            off = max((float((line.off / line.atol).abs().max()) for line, _ in wanted), default=math.inf)
            if off <= NEAR or most / 2 < off <= 1:
                found = self._found()
                more = set() if found is None else {key for key in found.proven if key in pairs} - self.keys
                if not more and (found is None or self._settled(found)):
                    return found
                self.keys |= more
                wanted += [pairs[key] for key in more]
                off = math.inf
            elif off > most / 2:
                return found
            most = off
            if not self._follow(wanted):
                return found
        return found

    def _settled(self, found: Before) -> bool:
        """Will the gradients change no more, of layers that are not explained yet?"""
        return self.moved <= SETTLED or not self.gradients.moving - {*found.proven}

    def lines(self) -> dict[Key, tuple[Line, Line]]:
        """What the layers answer along the learning rate and along the share that is lost, here."""
        kept = {name: 1 - self.lost if name in self.names else 1.0 for name in self.held}
        along = {name: self.gradients.steps[name] / kept[name] for name in self.held}
        before = self._before()
        decay = {name: before[name] / kept[name] * (name in self.names) for name in self.held}
        network = self.zeroed.network.changed(self._changes())
        return self.zeroed.search(along, network).beside(self.zeroed.search(decay, network))

    def _follow(self, pairs: list[tuple[Line, Line]]) -> bool:
        """Takes the step that explains most of these layers; False where no decay does."""
        more = nearest(pairs)
        if more is None:
            return False
        self.rate, self.lost = self.rate + more[0], self.lost + more[1]
        if self.rate <= 0 or not 0 < self.lost < 1:
            return False
        if self.gradients.moving:
            again = self.zeroed.gradients(self._changes())
            if not {*self.held} <= {*again.steps}:
                return False
            self.moved = again.share_moved(self.gradients)
            self.gradients = again
        return True

    def _found(self) -> Before | None:
        decay = self.lost / self.rate
        step = Step(f"SGD with a weight decay of {decay:.4g}", None, {})
        along = {name: change / self.rate for name, change in self._changes().items()}
        search = Search(step, along, self.zeroed.network, self.zeroed.probe, self.zeroed.judgement)
        found = search.run()
        if found is None or not search.shows(found, _SEVERAL):
            return None
        share = self.lost / (1 - self.lost)
        found.decayed = {name: share * weight for name, weight in self.held.items() if name in self.names}
        return found

    def _before(self) -> dict[str, torch.Tensor]:
        found = {}
        for name, weight in self.held.items():
            moved = weight + self.rate * self.gradients.steps[name]
            found[name] = moved / (1 - self.lost) if name in self.names else moved
        return found

    def _changes(self) -> dict[str, torch.Tensor]:
        return {name: weight - self.held[name] for name, weight in self._before().items()}

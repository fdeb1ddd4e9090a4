"""The backward pass that Torch7 left in a file: `gradInput` of a layer is what the layer before it was given.

With it the gradients of parameters are known even where the file has zeroed them; it shows whether the activations are
those of that pass; and it judges layers whose own input is gone, since what a linear layer hands back needs its weights
alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ...base.tensor_trees import apply, leaves, numbered
from ...optim.last_step import objects_in
from ...t7 import LuaObject, Tensor
from ..judge.compare import Difference, Tolerance
from ..judge.tolerances import Rules
from ..network_copies import Network, leaf_indices
from ..runs.handed_back import hand_back, hand_back_in_time, solved
from ..runs.layers import replacement, worst
from ..trace import LayerRun, trace
from .gradients_of_inputs import Given, Gradients, Joins, Place, recorded_gradients
from .recorded_activations import changes_input
from .recorded_layers import RANDOM, Judgement, Key

#: In another run most numbers are others.
_OTHER_RUN = 0.25

#: Two runs on the same numbers differ by less than this share of the largest.
_ROUNDING = 1e-6

#: Another input is this less the one in the file.
_ELSEWHERE = 0.7


@dataclass(frozen=True)
class Backward:
    """What one layer does with the gradient that Torch7 gave it.

    Attributes:
        given: the gradient of its output.
        input: the gradient of its input.
        parameters: those of its parameters, by their names.
        expected: what Torch7 recorded of the gradient of the input; None if that is not in the file, or overwritten.
        tells: does it depend on what the layer got or gave? That of a mean does not.
        intact: was what the layer got and gave still there when Torch7 went back, so that `parameters` are right too?
        sure: is `given` as the layer got it? Layers that hand back in place may have written over it.
        reader: the layer that gave that; None where none did.
    """

    given: torch.Tensor
    input: torch.Tensor | None
    parameters: Mapping[str, torch.Tensor]
    expected: torch.Tensor | None
    sure: bool
    tells: bool
    intact: bool
    reader: int | None = None

    def agrees(self, rules: Rules, record: Any) -> Difference | None:
        """Is the gradient of the input Torch7's? None where that can't be told."""
        if self.input is None or self.expected is None or self.input.numel() != self.expected.numel():
            return None
        tolerance = of_whole(rules.layer(record), self.expected)
        return worst(self.input.reshape(self.expected.shape), self.expected, tolerance)


def of_whole(tolerance: Tolerance, expected: torch.Tensor) -> Tolerance:
    """A tolerance for all numbers of a gradient alike: many of them are what is left of sums of larger ones."""
    return replace(tolerance, atol=tolerance.absolute(float(expected.abs().max())), relative_to_largest=False)


def backward(
    network: Network, judgement: Judgement, values: tuple[Any, Any], *, solve: bool = False
) -> dict[Key, Backward]:
    """What each layer hands back of the gradient that Torch7 gave it; what depends on made-up inputs is left out.

    Args:
        network: the converted model, with the weights with which the backward pass ran.
        judgement: what came of a run on the activations.
        values: two inputs, as `Probe` takes them.
        solve: work out what a linear layer was given that nothing read, by what it handed back: its `parameters` alone
            are then known.
    """
    recorded = recorded_gradients(network)
    if not recorded.found:
        return {}
    one, other = (_run(network, judgement, value, recorded, solve=solve) for value in values)
    found = {}
    for key, mine in one.items():
        theirs = other.get(key)
        if theirs is None:
            continue
        given = mine.input if _same(mine.input, theirs.input) else None
        same = {name: g for name, g in mine.parameters.items() if _nearly(g, theirs.parameters.get(name))}
        found[key] = Backward(mine.given, given, same, mine.expected, mine.sure, mine.tells, mine.intact, mine.reader)
    return found


def is_newer(found: Mapping[Key, Backward], network: Network, rules: Rules) -> bool:
    """Are the activations of a later run than the gradients? Then the weights have not changed since.

    Layers without weights tell: what they hand back depends on their own input or output alone.

    Args:
        found: what `backward` found.
        network: the network that it ran.
        rules: the tolerances.
    """
    shares = []
    for key, back in found.items():
        record = network.layers[key[0]]
        weighted = any(True for _ in record.module.parameters())
        if weighted or not (back.tells and back.sure and back.intact) or back.expected is None:
            continue
        if back.input is None or back.input.numel() != back.expected.numel() or not bool(back.expected.any()):
            continue
        allowed = of_whole(rules.layer(record), back.expected).atol
        shares.append(
            float(((back.input.reshape(back.expected.shape) - back.expected).abs() > allowed).double().mean())
        )
    # a maximum that two numbers share, or an edge, is no other run
    return bool(shares) and min(shares) > 0 and max(shares) > _OTHER_RUN


def _run(
    network: Network, judgement: Judgement, value: Any, recorded: Gradients, *, solve: bool
) -> dict[Key, Backward]:
    inner = leaf_indices(network.layers)
    names = {id(parameter): name for name, parameter in network.module.named_parameters()}
    twin = network.twin()
    twin.train(sorted(judgement.mode))
    runs: Counter[int] = Counter()
    made: dict[int, torch.Tensor] = {}
    alive: list[torch.Tensor] = []
    intact: set[int] = set()
    readers: dict[int, list[tuple[int, Place]]] = {}
    ran: list[_Run] = []
    sequences: list[_SequenceRun] = []
    joins = Joins(twin)

    def keep(tensor: Any) -> None:
        if isinstance(tensor, torch.Tensor):
            alive.append(tensor)
            made[id(tensor)] = tensor.clone()  # others may write into it

    def see(step: LayerRun) -> Any:
        runs[step.index] += 1
        for place, tensor in leaves(step.input):
            alive.append(tensor)
            readers.setdefault(id(tensor), []).append((step.index, place))
        known = judgement.known.get(step.key)
        if step.index in judgement.sequences:
            output = apply(step.output, _another) if known is None else replacement(known, step.output)
            parts = [tensor for _, tensor in leaves(step.input)]
            if all(id(tensor) in intact for tensor in parts):
                found = iter([made[id(tensor)] for tensor in parts])
                given = numbered(step.input, partial(_next_of, found))
                sequences.append(_SequenceRun(step.key, given, [id(tensor) for _, tensor in leaves(output)]))
            for _, tensor in leaves(output):
                keep(tensor)
                if known is not None:
                    intact.add(id(tensor))
            joins.note(step.index, output)
            return output
        if step.index not in inner:
            joins.note(step.index, step.output)
            intact.update(id(tensor) for _, tensor in leaves(step.output) if known is not None)
            for _, tensor in leaves(step.output):
                if id(tensor) not in made:  # one that joins branches makes a tensor of its own
                    keep(tensor)
            return None
        output = None if known is None else replacement(known, step.output)
        # another object than what it got, which others read too
        output = apply(step.output, _another) if output is None else output
        given = made.get(id(step.input))
        if given is not None and isinstance(output, torch.Tensor):
            # what a layer without weights answered may be part of its gradient
            weighted = any(True for _ in twin.layers[step.index].module.parameters())
            whole = (known is not None or weighted) and id(step.input) in intact
            ran.append(_Run(step.key, given, id(output), output.clone() if known is not None else None, whole))
        for _, tensor in leaves(output):
            keep(tensor)
        intact.update(id(tensor) for _, tensor in leaves(output) if known is not None)
        joins.note(step.index, output)
        return output

    taken = twin.taken(value)
    for _, tensor in leaves(taken):
        keep(tensor)
        intact.add(id(tensor))
    with suppress(Exception):  # made-up inputs may lead anywhere
        trace(twin, taken, see)

    def handed_back(output: int) -> Given | None:
        reader = _outermost(readers.get(output, []), network)
        if reader is None or runs[reader[0]] > 1 or reader not in recorded.found:
            return None
        return reader, recorded.found[reader]

    found = {}
    for run in ran:
        key = run.key
        if runs[key[0]] > 1:
            continue
        at = joins.gradient(run.output, handed_back)
        if at is None and solve and not readers.get(run.output) and run.intact:
            others = recorded.users.get((key[0], ()), frozenset()) - {key[0]}
            writers = [other for other in ran if other.key[0] in others]
            if len(writers) == len(others) and all(_only_masks(twin, writer, names) for writer in writers):
                back, masked = recorded.found.get((key[0], ())), bool(others)
                given, parameters = solved(twin, key[0], run.given, back, names, masked=masked)
            else:
                given, parameters = run.given, {}
            found[key] = Backward(given, None, parameters, None, sure=False, tells=False, intact=True)
        if at is None:
            continue
        reader, handed = at
        if judgement.unjudged.get(key) == RANDOM or _has_noise(network, key[0]):
            continue
        with suppress(RuntimeError, ValueError, TypeError, IndexError):
            given, intact_then = _at_backward(twin, run)
            gradient, back, parameters = hand_back(twin, key[0], given, handed, names)
            own: tuple[int, Place] = (key[0], ())
            expected = recorded.found.get(own) if recorded.only(own, reader[0]) else None
            sure = recorded.only(reader, key[0])
            if key[0] in recorded.users.get(reader, ()) and back is not None:
                # it wrote its answer over what it was given: only what does nothing more the second time can be judged
                sure = sure and _same(hand_back(twin, key[0], given, back, names)[1], back)
            # of a tanh the negative, of a maximum the sum would tell nothing
            elsewhere = _ELSEWHERE - given
            other = back if parameters else hand_back(twin, key[0], elsewhere, handed, names)[1]
            tells = not _same(other, back)
            known = parameters if intact_then else {}
            found[key] = Backward(gradient, back, known, expected, sure, tells, intact_then, reader[0])
    for whole in sequences:
        places = [_outermost(readers.get(output, []), network) for output in whole.outputs]
        gradients = [recorded.found[at] for at in places if at is not None and at in recorded.found and runs[at[0]] < 2]
        record = network.layers[whole.key[0]]
        random = any(_has_noise_of(item) for item in objects_in(record.object))
        if len(gradients) == len(places) and runs[whole.key[0]] == 1 and not random:
            with suppress(RuntimeError, ValueError, TypeError, IndexError):
                parameters = hand_back_in_time(twin, whole.key[0], whole.given, gradients, names)
                found[whole.key] = Backward(gradients[0], None, parameters, None, sure=False, tells=False, intact=True)
    return found


@dataclass(frozen=True)
class _SequenceRun:
    """One run of a sequence.

    Attributes:
        key: layer and run.
        given: what it got, as Torch7 has it in the file.
        outputs: identities of what it gave.
    """

    key: Key
    given: Any
    outputs: list[int]


def _next_of(tensors: Iterator[torch.Tensor], number: int, old: Any) -> Any:
    return next(tensors)


@dataclass(frozen=True)
class _Run:
    """One run of a layer.

    Attributes:
        key: layer and run.
        given: what it got.
        output: identity of what it gave.
        memory: what Torch7 left where it put that; None where another layer wrote over it.
        intact: is that in the file, with what it got?
    """

    key: Key
    given: torch.Tensor
    output: int
    memory: torch.Tensor | None
    intact: bool


def _another(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view_as(tensor)


def _has_noise(network: Network, index: int) -> bool:
    """May a layer have dropped numbers at random? The file does not always tell whether it did in the last run."""
    return _has_noise_of(network.layers[index].object)


def _has_noise_of(item: LuaObject) -> bool:
    noise = item.get("noise")
    return isinstance(noise, Tensor) and noise.numel() > 0


def _at_backward(network: Network, run: _Run) -> tuple[torch.Tensor, bool]:
    """What lay where the input of a layer had been when Torch7 went back, and whether that is known.

    A layer in place has written over its input by then.
    """
    record = network.layers[run.key[0]]
    if not changes_input(record):
        return run.given, run.intact
    if run.memory is None or run.memory.shape != run.given.shape:
        return run.given, False
    twice = record.module.forward(run.memory.clone())
    return run.memory, _same(twice, run.memory)


def _only_masks(network: Network, run: _Run, names: Mapping[int, str]) -> bool:
    """Does a layer hand a gradient back with some numbers set to 0, and all others as they were?"""
    record = network.layers[run.key[0]]
    if any(True for _ in record.module.parameters()) or _has_noise_of(record.object):
        return False
    with suppress(RuntimeError, ValueError, TypeError, IndexError):
        back = hand_back(network, run.key[0], run.given, torch.ones_like(run.given), names)[1]
        return back is not None and back.shape == run.given.shape and bool(((back == 0) | (back == 1)).all())
    return False


def _outermost(readers: list[tuple[int, Place]], network: Network) -> tuple[int, Place] | None:
    """The layer around all others of these; None if there is none."""
    for reader in readers:
        path = network.layers[reader[0]].path
        if all(reader == other or _is_inside(network.layers[other[0]].path, path) for other in readers):
            return reader
    return None


def _is_inside(path: str, outer: str) -> bool:
    return not outer or path.startswith(f"{outer}.")


def _nearly(one: torch.Tensor, other: torch.Tensor | None) -> bool:
    """Are these the same up to rounding, which may depend on where in memory they lie?"""
    if other is None or one.shape != other.shape:
        return False
    return bool(((one - other).abs() <= _ROUNDING * one.abs().max()).all()) if one.numel() else True


def _same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)

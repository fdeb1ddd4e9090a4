"""Finds runs of layers that occur again and again in a model, such as convolution, batch norm and ReLU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .scopes import Block, Constructor
from .writing.forward_methods import Forward

#: A run becomes a class from this many members on, and has no more than that.
SHORTEST, LONGEST = 3, 12

#: Lines that a class needs beside those of its members, and how many it must save.
_FRAME = 7
_WORTH = 3


def skeleton(call: Constructor) -> Any:
    """A call without its hyperparameters."""
    if call.block is not None and not call.cls:
        attrs = tuple((n, n if n == "shortcut" else skeleton(m)) for n, m in call.block.scope.attrs.items())
        return ("block", call.block.kind, tuple(forward_of(call.block).lines), attrs)
    args = tuple((arg.name, _skeleton_of(arg.value)) for arg in call.args)
    return (call.cls, args, tuple(skeleton(kid) for kid in call.kids) if call.is_chain else ())


def _skeleton_of(value: Any) -> Any:
    if isinstance(value, Constructor):
        return skeleton(value)
    if isinstance(value, list):
        return tuple(_skeleton_of(item) for item in value)
    return "" if isinstance(value, (bool, int, float, str, tuple)) or value is None else repr(value)


def forward_of(block: Block) -> Forward:
    """The forward method of a block."""
    return Forward(block.scope, block.inputs, block.result)


def saves(times: int, members: int) -> int:
    """How many lines a class for a chain that occurs so often saves; 0 if it is not worth its name."""
    saved = times * (members + 1) - members - _FRAME
    return saved if saved >= _WORTH else 0


def group_repeats(call: Constructor, least: int) -> None:
    """Puts what repeats within a chain, member for member, into chains of its own, if that saves more than `least`."""
    if not call.is_chain or call.fixed:
        return
    for kid in call.kids:
        group_repeats(kid, least)
    kinds = [skeleton(kid) for kid in call.kids]
    kids: list[Constructor] = []
    start = 0
    while start < len(kinds):
        size, times = _repeat(kinds, start)
        if saves(times, size) > least:
            kids += [
                Constructor("nn.Sequential", kids=call.kids[i : i + size])
                for i in range(start, start + size * times, size)
            ]
            start += size * times
        else:
            kids.append(call.kids[start])
            start += 1
    call.kids[:] = kids


def _repeat(kinds: list[Any], start: int) -> tuple[int, int]:
    """The longest run of members that is repeated at once, and how often; (0, 0) if there is none."""
    best = (0, 0)
    for size in range(SHORTEST, (len(kinds) - start) // 2 + 1):
        run = kinds[start : start + size]
        times = 1
        if any(kind[0] == "block" for kind in run):
            break  # blocks read better side by side
        if not _fits(tuple(kinds), start, tuple(run)):
            continue
        while kinds[start + size * times : start + size * (times + 1)] == run:
            times += 1
        if times >= 2 and size * times > best[0] * best[1]:
            best = (size, times)
    return best


def group_motifs(roots: list[Constructor]) -> None:
    """Puts every run that pays for a class into a chain of its own, the one that saves most lines first."""
    _, saved = _best(_kinds(roots))
    for root in roots:
        for call in list(root.walk()):
            group_repeats(call, saved)
    while True:
        motif, _ = _best(_kinds(roots))
        if not motif:
            return
        for root in roots:
            for call in list(root.walk()):
                if call.is_chain and not call.fixed and len(call.kids) != len(motif):
                    _group(call, motif)


def _kinds(roots: list[Constructor]) -> list[tuple[Any, ...]]:
    """The chains without their hyperparameters; those that are alike as a whole, and will be written once, once."""
    chains = [call for root in roots for call in root.walk() if call.is_chain and not call.fixed]
    return list(dict.fromkeys(tuple(skeleton(kid) for kid in chain.kids) for chain in chains))


def _best(chains: list[tuple[Any, ...]]) -> tuple[tuple[Any, ...], int]:
    """The run that saves most lines, and how many; of several the one that chains begin with."""
    times: dict[tuple[Any, ...], int] = {}
    first: dict[tuple[Any, ...], int] = {}
    for kinds in chains:
        for size in range(SHORTEST, min(len(kinds) - 1, LONGEST) + 1):
            for motif in dict.fromkeys(_windows(kinds, size)):
                places = [place for place in _occurrences(kinds, motif) if _fits(kinds, place, motif)]
                if not places:
                    continue
                times[motif] = times.get(motif, 0) + len(places)
                first[motif] = first.get(motif, 0) + (places[0] == 0)
    best: tuple[Any, ...] = ()
    most = (0, 0)
    for motif, count in times.items():
        saved = count * (len(motif) - 1) - len(motif) - _FRAME
        if saved >= _WORTH and (saved, first[motif]) > most:
            best, most = motif, (saved, first[motif])
    return best, most[0]


def _fits(kinds: tuple[Any, ...], place: int, motif: tuple[Any, ...]) -> bool:
    """Is the run a stage, or within one? A pooling ends a stage, and so begins another."""
    pools = [i for i, kind in enumerate(motif) if _pools(kind)]
    if not pools:
        return True
    return pools == [len(motif) - 1] and (place == 0 or _pools(kinds[place - 1]))


def _pools(kind: Any) -> bool:
    return "Pool" in str(kind[0])


def _windows(kinds: tuple[Any, ...], size: int) -> Iterator[tuple[Any, ...]]:
    """The runs of a length in which nothing is a chain already."""
    for start in range(len(kinds) - size + 1):
        window = kinds[start : start + size]
        if not any(kind[0] in ("nn.Sequential", "block") for kind in window):
            yield window


def _occurrences(kinds: tuple[Any, ...], motif: tuple[Any, ...]) -> Iterator[int]:
    """Where a run begins, counted without overlaps."""
    start = 0
    while start + len(motif) <= len(kinds):
        if kinds[start : start + len(motif)] == motif:
            yield start
            start += len(motif)
        else:
            start += 1


def _group(chain: Constructor, motif: tuple[Any, ...]) -> None:
    kinds, size = tuple(skeleton(kid) for kid in chain.kids), len(motif)
    for place in reversed([place for place in _occurrences(kinds, motif) if _fits(kinds, place, motif)]):
        chain.kids[place : place + size] = [Constructor("nn.Sequential", kids=chain.kids[place : place + size])]


def splice(call: Constructor, dissolves: Callable[[Constructor], bool]) -> None:
    """Takes the members of chains that dissolve into the chain around them."""
    for chain in call.walk():
        if chain.is_chain and not chain.fixed:
            members = [kid.kids if kid.is_chain and dissolves(kid) else [kid] for kid in chain.kids]
            chain.kids[:] = [member for group in members for member in group]


def is_short(chain: Constructor) -> bool:
    """Is a chain too short for a class?"""
    return len(chain.kids) < SHORTEST


def is_plain(chain: Constructor) -> bool:
    """Does a chain hold no class that is made of the structure of the model?"""
    return not any(kid.is_written_here for kid in chain.kids)

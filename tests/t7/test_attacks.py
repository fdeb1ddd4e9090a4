"""Files made to hurt: each gives a T7Error that says where, in bounded time and memory."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest
from t7.attacks import archives, objects, storages, strings, tables, tags, tensors
from t7.attacks import text as texts
from t7.handwritten import NIL, boolean, integer, number, storage, string, table, tensor

from torchmigrate.base.errors import LimitExceeded, UsageError
from torchmigrate.t7 import Limits, T7Error, load, load_file

ATTACKS = {
    name: attack
    for group in (tags, strings, tables, tensors, storages, objects, texts, archives)
    for name, attack in group.ATTACKS.items()
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused(name: str) -> None:
    attack = ATTACKS[name]
    tracemalloc.start()
    try:
        with pytest.raises(T7Error) as caught:
            load_file(attack.raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    error = caught.value
    assert attack.words.lower() in str(error).lower()
    assert error.offset is not None
    assert 0 <= error.offset <= len(attack.raw)
    if attack.offset is not None:
        assert error.offset == attack.offset
    if attack.path is not None:
        assert error.path == attack.path
    assert peak < 3_000_000 + (1 << 25) * (name == "bomb")


LIMITED = {
    "depth": (
        Limits(depth=3),
        b"".join(integer(3, i, 1) + boolean(1) for i in range(1, 6)) + NIL,
        "[true][true][true]",
    ),
    "objects": (Limits(objects=2), table(1, string("a"), table(2), string("b"), table(3)), "b"),
    "entries": (Limits(entries=2), table(1, *[number(i) for i in range(6)]), ""),
    "string_bytes": (Limits(string_bytes=3), table(1, string("a"), string("abcd")), "a"),
    "dimensions": (Limits(dimensions=1), tensor(1, (1, 1), (1, 1), 1, storage(2, 1.0)), ""),
    "elements": (Limits(elements=3), table(1, *[number(1), tensor(2, (4,), (1,), 1, storage(3, 1, 2, 3, 4))]), "[1]"),
    "expanded_elements": (Limits(expanded_elements=3), tensor(1, (5000,), (0,), 1, storage(2, 1.0)), ""),
    "unpacked_bytes": (Limits(unpacked_bytes=20), gzip.compress(string("x" * 20)), ""),
}


@pytest.mark.parametrize("name", LIMITED)
def test_limit_holds(name: str) -> None:
    limits, raw, path = LIMITED[name]
    with pytest.raises(LimitExceeded, match=rf"Limits\.{name} = ") as caught:
        load(raw, limits=limits)
    assert caught.value.path == path
    load(raw)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "10"])
def test_limits_are_checked(value: object) -> None:
    with pytest.raises(UsageError, match=r"Limits\.depth must be a whole number above 0"):
        Limits(depth=value)  # type: ignore[arg-type]


def test_a_million_objects_in_each_other_hit_the_limit() -> None:
    raw = b"".join(integer(3, i, 1, 5, 1) for i in range(1, 1_000_001)) + NIL
    with pytest.raises(LimitExceeded, match=r"Limits\.depth") as caught:
        load(raw)
    assert len(caught.value.path) < 400


def test_nested_far_with_a_higher_limit() -> None:
    raw = b"".join(integer(3, i, 1, 5, 1) for i in range(1, 100_001)) + NIL
    value = load(raw, limits=Limits(depth=200_000))
    depth = 0
    while value is not None:
        value = value[True]
        depth += 1
    assert depth == 100_000


def test_one_line_for_many_numbers_takes_no_quadratic_time() -> None:
    # each index is one number of the same endless line
    raw = b"3\n1\n20000\n" + b"1 1 5 1 " * 20000
    with pytest.raises(T7Error, match="twice"):
        load(raw)
    raw = b"3 1 20000 " + b"".join(b"1 %d 5 1 " % i for i in range(20000))
    assert len(load(raw)) == 20000

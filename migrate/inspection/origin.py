"""When a file was likely written, and with which Torch: what speaks for it, and how sure that is.

Nothing in a `.t7` file says its date. But classes, fields and forms of records came to Torch at known times: the months
below are those of the commits in torch7, nn, nngraph, cudnn.torch, rnn and dpnn.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..t7 import LuaFunction, LuaObject, Storage, T7File, Tensor
from .functions import compiler_of
from .walk import everything

#: Certain: the form of a record, which the writer alone decides. Likely: a class or field, which a fork may have had
#: earlier. Weak: a missing field, since a layer that was made long ago keeps its fields when it is saved again.
CERTAIN, LIKELY, WEAK = "certain", "likely", "weak"
_SURE = (CERTAIN, LIKELY, WEAK)

#: How Torch marks a function in a file: since when, until when.
_FUNCTION_TAGS = {
    6: (None, "2014-07", "functions have no index of their own, as before July 2014"),
    7: ("2014-07", "2015-04", "functions have the form of July 2014 to April 2015"),
    8: ("2015-04", None, "functions have the form that Torch writes since April 2015"),
}


@dataclass(frozen=True)
class FieldRule:
    """A field that a class has since some month: its presence and its absence tell something.

    Attributes:
        classes: names without package.
        packages: such as ("nn", "cudnn").
        field: the field.
        month: of the commit that added it.
        always: does the constructor set it, so that its absence tells too?
    """

    classes: tuple[str, ...]
    packages: tuple[str, ...]
    field: str
    month: str
    always: bool = True


_FIELDS = (
    FieldRule(("Dropout",), ("nn",), "v2", "2014-07"),
    FieldRule(("SpatialAveragePooling",), ("nn",), "divide", "2015-03"),
    FieldRule(("Threshold", "ReLU"), ("nn",), "inplace", "2015-03"),
    FieldRule(("LookupTable",), ("nn",), "shouldScaleGradByFreq", "2015-05", always=False),
    FieldRule(("SpatialConvolution", "SpatialConvolutionMM"), ("nn",), "padW", "2015-06"),
    FieldRule(("SpatialMaxPooling",), ("nn",), "ceil_mode", "2015-06"),
    FieldRule(("SpatialAveragePooling",), ("nn",), "count_include_pad", "2015-09"),
    FieldRule(("SpatialFullConvolution",), ("nn",), "adjW", "2016-01"),
    FieldRule(("LookupTable",), ("nn",), "paddingValue", "2016-02"),
    FieldRule(("SpatialConvolution",), ("cudnn",), "groups", "2015-01"),
    FieldRule(("SpatialConvolution",), ("cudnn",), "fmode", "2015-06", always=False),
    FieldRule(
        ("SpatialConvolution", "SpatialConvolutionMM", "Linear", "ReLU", "Sequential", "View", "SpatialMaxPooling"),
        ("nn",),
        "_type",
        "2016-03",
    ),
)


@dataclass(frozen=True)
class Evidence:
    """One thing that tells about the origin of a file.

    Attributes:
        what: what was seen, and what it shows.
        sure: "certain", "likely" or "weak".
        since: the Torch that wrote it is of this month or later; None: says nothing.
        until: it, or the layer in question, was made before the end of this month; None: says nothing.
    """

    what: str
    sure: str
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True)
class Origin:
    """Where a file likely comes from.

    Attributes:
        since: month of the oldest Torch that could have written it, as far as was seen; None: any.
        until: month after which Torch would have written it otherwise; None: any.
        text: the conclusion in words.
        evidence: what speaks for it.
    """

    since: str | None
    until: str | None
    text: str
    evidence: tuple[Evidence, ...]

    @property
    def decisive(self) -> list[Evidence]:
        """The evidence on which the conclusion rests, and what has nothing to do with dates."""
        return [
            e
            for e in self.evidence
            if (e.since is None and e.until is None)
            or (e.since is not None and e.since == self.since)
            or (e.until is not None and e.until == self.until)
        ]


@cache
def _class_months() -> Mapping[str, str]:
    found = json.loads(Path(__file__).parents[1].joinpath("data", "history.json").read_text("utf-8"))
    return {typename: month for month, typenames in found["classes"].items() for typename in typenames}


def origin_of(file: T7File) -> Origin:
    """Collects the evidence in a file."""
    found = [item.value for value in file.objects for item in everything(value)]
    evidence = [
        *_records(found),
        *_functions([item for item in found if isinstance(item, LuaFunction)]),
        *_classes([item for item in found if isinstance(item, LuaObject)]),
        *_machine(file, found),
    ]
    since = max((e.since for e in evidence if e.since is not None), default=None)
    until = min((e.until for e in evidence if e.until is not None), default=None)
    return Origin(since, until, _conclusion(since, until, evidence), tuple(evidence))


def _records(found: Sequence[object]) -> Iterator[Evidence]:
    """Torch has written versions since its first public commit."""
    owners = [item for item in found if isinstance(item, (LuaObject, Tensor, Storage))]
    bare = sum(not item.versioned for item in owners)
    if bare and bare == len(owners):
        yield Evidence("no object has a version record: written before 2012, or by another program than Torch7", LIKELY)
    elif bare:
        yield Evidence(f"{bare} of {len(owners)} objects have no version record: parts come from elsewhere", LIKELY)
    halves = sorted({item.type for item in found if isinstance(item, Tensor) and item.type == "torch.HalfTensor"})
    if halves:
        yield Evidence("torch.HalfTensor exists since December 2016", CERTAIN, since="2016-12")


def _functions(found: Sequence[LuaFunction]) -> Iterator[Evidence]:
    for tag in sorted({function.tag for function in found}):
        since, until, what = _FUNCTION_TAGS[tag]
        yield Evidence(what, CERTAIN, since, until)
    lua = {compiler_of(function) for function in found} - {""}
    if lua:
        yield Evidence(f"its functions were compiled by {' and '.join(sorted(lua))}", CERTAIN)


def _classes(found: Sequence[LuaObject]) -> Iterator[Evidence]:
    months = _class_months()
    counted = Counter(item.typename for item in found)
    newest = max((name for name in counted if name in months), key=lambda name: (months[name], name), default=None)
    if newest is not None:
        yield Evidence(f"{newest} is in its package since {_month(months[newest])}", LIKELY, since=months[newest])
    for rule in _FIELDS:
        names = {f"{package}.{name}" for package in rule.packages for name in rule.classes}
        items = [item for item in found if item.typename in names]
        having = sum(rule.field in item for item in items)
        which = next((item.typename for item in items if (rule.field in item) == bool(having)), "")
        if having:
            yield Evidence(f"{which} has {rule.field!r}, since {_month(rule.month)}", LIKELY, since=rule.month)
        if rule.always and having < len(items):
            what = f"{len(items) - having} of {len(items)} {_plural(items)} lack {rule.field!r}, there since"
            yield Evidence(f"{what} {_month(rule.month)}", WEAK, until=rule.month)
    yield from _normalizations(found)


def _normalizations(found: Sequence[LuaObject]) -> Iterator[Evidence]:
    """Batch normalizations keep variances since version 2."""
    for package, month in (("nn", "2016-02"), ("cudnn", "2016-04")):
        items = [i for i in found if i.typename.startswith(package + ".") and i.typename.endswith("BatchNormalization")]
        if any(item.version >= 2 for item in items):
            yield Evidence(f"{package}'s batch normalization of version 2, since {_month(month)}", CERTAIN, since=month)
        if any(item.version < 2 for item in items):
            what = f"{package}'s batch normalization of version 1, until {_month(month)}"
            yield Evidence(what, CERTAIN if all(i.version < 2 for i in items) else LIKELY, until=month)


def _machine(file: T7File, found: Sequence[object]) -> Iterator[Evidence]:
    if file.long_size == 4:
        yield Evidence("longs of 4 bytes: a 32-bit or Windows Torch, or a phone", CERTAIN)
    tensors = {item.type for item in found if isinstance(item, Tensor)}
    modules = {item.typename for item in found if isinstance(item, LuaObject)}
    if any(name.startswith("torch.Cuda") for name in tensors):
        yield Evidence("CUDA tensors: saved from a GPU (cutorch)", CERTAIN)
    if any(name.startswith("cudnn.") for name in modules):
        held = [item for item in found if isinstance(item, LuaObject) and item.typename.startswith("cudnn.")]
        descriptors = any("iDesc" in item or "convDesc" in item for item in held)
        yield Evidence(f"cudnn.torch layers{', with descriptors of their last run' if descriptors else ''}", CERTAIN)
    if any(
        any(str(name).startswith("dpnn_") for name, _ in item.items()) for item in found if isinstance(item, LuaObject)
    ):
        yield Evidence("fields of dpnn: the package dpnn (or rnn) was loaded", CERTAIN)


def _plural(items: Sequence[LuaObject]) -> str:
    names = sorted({item.typename for item in items})
    return names[0] if len(names) == 1 else f"{names[0]} and the like"


def _conclusion(since: str | None, until: str | None, evidence: Sequence[Evidence]) -> str:
    if since is None and until is None:
        return "nothing in it tells when it was written"
    bounds = [[e.sure for e in evidence if e.since == since], [e.sure for e in evidence if e.until == until]]
    told = [min(found, key=_SURE.index) for found, month in zip(bounds, (since, until), strict=True) if month]
    sure = ("surely", "likely", "probably")[max(map(_SURE.index, told))]
    if since is None:
        return f"{sure} made with a Torch of {_month(until)} or before"
    if until is None:
        return f"{sure} written with a Torch of {_month(since)} or later"
    if since <= until:
        return f"{sure} written with a Torch from {_month(since)} to {_month(until)}"
    older = f"parts were made with one of {_month(until)} or before"
    return f"{sure} written with a Torch of {_month(since)} or later; {older}"


def _month(month: str | None) -> str:
    names = "January February March April May June July August September October November December".split()  # noqa: SIM905 - one line
    year, number = (month or "0-1").split("-")
    return f"{names[int(number) - 1]} {year}"

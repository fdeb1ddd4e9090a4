"""Finds the model inside a checkpoint: a table of options, histories, optimizer state and, somewhere, a network."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass

from ..base.errors import ModelNotFound, NoModel
from ..base.messages import counted
from ..t7 import LuaFunction, LuaObject, LuaTable, Tensor, Value
from ..t7.keys import join
from .contents.children import count_parameters
from .contents.kinds import is_table_class, kind_of

#: How many models are listed to choose from.
_MOST_LISTED = 40

#: Keys under which people keep the model, best first; used where a file holds several.
_USUAL_KEYS = ("model", "net", "network", "netG", "generator")

#: Packages of layers: what they name is a layer, also where all that a run leaves was taken from it.
_PACKAGES = frozenset({"nn", "cudnn", "nngraph", "inn", "nnx"})

#: All that a container has that runs its modules one after the other.
_OF_SEQUENTIAL = frozenset({"modules", "gradInput", "output", "_type", "train", "name"})


_NO_CLASS = "it has the fields of a container and no class: those of an nn.Sequential, as which it is converted"


@dataclass(frozen=True)
class ModelCandidate:
    """A model inside a file.

    Attributes:
        key: dotted path of table keys that leads to it, "" for the top-level object.
        object: the Lua object.
        others: keys of the other models in the file that were passed over.
        held: models inside it, if it is of a class that has no converter.
        remark: what to know of it, or "".
    """

    key: str
    object: LuaObject
    others: tuple[str, ...] = ()
    held: tuple[ModelCandidate, ...] = ()
    remark: str = ""


def candidates(value: Value, known: Collection[str] = ()) -> list[ModelCandidate]:
    """Every model in `value` that stands where people keep it and that no other contains, in the order of the file.

    Args:
        value: as read from a file.
        known: classes that have a converter.
    """
    return _search(value, known, inside=False)


def networks(value: Value, known: Collection[str]) -> list[ModelCandidate]:
    """Every model in `value`, also in objects of classes that nobody knows: what there is to choose from.

    An object of such a class stands for itself only if it is a layer that holds no other. Losses are left out if there
    is anything else.

    Args:
        value: as read from a file.
        known: classes that have a converter.
    """
    found = _search(value, known, inside=True)
    opened = {
        candidate.key
        for candidate in found
        if candidate.object.typename not in known and any(_is_below(other.key, candidate.key) for other in found)
    }
    whole = [candidate for candidate in found if candidate.key not in opened]
    return [candidate for candidate in whole if not is_criterion(candidate.object.typename)] or whole


def _is_below(key: str, above: str) -> bool:
    return key.startswith(f"{above}.") if above else bool(key)


def held_by(candidate: ModelCandidate, known: Collection[str]) -> list[ModelCandidate]:
    """The models in the fields of an object of a class that nobody knows."""
    found = [item for item in networks(candidate.object, known) if item.object is not candidate.object]
    return [ModelCandidate(join(candidate.key, item.key), item.object, remark=item.remark) for item in found]


def _search(value: Value, known: Collection[str], *, inside: bool) -> list[ModelCandidate]:
    """Models in tables; `inside`: in objects of unknown classes and in functions as well."""
    found: list[ModelCandidate] = []
    seen: set[int] = set()
    level: list[tuple[str, Value]] = [("", value)]
    while level:
        below: list[tuple[str, Value]] = []
        for path, item in level:
            if not isinstance(item, (LuaTable, LuaObject, LuaFunction)) or id(item) in seen:
                continue
            seen.add(id(item))
            model, remark = as_model(item, known)
            if model is not None:
                found.append(ModelCandidate(path, model, remark=remark))
            closed = model is not None and (model.typename in known or is_criterion(model.typename))
            if isinstance(item, LuaTable) or (isinstance(item, LuaObject) and is_table_class(item.typename)):
                below += [] if closed else [(join(path, key), child) for key, child in item.items()]
            elif inside and not closed:
                fields = [("upvalues", item.upvalues)] if isinstance(item, LuaFunction) else item.items()
                below += [(join(path, key), child) for key, child in fields]
        level = below
    return found


def as_model(value: Value, known: Collection[str]) -> tuple[LuaObject | None, str]:
    """A value as the model that it is, and what to know of that; None if it is none."""
    if isinstance(value, LuaObject):
        return (value if is_module(value, known) else None), ""
    if isinstance(value, LuaTable) and _is_sequential(value):
        return LuaObject("nn.Sequential", value), _NO_CLASS
    return None, ""


def _is_sequential(table: LuaTable) -> bool:
    """Has it all that a container has, with modules in a row? One of another kind has more fields, or tables."""
    names, modules = set(table.keys()), table.get("modules")
    if not {"modules", "gradInput", "output"} <= names <= _OF_SEQUENTIAL or not isinstance(modules, LuaTable):
        return False
    layers, output = modules.list(), table.get("output")
    if not layers or len(layers) < len(modules) or not all(isinstance(layer, LuaObject) for layer in layers):
        return False
    last = layers[-1].get("output") if isinstance(layers[-1], LuaObject) else None
    # after a run a Sequential has the very output of its last layer
    return isinstance(output, Tensor) and (last is output or not output.numel())


def is_module(obj: LuaObject, known: Collection[str]) -> bool:
    """Is this object a network, a layer or a criterion, rather than a timer or a data loader?"""
    if obj.typename in known or is_criterion(obj.typename) or obj.typename.partition(".")[0] in _PACKAGES:
        return True
    lists = any(isinstance(obj.get(name), (LuaTable, Tensor)) for name in ("gradInput", "fg"))
    held = obj.get("modules"), obj.get("module")
    modules = held[0].list() if isinstance(held[0], LuaTable) else []
    kind = obj.get("_type")
    return (
        lists
        or isinstance(obj.get("weight"), Tensor)
        or (isinstance(obj.get("output"), Tensor) and isinstance(obj.get("train"), bool))
        or (isinstance(kind, str) and kind.startswith("torch."))
        or any(isinstance(item, LuaObject) and is_module(item, known) for item in [*modules, held[1]])
    )


def is_criterion(typename: str) -> bool:
    """Is it a loss, by the ending that Torch7 gives to the names of all of them?"""
    return typename.endswith("Criterion")


def locate(value: Value, key: str | None = None, known: Collection[str] = ()) -> ModelCandidate:
    """The model in `value`.

    Args:
        value: as read from a file.
        key: dotted path of table keys, such as `model`, `protos.rnn`, `1`; None looks for it.
        known: classes that have a converter.

    Raises:
        NoModel: there is none.
        ModelNotFound: there are several of equal right, or `key` leads nowhere.
    """
    if key:
        item = follow(value, key)
        model, remark = as_model(item, known)
        if model is None and isinstance(item, LuaObject):
            model = item
        if model is None:
            raise ModelNotFound(f"What is at {key} is no Torch7 module but {_summary(item)}.")
        return _with_held(ModelCandidate(key, model, remark=remark), known)
    found = candidates(value, known)
    if not found:
        held = networks(value, known)
        if not held:
            raise NoModel(_nothing(value))
        raise _to_choose(f"The file holds {_summary(value)}, in which models are held; choose one:", held, known)
    nets = [candidate for candidate in found if not is_criterion(candidate.object.typename)] or found
    chosen = nets if len(nets) == 1 else [c for usual in _USUAL_KEYS for c in nets if c.key == usual][:1]
    if not chosen:
        raise _to_choose(f"The file holds {len(nets)} models; choose one:", nets, known)
    return _with_held(chosen[0], known, tuple(candidate.key for candidate in nets if candidate is not chosen[0]))


def _with_held(candidate: ModelCandidate, known: Collection[str], others: tuple[str, ...] = ()) -> ModelCandidate:
    """The same with what was passed over, and, if its class has no converter, with the models inside it."""
    obj = candidate.object
    held = () if obj.typename in known or is_criterion(obj.typename) else tuple(held_by(candidate, known))
    return ModelCandidate(candidate.key, obj, others, held, candidate.remark)


def _nothing(value: Value) -> str:
    kind = kind_of(value)
    what = _summary(value) if kind.name in ("table", "options") and not kind.uniform else str(kind)
    own = isinstance(value, LuaObject) and not is_table_class(value.typename)
    hint = " If its class is a layer of your own, give it a converter with --plugin." if own else ""
    return f"this holds no model. What it holds: {what}. `torchmigrate extract` takes it out.{hint}"


def _to_choose(why: str, models: list[ModelCandidate], known: Collection[str]) -> ModelNotFound:
    return ModelNotFound(f"{why}\n{listed(models, known)}", [model.key for model in models])


def listed(models: Collection[ModelCandidate], known: Collection[str]) -> str:
    """A line for each model, with the option that chooses it; the last one says how to take all."""
    shown = list(models)[:_MOST_LISTED]
    lines = [
        f"  --key {shlex.quote(model.key)}  ({model.object.typename}, "
        f"{count_parameters(model.object, known):,} parameters)"
        for model in shown
    ]
    if len(models) > len(shown):
        lines.append(f"  … ({len(models)} in all)")
    return "\n".join([*lines, "  --all-keys  (each into a folder of its own)"])


def follow(value: Value, key: str) -> Value:
    """What is at a dotted path of table keys and fields, such as `opt.batchSize` or `model.modules.1.weight`.

    A key that holds a dot itself is found too, since the longest one that fits is taken.

    Raises:
        ModelNotFound: the path leads nowhere; it says how far it leads, and which keys there are.
    """
    item, walked, rest = value, "", key
    while rest:
        table = item if isinstance(item, (LuaTable, LuaObject)) else None
        if isinstance(item, LuaFunction):
            table = LuaTable([("upvalues", item.upvalues)])
        step, found = _longest_step(table, rest)
        if found is None:
            names = [join("", k) for k, _ in table.items() if isinstance(k, (str, float))] if table else []
            where = f"in {walked}" if walked else "at the top"
            there = ", ".join(sorted(names)) or "nothing"
            raise ModelNotFound(f"There is no key {step!r} {where}; there is: {there}.")
        walked, item = join(walked, step), found
        rest = rest[len(step) + 1 :]
    return item


def _longest_step(table: LuaTable | LuaObject | None, rest: str) -> tuple[str, Value]:
    """The longest beginning of `rest` that is a key, and what is there; the first part of it and None if none is."""
    step = rest
    while table is not None:
        found = table.get(step)
        if found is None and step.lstrip("-").isdigit():
            found = table.get(float(step))
        if found is None:  # keys that are no text, as they are shown
            found = next((value for key, value in table.items() if join("", key) == step), None)
        if found is not None or "." not in step:
            return step, found
        step = step.rpartition(".")[0]
    return rest.partition(".")[0], None


def _summary(value: Value) -> str:
    if isinstance(value, LuaTable):
        keys = [join("", key) for key in value.keys()[:12] if isinstance(key, (str, float))]
        more = ", …" if len(value) > 12 else ""
        return (
            f"a table with {counted(len(value), 'entry', 'entries')} ({', '.join(keys)}{more})" if keys else "a table"
        )
    return "nil" if value is None else repr(value)[:80]

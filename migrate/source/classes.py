"""Finds parts of a model that are alike up to their hyperparameters, and makes one class of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .constructors import Argument, Made, Reference, literal
from .forward_methods import Forward
from .motifs import SHORTEST, flatten_short, forward_of, group_motifs, saves, skeleton, splice
from .recurrent_names import name_states
from .scopes import Block, Scope, free, walk
from .simplify import tidy


@dataclass
class Parameter:
    """A constructor parameter of a class.

    Attributes:
        name: of the parameter.
        type: as written.
        default: as written; "" if it has none.
        derived: is `name` an expression of other parameters instead?
    """

    name: str
    type: str
    default: str = ""
    derived: bool = False

    def text(self) -> str:
        """The parameter in a signature."""
        return f"{self.name}: {self.type}" + (f" = {self.default}" if self.default else "")


@dataclass
class Class:
    """A class to write.

    Attributes:
        name: of the class.
        parameters: of its constructor.
        attrs: attribute -> constructor call in which parameters stand; of a chain, the members under their numbers.
        forward: its forward method; None for a chain, which is an nn.Sequential.
    """

    name: str
    parameters: list[Parameter]
    attrs: dict[str, str]
    forward: Forward | None = None
    kids: list[str] = field(default_factory=list)


def height(made: Made) -> int:
    """How deep a constructor call is nested, through classes too."""
    inner = made.children() + (list(made.block.scope.attrs.values()) if made.block else [])
    return 1 + max((height(child) for child in inner), default=0)


def extract(scope: Scope, taken: set[str]) -> list[Class]:
    """Replaces what is alike in a model by instances of classes; returns the classes, inner ones first.

    Args:
        scope: the body of the model.
        taken: names that classes must not have; grows.
    """
    found: dict[int, list[Made]] = {}
    seen: set[int] = set()
    group_motifs(list(scope.attrs.values()))
    flatten_short(list(scope.attrs.values()))
    for attr in scope.attrs.values():
        for made in walk(attr):
            if id(made) not in seen and (made.block is not None or _is_candidate(made)):
                seen.add(id(made))
                found.setdefault(height(made), []).append(made)
    owners = {
        id(attr): (skeleton(made), name)
        for made in (made for level in found.values() for made in level)
        if made.block is not None
        for name, attr in made.block.scope.attrs.items()
    }
    classes: list[Class] = []
    for level in sorted(found):
        groups: dict[Any, list[Made]] = {}
        for made in found[level]:
            for part in made.block.scope.attrs.values() if made.block else [made]:
                splice(part)
            if made.block is not None:
                tidy(made.block.scope, made.block.result)
                name_states(made.block.scope, made.block.inputs)
            groups.setdefault(skeleton(made), []).append(made)
        for group in groups.values():
            if group[0].block is not None:
                classes.append(_class_of_blocks(group, taken))
            elif saves(len({owners.get(id(made), id(made)) for made in group}), len(group[0].kids)):
                classes.append(_class_of_chains(group, taken))
    for attr in scope.attrs.values():
        splice(attr)
    return classes


def _is_candidate(made: Made) -> bool:
    return made.is_chain and len(made.kids) >= SHORTEST and not any(kid.is_chain for kid in made.kids)


@dataclass
class _Hole:
    """A place where the calls of a group differ.

    Attributes:
        name: of the argument.
        arguments: one per member of the group.
        branch: attribute that holds the calls, if it is one of many branches.
    """

    name: str
    arguments: list[Argument]
    branch: str = ""

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(literal(arg.value) for arg in self.arguments)


def _holes(group: list[Made], *, alike: bool = False) -> Iterator[_Hole]:
    """The arguments that differ; with `alike` also those that are the same in all calls."""
    for together in zip(*(made.args for made in group), strict=True):
        values = [arg.value for arg in together]
        if all(isinstance(value, Made) for value in values):
            yield from _holes(values, alike=alike)
        elif all(isinstance(value, list) and any(isinstance(item, Made) for item in value) for value in values):
            for items in zip(*values, strict=True):
                yield from _holes(list(items), alike=alike)
        elif len({literal(value) for value in values}) > 1 or (alike and not together[0].is_default):
            yield _Hole(together[0].name, list(together))
    if group[0].is_chain:
        for kids in zip(*(made.kids for made in group), strict=True):
            yield from _holes(list(kids), alike=alike)


def _parameters(holes: list[_Hole]) -> list[tuple[Parameter, list[_Hole]]]:
    """One parameter for all holes whose values go together."""
    alike: dict[tuple[str, ...], list[_Hole]] = {}
    begun: set[str] = set()
    for hole in holes:
        enters = hole.name.startswith("in_") and hole.branch not in begun
        begun.add(hole.branch)
        what = "" if hole.name.startswith(_WIDTHS) else hole.name
        alike.setdefault((*hole.values, what, "" if enters else hole.branch), []).append(hole)
    ends = {hole.branch: hole for hole in holes if hole.name.startswith("out_")}
    last = next((h for h in reversed(holes) if h.name.startswith("out_")), None)
    taken: set[str] = set()
    made: list[tuple[Parameter, list[_Hole]]] = []
    for members in alike.values():
        name = members[0].name
        if name.startswith(_WIDTHS):
            if members[0] is holes[0] or (name.startswith("in_") and len(members) == 1):
                name = "in_features" if "features" in name and not name.startswith("num") else "in_channels"
            elif members[0].branch:
                joined = any(member is ends.get(member.branch) for member in members)
                name = f"{members[0].branch}_{'channels' if joined else 'reduced'}"
            elif last is not None and any(member is last for member in members):
                name = last.name
            else:
                name = "features" if "features" in name and not name.startswith("num") else "channels"
        name = free(name, taken)
        taken.add(name)
        values = [arg.value for arg in members[0].arguments]
        common, count = Counter(literal(value) for value in values).most_common(1)[0]
        optional = not members[0].name.startswith(_WIDTHS) and (
            2 * count >= len(values)
            or any(literal(a.default) == common for a in members[0].arguments if not a.required)
        )
        made.append((Parameter(name, _type_of(values), common if optional else ""), members))
    _derive_padding(made)
    return sorted(made, key=_is_optional)


def _derive_padding(parameters: list[tuple[Parameter, list[_Hole]]]) -> None:
    """Writes a padding that is always half of the kernel as that."""
    columns = {p.name: [arg.value for arg in holes[0].arguments] for p, holes in parameters}
    kernels = columns.get("kernel_size", [])
    for parameter, _ in parameters:
        values = columns[parameter.name]
        if parameter.name != "padding" or not all(type(n) is int for n in [*values, *kernels]):
            continue
        if kernels and values == [n // 2 for n in kernels]:
            parameter.name, parameter.derived = "kernel_size // 2", True


_WIDTHS = ("in_channels", "out_channels", "num_features", "in_features", "out_features")


def _is_optional(item: tuple[Parameter, list[_Hole]]) -> bool:
    return bool(item[0].default)


def _type_of(values: list[Any]) -> str:
    names = {type(value).__name__ for value in values}
    if names <= {"int"}:
        return "int"
    if names <= {"int", "float"}:
        return "float"
    if names <= {"bool"} or names <= {"str"}:
        return names.pop()
    if names <= {"int", "tuple"}:
        return "int | tuple[int, ...]"
    return "Any"


def _instantiate(group: list[Made], name: str, parameters: list[tuple[Parameter, list[_Hole]]]) -> None:
    """Writes the members of a group as instances of the class; its template must have been written before."""
    for place, made in enumerate(group):
        args = []
        for parameter, holes in parameters:
            if parameter.derived:
                continue
            argument = holes[0].arguments[place]
            default = next((h.value for h in holes[0].arguments if literal(h.value) == parameter.default), None)
            args.append(Argument(parameter.name, argument.value, not parameter.default, default))
        made.cls, made.args = name, args
        made.chain = made.block is None


def _with_references(group: list[Made], parameters: list[tuple[Parameter, list[_Hole]]], write: Any) -> Any:
    """What `write()` gives while the first member's holes hold the names of the parameters."""
    kept = [(holes_of.arguments[0], holes_of.arguments[0].value) for _, holes in parameters for holes_of in holes]
    for parameter, holes in parameters:
        for hole in holes:
            hole.arguments[0].value = Reference(parameter.name)
    try:
        return write()
    finally:
        for argument, value in kept:
            argument.value = value


def _class_of_chains(group: list[Made], taken: set[str]) -> Class:
    parameters = _parameters(list(_holes(group)))
    kids = _with_references(group, parameters, group[0].kid_texts)
    name = free(_chain_name(group[0]), taken)
    taken.add(name)
    _instantiate(group, name, parameters)
    return Class(name, [parameter for parameter, _ in parameters if not parameter.derived], {}, kids=kids)


def _chain_name(made: Made) -> str:
    names = [kid.cls for kid in made.kids]
    if any("Conv" in name for name in names):
        return "ConvBlock"
    return "LinearBlock" if "nn.Linear" in names else "Layers"


def _class_of_blocks(group: list[Made], taken: set[str]) -> Class:
    blocks = [made.block for made in group if made.block is not None]
    first = blocks[0]
    shortcuts = [block.scope.attrs.get("shortcut") for block in blocks]
    varies = False
    if all(s is not None and s.is_identity for s in shortcuts):
        for block in blocks:
            _drop_shortcut(block)
    else:
        varies = len({skeleton(s) for s in shortcuts if s is not None}) > 1
    names = [name for name in first.scope.attrs if not (varies and name == "shortcut")]
    many = sum(name.startswith("branch") for name in names) > 2
    holes: list[_Hole] = []
    for name in names:
        found = list(_holes([block.scope.attrs[name] for block in blocks]))
        holes += [replace(hole, branch=name) for hole in found] if many else found
    parameters = _parameters(holes)
    attrs: dict[str, str] = {}
    for name in names:
        attrs[name] = _with_references(group, parameters, first.scope.attrs[name].text)
    if varies:
        given = [s for s in shortcuts if s is not None]
        attrs["shortcut"] = projection(given, parameters) or ""
        if not attrs["shortcut"]:
            arguments = [Argument("shortcut", None if s.is_identity else s) for s in given]
            some = any(arg.value is None for arg in arguments)
            parameter = Parameter("shortcut", "nn.Module | None" if some else "nn.Module", "None" if some else "")
            parameters.append((parameter, [_Hole("shortcut", arguments)]))
            attrs["shortcut"] = "nn.Identity() if shortcut is None else shortcut" if some else "shortcut"
    parameters.sort(key=_is_optional)
    name = free(_block_name(first), taken)
    taken.add(name)
    _instantiate(group, name, parameters)
    return Class(name, [parameter for parameter, _ in parameters if not parameter.derived], attrs, forward_of(first))


def projection(shortcuts: list[Made], parameters: list[tuple[Parameter, list[_Hole]]]) -> str | None:
    """The shortcuts as one expression of the parameters: nothing where sizes stay, else a projection."""
    kept = [s.is_identity for s in shortcuts]
    projected = [s for s in shortcuts if not s.is_identity]
    if not any(kept) or len({skeleton(s) for s in projected}) != 1:
        return None
    values = {p.name: [arg.value for arg in holes[0].arguments] for p, holes in parameters if not p.derived}
    condition = _condition(values, kept)
    if condition is None:
        return None
    places = [i for i, same in enumerate(kept) if not same]
    changed: list[tuple[Argument, Any]] = []
    try:
        for hole in _holes(projected, alike=True):
            known = [
                n
                for n, all_values in values.items()
                if [all_values[i] for i in places] == [a.value for a in hole.arguments]
            ]
            named = [n for n in known if n == hole.name] or (known if len(set(hole.values)) > 1 else [])
            if not named and len(set(hole.values)) == 1:
                continue
            if not named:
                return None
            changed.append((hole.arguments[0], hole.arguments[0].value))
            hole.arguments[0].value = Reference(named[0])
        return f"nn.Identity() if {condition} else {projected[0].text()}"
    finally:
        for argument, value in changed:
            argument.value = value


def _condition(values: dict[str, list[Any]], wanted: list[bool]) -> str | None:
    """A comparison of parameters that is true exactly where `wanted` is."""
    numbers = {name: column for name, column in values.items() if all(isinstance(v, int) for v in column)}
    for name, column in numbers.items():
        for other, others in numbers.items():
            if name < other and [a == b for a, b in zip(column, others, strict=True)] == wanted:
                return f"{name} == {other}"
    for name, column in numbers.items():
        for value in dict.fromkeys(column):
            if [a == value for a in column] == wanted:
                return f"{name} == {value}"
    return None


def _drop_shortcut(block: Block) -> None:
    """Removes a shortcut that does nothing."""
    del block.scope.attrs["shortcut"]
    for step in block.scope.steps:
        if step.call and step.template == "self.shortcut({0})":
            step.template, step.call = "{0}", False


def _block_name(block: Block) -> str:
    return {"Dense": "DenseLayer", "Residual": "ResidualBlock"}.get(block.kind, block.kind)

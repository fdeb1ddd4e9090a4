"""Finds parts of a model that are alike up to their hyperparameters, and makes one class of them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from string import ascii_letters
from typing import Any

from .motifs import forward_of, group_motifs, is_plain, is_short, saves, skeleton, splice
from .naming.attributes import resizing
from .naming.states import name_states
from .scopes import Argument, Constructor, Scope, free, literal
from .simplify import tidy
from .writing.forward_methods import Forward


@dataclass
class _Difference:
    """A place where the constructor calls of a group differ.

    Attributes:
        name: of the argument.
        arguments: one per member of the group.
        branch: attribute that holds the calls, if it is one of many branches.
    """

    name: str
    arguments: list[Argument]
    branch: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(literal(arg.value) for arg in self.arguments)


@dataclass
class Parameter:
    """A constructor parameter of a class.

    Attributes:
        name: of the parameter.
        type: as written.
        default: as written; "" if it has none.
        differences: where it stands; their values go together.
        derived: is `name` an expression of other parameters instead?
    """

    name: str
    type: str
    default: str
    differences: list[_Difference]
    derived: bool = False

    @property
    def values(self) -> list[Any]:
        """What the members of the group pass."""
        return [arg.value for arg in self.differences[0].arguments]

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


def height(call: Constructor) -> int:
    """How deep a constructor call is nested, through classes too."""
    return 1 + max(map(height, call.children()), default=0)


def extract(scope: Scope, taken: set[str]) -> list[Class]:
    """Replaces what is alike in a model by instances of classes; returns the classes, inner ones first.

    Args:
        scope: the body of the model.
        taken: names that classes must not have; grows.
    """
    found: dict[int, list[Constructor]] = {}
    seen: set[int] = set()
    group_motifs(list(scope.attrs.values()))
    for attr in scope.attrs.values():
        splice(attr, is_short)
    for attr in scope.attrs.values():
        for call in attr.walk():
            alike = call.is_chain and not is_short(call) and not any(kid.is_chain for kid in call.kids)
            if id(call) not in seen and (call.block is not None or alike):
                seen.add(id(call))
                found.setdefault(height(call), []).append(call)
    calls = [call for level in found.values() for call in level]
    owners: dict[int, tuple[Any, str]] = {}
    for call in calls:
        if call.block is not None:
            kind = skeleton(call)
            owners.update({id(attr): (kind, name) for name, attr in call.block.scope.attrs.items()})
    classes: list[Class] = []
    for level in sorted(found):
        groups: dict[Any, list[Constructor]] = {}
        for call in found[level]:
            for part in call.block.scope.attrs.values() if call.block else [call]:
                splice(part, is_plain)
            if call.block is not None:
                tidy(call.block.scope, call.block.result)
                name_states(call.block.scope, call.block.inputs)
            groups.setdefault(skeleton(call), []).append(call)
        for group in _united(list(groups.values())):
            if group[0].block is not None:
                classes.append(_class_of_blocks(group, _title(group, calls), taken))
            elif saves(len({owners.get(id(call), id(call)) for call in group}), len(group[0].kids)):
                classes.append(_class_of_chains(group, taken))
    for attr in scope.attrs.values():
        splice(attr, is_plain)
    return classes


def _title(group: list[Constructor], calls: list[Constructor]) -> str:
    """The name of a class of blocks; it says that they resize images where others of their kind do not, or otherwise.

    Args:
        group: the blocks.
        calls: all in the model.
    """
    kind = group[0].block.kind if group[0].block is not None else ""
    alike = [call for call in calls if call.block is not None and call.block.kind == kind]
    found = {_RESIZES.get(resizing(call), "") for call in group}
    others = {_RESIZES.get(resizing(call), "") for call in alike}
    prefix = found.pop() if len(found) == 1 < len(others) else ""
    return f"{prefix}{_KINDS.get(kind, kind)}"


#: What classes of blocks of a kind are called, if not as the kind, and what stands before that.
_KINDS = {"Dense": "DenseLayer", "Residual": "ResidualBlock"}
_RESIZES = {"smaller": "Downsampling", "larger": "Upsampling"}

#: Longest module that is passed to a class which takes different ones.
_PASSED = 60


def _united(groups: list[list[Constructor]]) -> list[list[Constructor]]:
    """Groups of blocks; those that differ in one attribute are one, if nearly all that is passed for it is short."""
    found: list[list[Constructor]] = []
    shapes = {id(group): _shape(group) for group in groups}
    for group in groups:
        for known in found:
            name = _only_difference(known, group) if shapes[id(known)] == shapes[id(group)] is not None else ""
            given = [call.block.scope.attrs[name].text() for call in (*known, *group) if call.block] if name else []
            if given and sum(len(text) > _PASSED for text in given) <= 1:
                known += group
                break
        else:
            found.append(group)
    return found


def _shape(group: list[Constructor]) -> Any:
    """The kind, forward method and attributes of blocks; None where these differ, or are not all blocks."""
    blocks = [call.block for call in group if call.block is not None]
    found = {(block.kind, tuple(forward_of(block).lines), tuple(block.scope.attrs)) for block in blocks}
    return found.pop() if len(found) == 1 and len(blocks) == len(group) else None


def _only_difference(group: list[Constructor], other: list[Constructor]) -> str:
    """The only attribute in which two groups of blocks of one shape differ; "" if they do not in just one."""
    attrs = [call.block.scope.attrs for call in (*group, *other) if call.block is not None]
    differing = [name for name in attrs[0] if len({skeleton(one[name]) for one in attrs}) > 1]
    return differing[0] if len(differing) == 1 else ""


def _differences(group: list[Constructor], *, alike: bool = False) -> Iterator[_Difference]:
    """The arguments that differ; with `alike` also those that are the same in all calls."""
    for together in zip(*(call.args for call in group), strict=True):
        values = [arg.value for arg in together]
        if all(isinstance(value, Constructor) for value in values):
            yield from _differences(values, alike=alike)
        elif all(isinstance(value, list) and any(isinstance(item, Constructor) for item in value) for value in values):
            for items in zip(*values, strict=True):
                yield from _differences(list(items), alike=alike)
        elif len({literal(value) for value in values}) > 1 or (alike and not together[0].is_default):
            yield _Difference(together[0].name, list(together))
    if group[0].is_chain:
        for kids in zip(*(call.kids for call in group), strict=True):
            yield from _differences(list(kids), alike=alike)


def _parameters(differences: list[_Difference]) -> list[Parameter]:
    """One parameter for all differences whose values go together."""
    alike: dict[tuple[str, ...], list[_Difference]] = {}
    begun: set[str] = set()
    given = {name: {found.texts for found in differences if found.name == name} for name in _SAME_AS.values()}
    for found in differences:
        enters = found.name.startswith("in_") and found.branch not in begun
        begun.add(found.branch)
        other = _SAME_AS.get(found.name, "")
        what = other if other and found.texts in given[other] else found.name
        what = "" if found.name.startswith(_WIDTHS) else what
        alike.setdefault((*found.texts, what, "" if enters else found.branch), []).append(found)
    ends = {found.branch: found for found in differences if found.name.startswith("out_")}
    last = next((found for found in reversed(differences) if found.name.startswith("out_")), None)
    parameters: list[Parameter] = []
    for members in alike.values():
        name = next((member.name for member in members if member.name in _SAME_AS.values()), members[0].name)
        if name.startswith(_WIDTHS):
            enters = members[0] is differences[0] and not name.startswith("out_")
            if enters or (name.startswith("in_") and len(members) == 1):
                name = "in_features" if "features" in name and not name.startswith("num") else "in_channels"
            elif members[0].branch:
                joined = any(member is ends.get(member.branch) for member in members)
                name = f"{'out' if joined else 'reduced'}{members[0].branch.lstrip(ascii_letters)}"
            elif last is not None and any(member is last for member in members):
                name = last.name
            else:
                name = "features" if "features" in name and not name.startswith("num") else "channels"
        name = free(name, {parameter.name for parameter in parameters})
        common, count = Counter(members[0].texts).most_common(1)[0]
        optional = not members[0].name.startswith(_WIDTHS) and (
            2 * count >= len(members[0].arguments)
            or any(literal(a.default) == common for a in members[0].arguments if not a.required)
        )
        type_ = _type_of([arg.value for arg in members[0].arguments])
        parameters.append(Parameter(name, type_, common if optional else "", members))
    _derive_padding({parameter.name: parameter for parameter in parameters})
    return sorted(parameters, key=_is_optional)


def _derive_padding(parameters: dict[str, Parameter]) -> None:
    """Writes a padding that is always half of the kernel as that."""
    padding, kernel = parameters.get("padding"), parameters.get("kernel_size")
    if padding is None or kernel is None or any(type(n) is not int for n in [*padding.values, *kernel.values]):
        return
    if padding.values == [n // 2 for n in kernel.values]:
        padding.name, padding.derived = "kernel_size // 2", True


#: Arguments that are no parameters of their own where they always are what another is.
_SAME_AS = {"padding": "dilation", "stride": "kernel_size"}

_WIDTHS = ("in_channels", "out_channels", "num_features", "in_features", "out_features", "num_parameters")


def _is_optional(parameter: Parameter) -> bool:
    return bool(parameter.default)


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
    kinds = {type(item).__name__ for value in values if isinstance(value, list) for item in value}
    return f"list[{kinds.pop()}]" if names == {"list"} and kinds in ({"int"}, {"float"}) else "Any"


def _class(
    group: list[Constructor],
    name: str,
    parameters: list[Parameter],
    attrs: dict[str, str],
    kids: list[str],
    taken: set[str],
) -> Class:
    """The class of a group, whose members become instances of it."""
    name = free(name, taken)
    taken.add(name)
    written = sorted((parameter for parameter in parameters if not parameter.derived), key=_is_optional)
    for place, call in enumerate(group):
        args = []
        for parameter in written:
            default = next((value for value in parameter.values if literal(value) == parameter.default), None)
            args.append(Argument(parameter.name, parameter.values[place], not parameter.default, default))
        call.cls, call.args, call.chain = name, args, call.block is None
    return Class(name, written, attrs, forward_of(group[0].block) if group[0].block else None, kids)


def _names(parameters: list[Parameter]) -> dict[int, str]:
    """The id of an argument of the first member of a group -> the parameter that stands there in the class."""
    return {id(found.arguments[0]): parameter.name for parameter in parameters for found in parameter.differences}


def _with_names(value: Any, names: dict[int, str]) -> Any:
    """A constructor call with names of parameters as arguments."""
    if isinstance(value, list):
        return [_with_names(item, names) for item in value]
    if not isinstance(value, Constructor):
        return value
    args = [
        replace(arg, value=ast.Name(names[id(arg)]) if id(arg) in names else _with_names(arg.value, names))
        for arg in value.args
    ]
    return replace(value, args=args, kids=_with_names(value.kids, names))


def _class_of_chains(group: list[Constructor], taken: set[str]) -> Class:
    parameters = _parameters(list(_differences(group)))
    kids = _with_names(group[0], _names(parameters)).kid_texts()
    return _class(group, _chain_name(group[0]), parameters, {}, kids, taken)


def _chain_name(call: Constructor) -> str:
    names = [kid.cls for kid in call.kids]
    if any("Conv" in name for name in names):
        return "ConvBlock"
    return "LinearBlock" if "nn.Linear" in names else "Layers"


def _class_of_blocks(group: list[Constructor], title: str, taken: set[str]) -> Class:
    blocks = [call.block for call in group if call.block is not None]
    first = blocks[0]
    shortcuts = [block.scope.attrs.get("shortcut") for block in blocks]
    if all(s is not None and s.is_identity for s in shortcuts):  # they do nothing
        for block in blocks:
            del block.scope.attrs["shortcut"]
            for statement in block.scope.statements:
                if statement.calls == "shortcut":
                    (statement.expression,) = statement.ins
    kinds = {name: {skeleton(block.scope.attrs[name]) for block in blocks} for name in first.scope.attrs}
    varying = [name for name, found in kinds.items() if len(found) > 1]
    names = [name for name in first.scope.attrs if name not in varying]
    many = sum(name.startswith("branch") for name in names) > 2
    differences: list[_Difference] = []
    for name in names:
        found = list(_differences([block.scope.attrs[name] for block in blocks]))
        differences += [replace(item, branch=name) for item in found] if many else found
    parameters = _parameters(differences)
    attrs = {name: _with_names(first.scope.attrs[name], _names(parameters)).text() for name in names}
    for name in varying:
        if name != "shortcut":
            passed = [Argument(name, block.scope.attrs[name]) for block in blocks]
            parameters.append(Parameter(name, "nn.Module", "", [_Difference(name, passed)]))
            attrs[name] = name
    if "shortcut" in varying:
        given = [s for s in shortcuts if s is not None]
        attrs["shortcut"] = projection(given, parameters) or ""
        if not attrs["shortcut"]:
            arguments = [Argument("shortcut", None if s.is_identity else s) for s in given]
            some = any(arg.value is None for arg in arguments)
            types = ("nn.Module | None", "None") if some else ("nn.Module", "")
            parameters.append(Parameter("shortcut", *types, [_Difference("shortcut", arguments)]))
            attrs["shortcut"] = "nn.Identity() if shortcut is None else shortcut" if some else "shortcut"
    return _class(group, title, parameters, attrs, [], taken)


def projection(shortcuts: list[Constructor], parameters: list[Parameter]) -> str | None:
    """The shortcuts as one expression of the parameters: nothing where sizes stay, else a projection."""
    kept = [s.is_identity for s in shortcuts]
    projected = [s for s in shortcuts if not s.is_identity]
    if not any(kept) or len({skeleton(s) for s in projected}) != 1:
        return None
    values = {parameter.name: parameter.values for parameter in parameters if not parameter.derived}
    condition = _condition(values, kept)
    if condition is None:
        return None
    places = [i for i, same in enumerate(kept) if not same]
    names: dict[int, str] = {}
    for found in _differences(projected, alike=True):
        wanted = [arg.value for arg in found.arguments]
        known = [name for name, column in values.items() if [column[i] for i in places] == wanted]
        differs = len(set(found.texts)) > 1
        named = found.name if found.name in known else known[0] if known and differs else ""
        if differs and not named:
            return None
        if named:
            names[id(found.arguments[0])] = named
    return f"nn.Identity() if {condition} else {_with_names(projected[0], names).text()}"


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

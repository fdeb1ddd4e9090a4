"""generate(): the source of a converted model, and the names that its tensors have there."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..conversion import Conversion
from ..converters.graph import Graph
from ..converters.recurrent import forget
from ..nested import apply, leaves
from ..shapes import floating_type
from ..t7 import LuaObject, LuaTable
from .classes import Class, extract, walk
from .expressions import Made, leaf
from .lowering import Lowering
from .own import Copies
from .scopes import Scope, Sym, Value, argument
from .tidying import tidy
from .writing import Forward, identifier


@dataclass
class Source:
    """Generated source.

    Attributes:
        text: of model.py.
        names: name of a tensor in `conv.module` -> its name in the state dict of model.py.
        structured: was the structure of the model written as Python? Otherwise modules of torchmigrate's own stand
            where Torch7's were.
        reason: why it was not.
    """

    text: str
    names: dict[str, str]
    structured: bool = True
    reason: str = ""


@dataclass
class _Draft:
    scope: Scope
    inputs: list[Sym]
    result: Value
    classes: list[Class] = field(default_factory=list)


def generate(conv: Conversion, inputs: list[Any] | None = None) -> Source:
    """The source of a model.

    Args:
        conv: the converted model.
        inputs: examples of its input, at two batch sizes or more; without, or where the model does not run on them,
            the source has the structure of the Torch7 file, module by module.

    Returns:
        Source that gives the same bits as `conv.module` on the examples.
    """
    reason = "no input is known"
    if inputs:
        try:
            with torch.no_grad():
                source = _write(conv, _structured(conv, inputs))
                problem = _differs(conv, source, inputs)
            if not problem:
                return source
            reason = problem
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
            reason = f"{type(error).__name__}: {error}"
    plain = _write(conv, _plain(conv, inputs))
    plain.structured, plain.reason = False, reason
    return plain


def _structured(conv: Conversion, inputs: list[Any]) -> _Draft:
    scope = Scope()
    entries = _entries(inputs)
    parameters = entries if isinstance(entries, list) else [entries]
    result = Lowering(_node_names(conv)).lower(conv.module, entries, scope, top=True)
    return _Draft(scope, [p for p in parameters if isinstance(p, Sym)], result)


def _entries(inputs: list[Any]) -> Value:
    """Symbolic inputs: the members of a list are separate parameters."""
    if isinstance(inputs[0], (list, tuple)):
        members = [Sym(tuple(value[i] for value in inputs)) for i in range(len(inputs[0]))]
        if any(not isinstance(value, torch.Tensor) for value in inputs[0]):
            raise ValueError("the input is a table of tables")
        return members
    return Sym(tuple(inputs), hint="x")


def _plain(conv: Conversion, inputs: list[Any] | None) -> _Draft:
    scope = Scope()
    members = inputs[0] if inputs and isinstance(inputs[0], (list, tuple)) else None
    entries: Value = Sym(hint="x") if members is None else [Sym() for _ in members]
    made = leaf(conv.module)
    ins: list[Sym] = []
    text = argument(entries, ins)
    scope.attrs["net"] = made
    result = scope.unpack(f"self.net({text})", ins, (), call=True)
    return _Draft(scope, ins, result)


def _node_names(conv: Conversion) -> dict[int, str]:
    """Names that the nodes of nngraph were given: node:annotate{name = …}."""
    modules = {id(record.object): record.module for record in conv.layers}
    found: dict[int, str] = {}
    for record in conv.layers:
        if not isinstance(record.module, Graph):
            continue
        nodes = record.object.get("forwardnodes")
        for node in nodes.list() if isinstance(nodes, LuaTable) else []:
            data = node.get("data") if isinstance(node, LuaObject) else None
            if not isinstance(data, LuaTable):
                continue
            annotations = data.get("annotations")
            name = annotations.get("name") if isinstance(annotations, LuaTable) else None
            module = modules.get(id(data.get("module")))
            if isinstance(name, str) and module is not None:
                found[id(module)] = identifier(name, "node")
    return found


def _write(conv: Conversion, draft: _Draft) -> Source:
    copies = Copies()
    for attr in draft.scope.attrs.values():
        for made in walk(attr):
            if made.own is not None:
                copies.add(made.own)

    tidy(draft.scope, draft.result)
    taken = {*copies.definitions, "Model"}
    classes = extract(draft.scope, taken)
    names = _state_names(conv.module, draft.scope)
    forward = Forward(draft.scope, draft.inputs, draft.result)
    text = _file(conv, draft, classes, copies, forward, names)
    return Source(formatted(text), names)


def _state_names(module: nn.Module, scope: Scope) -> dict[str, str]:
    """Name of each tensor in `module` -> where it is in the source."""
    places: dict[int, list[str]] = {}
    for name, made in scope.attrs.items():
        for path, part in _placed(made, name):
            if part.module is not None:
                for inner, tensor in part.module.state_dict(keep_vars=True).items():
                    places.setdefault(id(tensor), []).append(f"{path}.{inner}")
    found = {}
    used: dict[int, int] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        where = places.get(id(tensor), [])
        if not where:
            raise ValueError(f"the tensor {name} has no place in the source")
        number = used.get(id(tensor), 0)
        used[id(tensor)] = number + 1
        found[name] = where[min(number, len(where) - 1)]
    return found


def _placed(made: Made, path: str) -> Iterator[tuple[str, Made]]:
    """Every leaf within a call, and its path."""
    if made.module is not None:
        yield path, made
    elif made.block is not None:
        for name, attr in made.block.scope.attrs.items():
            yield from _placed(attr, f"{path}.{name}")
    else:
        kids = made.kids
        if not kids and made.args and isinstance(made.args[0].value, list):
            kids = [kid for kid in made.args[0].value if isinstance(kid, Made)]
        for i, kid in enumerate(kids):
            yield from _placed(kid, f"{path}.{i}")


def _file(
    conv: Conversion,
    draft: _Draft,
    classes: list[Class],
    copies: Copies,
    forward: Forward,
    names: dict[str, str],
) -> str:
    imports = {"import torch", *copies.imports}
    imports |= {"from safetensors.torch import load_file", "from torch import Tensor", "from torch import nn"}
    if copies.definitions:  # they may name each other before they are defined
        imports.add("from __future__ import annotations")
    parts = [_docstring(conv, draft), "\n".join(sorted(imports)) + "\n", *copies.definitions.values()]
    parts += [_class(item) for item in classes]
    parts.append(_model(conv, draft, forward))
    return "\n\n".join(parts)


def _docstring(conv: Conversion, draft: _Draft) -> str:
    source = conv.provenance
    origin = printable(source.file or "a Torch7 model")
    key = f" at {printable(conv.key)}" if conv.key else ""
    digest = f", sha256 {source.sha256[:12]}…" if source.sha256 else ""
    lines = [f'"""Converted from {origin}{key} (Torch7{digest}) by torchmigrate.']
    lines.append("")
    given, made = describe(draft.inputs), describe(draft.result)
    if given and made:
        plural = "s" if len(draft.inputs) > 1 else ""
        lines.append(f"Input{plural}: {given}. Output{'s' if isinstance(draft.result, list) else ''}: {made}.")
    return "\n".join(lines).rstrip() + '\n"""\n'


def printable(text: str) -> str:
    """Any text, such that it can stand in a docstring."""
    return "".join(c if c.isalnum() or c in " ._-:/()" else "?" for c in text)[:120]


def describe(value: Value) -> str:
    """Sizes and types of symbolic values, N standing for the batch."""
    if isinstance(value, list):
        parts = [describe(item) for item in value]
        return ", ".join(parts) if all(parts) else ""
    shapes = value.shapes
    if not shapes:
        return ""
    sizes = (
        [str(n) if all(s[i] == n for s in shapes) else "N" for i, n in enumerate(shapes[0])]
        if _same_dims(shapes)
        else []
    )
    return f"({', '.join(sizes)}) {str(value.values[0].dtype).removeprefix('torch.')}" if sizes else ""


def _same_dims(shapes: list[tuple[int, ...]]) -> bool:
    return len({len(shape) for shape in shapes}) == 1


def _class(item: Class) -> str:
    parameters = ", ".join(["self", *(parameter.text() for parameter in item.parameters)])
    if item.forward is None:
        kids = ", ".join(item.kids)
        return (
            f"class {item.name}(nn.Sequential):\n    def __init__({parameters}) -> None:\n"
            f"        super().__init__({kids},)\n"
        )
    lines = [f"class {item.name}(nn.Module):", f"    def __init__({parameters}) -> None:", "        super().__init__()"]
    lines += [f"        self.{name} = {text}" for name, text in item.attrs.items()]
    return "\n".join(lines) + "\n\n" + _forward_text(item.forward, "Tensor")


def _forward_text(forward: Forward, returns: str) -> str:
    parameters = ", ".join(["self", *(f"{name}: Tensor" for name in forward.parameters)])
    body = "\n".join(f"        {line}" for line in forward.lines)
    return f"    def forward({parameters}) -> {returns}:\n{body}\n"


def _model(conv: Conversion, draft: _Draft, forward: Forward) -> str:
    lines = ["class Model(nn.Module):", "    def __init__(self) -> None:", "        super().__init__()"]
    lines += [f"        self.{name} = {made.text()}" for name, made in draft.scope.attrs.items()]
    lines += _ties(draft.scope)
    if floating_type(conv.module) == torch.float64:
        lines.append("        self.double()")
    returns = _returns(draft.result)
    load = (
        "    @classmethod\n"
        '    def from_pretrained(cls, folder: str) -> "Model":\n'
        "        model = cls()\n"
        '        model.load_state_dict(load_file(f"{folder}/model.safetensors"))\n'
        "        return model.eval()\n"
    )
    return "\n".join(lines) + "\n\n" + _forward_text(forward, returns) + "\n" + load


def _ties(scope: Scope) -> list[str]:
    """Statements that give several places one tensor, as in Torch7."""
    first: dict[int, str] = {}
    lines = []
    for name, made in scope.attrs.items():
        for path, part in _placed(made, name):
            if part.module is None:
                continue
            for inner, parameter in part.module.named_parameters(remove_duplicate=False):
                place = attribute_path(f"{path}.{inner}")
                known = first.setdefault(id(parameter), place)
                if known != place:
                    lines.append(f"        self.{place} = self.{known}")
    return lines


def attribute_path(name: str) -> str:
    """A state dict name as Python: `a.0.weight` is `a[0].weight`."""
    first, *rest = name.split(".")
    return first + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in rest)


def _returns(result: Value) -> str:
    if isinstance(result, list):
        return f"tuple[{', '.join(_returns(item) for item in result)}]" if result else "tuple[()]"
    return "Tensor"


def formatted(text: str) -> str:
    """Source as ruff formats it."""
    from ruff.__main__ import find_ruff_bin

    for command in (["check", "--isolated", "--select", "F401,I", "--fix", "--quiet"], ["format", "--isolated"]):
        done = subprocess.run(
            [find_ruff_bin(), *command, "--target-version", "py311", "--stdin-filename", "model.py", "-"],
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        if done.returncode not in (0, 1) or not done.stdout:
            raise ValueError(f"ruff can't read the generated source: {done.stderr.strip()}")
        text = done.stdout
    return text


def load(text: str) -> Any:
    """The module of generated source."""
    module = types.ModuleType("torchmigrate_generated_model")
    sys.modules[module.__name__] = module
    exec(compile(text, "model.py", "exec"), module.__dict__)  # our own source, to check it
    return module


def _differs(conv: Conversion, source: Source, inputs: list[Any]) -> str:
    """Why the source does not give what the converted model gives; "" if it does."""
    model = load(source.text).Model().eval()
    state = conv.module.state_dict(keep_vars=True)
    model.load_state_dict({new: state[old].detach() for old, new in source.names.items()}, strict=False, assign=True)
    for value in inputs:
        forget(conv.module)
        expected = conv.module(apply(value, torch.clone))
        given = apply(value, torch.clone)
        got = model(*given) if isinstance(given, list) else model(given)
        pairs = list(zip([t for _, t in leaves(expected)], [t for _, t in leaves(listed(got))], strict=True))
        if not pairs or any(a.shape != b.shape or not torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs):
            return "its output would differ"
    forget(conv.module)
    return ""


def listed(value: Any) -> Any:
    """Tuples as lists."""
    return [listed(item) for item in value] if isinstance(value, (list, tuple)) else value

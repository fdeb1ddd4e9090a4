"""How model.py is laid out."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, zip_longest
from operator import itemgetter
from typing import Any

import torch
from torch import nn

from ...base.tensor_trees import leaves
from ...model.conversion import ConvertedModel
from ...shapes.input_readers import INDICES
from ...shapes.random_input import floating_type
from ..classes import Class
from ..expressions import Value, variables
from ..scopes import Draft, Scope, examples_of
from ..sizes import Sizes, notes_of, tupled
from .copied_classes import Copies
from .forward_methods import Forward

#: A call of torch.nn.functional, as the copied classes and expressions have it.
_FUNCTIONAL = re.compile(r"(?<![\w.])F\.(?=\w)")

#: So many tensors of one size in a list are counted.
_MANY = 4

#: Longest line of a docstring, as ruff has it.
_WIDTH = 88


def file_text(
    conv: ConvertedModel,
    draft: Draft,
    classes: list[Class],
    copies: Copies,
    forward: Forward,
    casts: Mapping[str, torch.dtype],
    sizes: Sizes | None,
    name: str,
    *,
    tied: bool,
) -> str:
    """The text of model.py, not yet formatted.

    Args:
        conv: the converted model.
        draft: what it computes.
        classes: classes of its parts.
        copies: classes of ours that are copied.
        forward: the method of the model.
        casts: modules that are of another type than the rest.
        sizes: what is known of its inputs and outputs.
        name: of the class of the model.
        tied: does a tensor stand in several places?
    """
    imports = {"import torch", *copies.imports}
    imports |= {"from torch.nn import functional as F"}
    imports |= {"from safetensors.torch import load_file", "from torch import Tensor", "from torch import nn"}
    imports |= {"from typing import Any"}
    late = copies.name_each_other
    if late:
        imports.add("from __future__ import annotations")
    parts = [*copies.definitions.values(), *(_class(item) for item in classes)]
    parts.append(_model(conv, draft, forward, casts, sizes, name, "Model" if late else '"Model"', tied=tied))
    parts += [f"Model = {name}\n"] if name != "Model" else []
    if tied:
        parts.append(_FILL_TIED)
    body = "\n\n".join(parts)
    if len(_FUNCTIONAL.findall(body)) == 1:  # an import for one call is a line too many
        body = _FUNCTIONAL.sub("nn.functional.", body)
    return "\n".join([_docstring(conv), import_block(imports, body), body])


def import_block(lines: Iterable[str], body: str) -> str:
    """The imports that the body of a file needs, in the order of isort.

    Args:
        lines: imports, one name each; those of which the body reads nothing are left out.
        body: the file without its imports.
    """
    read = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)} | {"annotations"}
    sections: list[dict[tuple[bool, str, str], list[str]]] = [{}, {}, {}]
    for line in lines:
        module, _, name = line.removeprefix("from ").removeprefix("import ").partition(" import ")
        if line.split()[-1] in read:
            section = 0 if module == "__future__" else 1 if module.split(".")[0] in sys.stdlib_module_names else 2
            # one name under another has a line of its own
            key = (bool(name), module, name if " as " in name else "")
            sections[section].setdefault(key, []).append(name)
    return "\n".join(map(_section, filter(None, sections)))


def _section(found: Mapping[tuple[bool, str, str], list[str]]) -> str:
    """Imports of one section; of their names constants come before classes, and these before functions."""
    ranked = {key: sorted((not n.isupper(), not n[:1].isupper(), n) for n in names) for key, names in found.items()}
    imports = sorted((is_from, module, names) for (is_from, module, _), names in ranked.items())
    return "".join(
        f"from {module} import {', '.join(name for *_, name in names)}\n" if is_from else f"import {module}\n"
        for is_from, module, names in imports
    )


def _docstring(conv: ConvertedModel) -> str:
    source = conv.provenance
    origin = printable(source.file or "a Torch7 model")
    key = f" at {printable(conv.key)}" if conv.key else ""
    digest = f", sha256 {source.sha256[:12]}…" if source.sha256 else ""
    return f'"""Converted from {origin}{key} (Torch7{digest}) by torchmigrate."""\n'


def _sizes(draft: Draft, sizes: Sizes | None) -> list[str]:
    """The lines of the docstring of the model: what it takes and gives."""
    if sizes is None or _count(draft.inputs) != len(sizes.inputs):
        return ['    """The whole network."""']
    outs = variables(draft.result)
    indices = [reader.kind == INDICES for reader in sizes.readers]
    counted = [reader.channels for reader in sizes.readers]
    kinds = [
        f"indices from 1{f' to {largest}' if largest else ''}" if is_index else ""
        for is_index, largest in zip(indices, counted, strict=True)
    ]
    notes = "for example" if sizes.several else notes_of(sizes.axes)
    given = described("Input", draft.inputs, sizes.inputs, kinds) + (f" ({notes})" if notes else "") + "."
    if sizes.listed:
        (count, *shape), tensors = sizes.outputs[0], [tensor for out in outs for _, tensor in leaves(out.values[0])]
        made = f"Output: a list of {count} tensors {tupled(shape)} {_dtype(tensors[0])}."
    else:
        result = draft.result if isinstance(draft.result, list) else [draft.result]
        made = described("Output", result, sizes.outputs, []) + "." if _count(result) == len(sizes.outputs) else ""
        made = made.replace(":", " then:", 1) if sizes.several else made
    both = f"{given} {made}".rstrip()
    if len(both) <= _WIDTH - 10:
        return [f'    """{both}"""']
    lines, outputs = textwrap.wrap(given, _WIDTH - 7), textwrap.wrap(made, _WIDTH - 4)
    if len(lines) > 1:  # the first line of a docstring is a sentence
        lines = ["The whole network.", *textwrap.wrap(given, _WIDTH - 4)]
    first, *rest = [*lines, *outputs]
    return [f'    """{first}', "", *(f"    {line}" for line in rest), '    """'] if rest else [f'    """{first}"""']


def class_name(file: str, taken: set[str]) -> str:
    """A name for the class of a model, made of the name of its file: "vgg_16.t7" gives "Vgg16".

    Args:
        file: its name.
        taken: names that stand for something else.
    """
    stem = file.rpartition("/")[2].removesuffix(".t7").removesuffix(".net")
    name = "".join(part[:1].upper() + part[1:] for part in re.split("[^0-9A-Za-z]+", stem))[:40]
    if not name or name[0].isdigit() or keyword.iskeyword(name) or hasattr(builtins, name):
        name = f"Model{name}"
    return f"{name}Model" if name in taken | _RESERVED else name


#: Names that the file gives to something else, or to types.
_RESERVED = {"Any", "F", "Tensor"}


def printable(text: str) -> str:
    """Any text, such that it can stand in a docstring."""
    return "".join(c if c.isalnum() or c in " ._-:/()" else "?" for c in text)[:120]


def described(name: str, values: list[Value], sizes: list[list[str]], kinds: list[str]) -> str:
    """Sizes and types of the inputs or outputs; the type of several is said once.

    Args:
        name: what they are.
        values: their variables, in lists where they are nested.
        sizes: the sizes of each tensor, in words.
        kinds: what the tensors are beside numbers of a type; "" or nothing if no more than that.
    """
    said = iter(zip_longest(map(tupled, sizes), kinds[: len(sizes)], fillvalue=""))
    parts = [_nested(examples_of(value)[0], said) for value in values]
    together = [f"{', '.join(shape for shape, _ in members)} {kind}" for kind, members in groupby(parts, itemgetter(1))]
    return f"{name}{'s' * (len(values) > 1)}: {'; '.join(map(str.rstrip, together))}"


def _nested(example: Any, said: Iterator[tuple[str, str]]) -> tuple[str, str]:
    """The size of a tensor and its type, or of the tensors of a list; of a list of several types these are inside."""
    if isinstance(example, torch.Tensor):
        shape, kind = next(said)
        return shape, kind or _dtype(example)
    parts = [_nested(item, said) for item in (example.values() if isinstance(example, dict) else example)]
    kinds = {kind for _, kind in parts}
    texts = [shape if len(kinds) == 1 else f"{shape} {kind}".rstrip() for shape, kind in parts]
    runs = [(text, len(list(group))) for text, group in groupby(texts)]
    written = [t for text, count in runs for t in ([f"{count} times {text}"] if count >= _MANY else [text] * count)]
    return f"[{', '.join(written)}]", kinds.pop() if len(kinds) == 1 else ""


def _count(values: Value) -> int:
    """How many tensors there are in the first example of nested values."""
    examples = examples_of(values)
    return len(list(leaves(examples[0]))) if examples else 0


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _class(item: Class) -> str:
    parameters = ", ".join(["self", *(parameter.text() for parameter in item.parameters)])
    kids = "".join(f"{kid}, " for kid in item.kids)
    lines = [f"class {item.name}(nn.{'Module' if item.forward else 'Sequential'}):"]
    if item.parameters or item.attrs or kids:
        lines += [f"    def __init__({parameters}) -> None:", f"        super().__init__({kids})"]
    lines += [f"        self.{name} = {text}" for name, text in item.attrs.items()]
    return "\n".join(lines) + "\n\n" + (_forward_text(item.forward) if item.forward else "")


def _forward_text(forward: Forward) -> str:
    body = "\n".join(f"        {line}" for line in forward.lines)
    return f"    def forward({forward.signature}) -> {forward.returns}:\n{body}\n"


def _model(
    conv: ConvertedModel,
    draft: Draft,
    forward: Forward,
    casts: Mapping[str, torch.dtype],
    sizes: Sizes | None,
    name: str,
    own_name: str,
    *,
    tied: bool,
) -> str:
    lines = [f"class {name}(nn.Module):", *_sizes(draft, sizes), ""]
    lines += ["    def __init__(self) -> None:", "        super().__init__()"]
    lines += [f"        self.{name} = {call.text()}" for name, call in draft.scope.attrs.items()]
    if floating_type(conv.module) == torch.float64:
        lines.append("        self.double()")
    lines += [f"        self.{attribute_path(path)}.to({dtype})" for path, dtype in casts.items()]
    lines += _ties(draft.scope)  # last, since a buffer of another type is another buffer
    if tied:
        lines.append("        self.register_load_state_dict_pre_hook(fill_tied)")
    lines += _frozen(draft.scope)
    load = (
        "    @classmethod\n"
        f"    def from_pretrained(cls, folder: str, device: str | None = None) -> {own_name}:\n"
        '        """The model with the weights of a folder, in evaluation mode."""\n'
        "        model = cls().eval()\n"
        '        model.load_state_dict(load_file(f"{folder}/model.safetensors"))\n'
        "        return model.to(device)\n"
    )
    return "\n".join(lines) + "\n\n" + _forward_text(forward) + "\n" + load


#: Whatever loads a state into the model gives a tensor once, as the file does, or under all its names.
_FILL_TIED = '''
def fill_tied(model: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Completes a state that has a tensor once which stands in several places."""
    places: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        places.setdefault(id(tensor), []).append(prefix + name)
    for names in places.values():
        for held in [name for name in names if name in state][:1]:
            state.update({name: state[held] for name in names if name not in state})
'''


def _ties(scope: Scope) -> list[str]:
    """Statements that give several places one module or tensor, as in Torch7."""
    places: dict[int, str] = {}
    lines = []
    for name, call in scope.attrs.items():
        for path, part, module in call.leaves(name):
            tied: list[str] = []
            modules = module.named_modules(remove_duplicate=False)
            tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
            for inner, item in [*modules, *tensors]:
                place = f"{path}.{inner}".rstrip(".")
                known = places.setdefault(id(item), place) if part.owns(inner) else place
                if known != place and not place.startswith(tuple(tied)):
                    tied += [place + "."] if isinstance(item, nn.Module) else []
                    lines.append(f"        self.{attribute_path(place)} = self.{attribute_path(known)}")
    return lines


def _frozen(scope: Scope) -> list[str]:
    """Statements that freeze what the file freezes."""
    return [
        f"        self.{attribute_path(f'{path}.{inner}')}.requires_grad_(False)"
        for name, call in scope.attrs.items()
        for path, part, module in call.leaves(name)
        for inner, parameter in module.named_parameters()
        if part.owns(inner) and parameter.is_floating_point() and not parameter.requires_grad
    ]


def attribute_path(name: str) -> str:
    """A state dict name as Python: `a.0.weight` is `a[0].weight`."""
    first, *rest = name.split(".")
    return first + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in rest)


def formatted(text: str) -> str:
    """Source as ruff formats it."""
    from ruff.__main__ import find_ruff_bin

    done = subprocess.run(
        [find_ruff_bin(), "format", "--isolated", "--target-version", "py311", "--stdin-filename", "model.py", "-"],
        input=text,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode or not done.stdout:
        raise ValueError(f"ruff can't read the generated source: {done.stderr.strip()}")
    return done.stdout

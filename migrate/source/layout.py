"""How model.py is laid out."""

from __future__ import annotations

import subprocess

import torch

from ..conversion import Conversion
from ..shapes import floating_type
from .classes import Class
from .own import Copies
from .scopes import Draft, Scope, Value, placed
from .writing import Forward


def file_text(conv: Conversion, draft: Draft, classes: list[Class], copies: Copies, forward: Forward) -> str:
    """The text of model.py, not yet formatted."""
    imports = {"import torch", *copies.imports}
    imports |= {"from safetensors.torch import load_file", "from torch import Tensor", "from torch import nn"}
    if copies.definitions:  # they may name each other before they are defined
        imports.add("from __future__ import annotations")
    parts = [_docstring(conv, draft), "\n".join(sorted(imports)) + "\n", *copies.definitions.values()]
    parts += [_class(item) for item in classes]
    parts.append(_model(conv, draft, forward))
    return "\n\n".join(parts)


def _docstring(conv: Conversion, draft: Draft) -> str:
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
    """Sizes and types of symbolic values; letters stand for sizes that may vary."""
    if isinstance(value, list):
        parts = [describe(item) for item in value]
        return ", ".join(parts) if all(parts) else ""
    shapes = value.shapes
    if not shapes or len({len(shape) for shape in shapes}) > 1:
        return ""
    dims = len(shapes[0])
    letters = ["N", *_LETTERS.get(dims, "TUVW")][:dims]
    sizes = [str(n) if all(s[i] == n for s in shapes) else letters[i] for i, n in enumerate(shapes[0])]
    inner = f"{sizes[0]}," if dims == 1 else ", ".join(sizes)
    return f"({inner}) {str(value.values[0].dtype).removeprefix('torch.')}"


#: Letters of the sizes of a value with so many dimensions, behind N for the samples.
_LETTERS = {4: "CHW", 5: "CTHW"}


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


def _model(conv: Conversion, draft: Draft, forward: Forward) -> str:
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
    """Statements that give several places one module or tensor, as in Torch7."""
    modules: dict[int, str] = {}
    tensors: dict[int, str] = {}
    lines = []
    for name, made in scope.attrs.items():
        for path, part in placed(made, name):
            if part.module is None:
                continue
            tied: list[str] = []
            for inner, module in part.module.named_modules(remove_duplicate=False):
                place = f"{path}.{inner}".rstrip(".")
                known = modules.setdefault(id(module), place)
                if known != place and not place.startswith(tuple(tied)):
                    tied.append(place + ".")
                    lines.append(f"        self.{attribute_path(place)} = self.{attribute_path(known)}")
            for inner, parameter in part.module.named_parameters(remove_duplicate=False):
                place = f"{path}.{inner}"
                known = tensors.setdefault(id(parameter), place)
                if known != place and not place.startswith(tuple(tied)):
                    lines.append(f"        self.{attribute_path(place)} = self.{attribute_path(known)}")
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

    for command in (["check", "--isolated", "--extend-select", "I", "--fix", "--quiet"], ["format", "--isolated"]):
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

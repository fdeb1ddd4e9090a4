"""What torchmigrate uses of other libraries without their promise to keep it: all is named, and its library pinned."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from torch import nn

ROOT = Path(__file__).resolve().parent.parent

#: Name -> the library, and why there is no other way.
PRIVATE = {
    "torch.fx.experimental._config": ("torch", "backed_size_oblivious: a size of 1 must not become a fixed size"),
    "torch.utils._python_dispatch.TorchDispatchMode": ("torch", "sees each operator, below autograd; documented there"),
    "torch.nn.modules.batchnorm._BatchNorm": ("torch", "batch norm of any number of dimensions"),
    "torch.nn.modules.instancenorm._InstanceNorm": ("torch", "instance norm of any number of dimensions"),
    "torch._C": ("torch", "DisableTorchFunction: what a tensor subclass computes within its own hook"),
    "_check_input_dim": ("torch", "the same"),
    "_non_persistent_buffers_set": ("torch", "tells the buffers that a state dict keeps"),
    "_buffers": ("torch", "tells buffers from parameters of one module"),
    "_apply": ("torch", "tells a layer without weights of a cast; nn.RNNBase overrides it too"),
    "_forward_pre_hooks": ("torch", "tells weights that weight_norm, for example, computes before each run"),
    "_version": ("torch", "tells whether a tensor was written to"),
    "_cdata": ("torch", "tells two storages apart, also those without numbers"),
}

#: Attributes of objects that users pass in, of libraries that torchmigrate does not need; names that are public in
#: spite of their underscore.
FOREIGN = {
    "_obj": "torchfile 0.1.0, the last one, from 2016",
    "_replace": "named tuples, where Python documents it",
    "os._exit": "Python documents it",
}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


#: Private names of PyTorch's modules, which a class of ours may override.
MODULES = {
    name
    for cls in vars(nn).values()
    if isinstance(cls, type) and issubclass(cls, nn.Module)
    for name in dir(cls)
    if is_private(name)
}

#: Private names that an object may have of PyTorch's, whatever holds it.
TORCH = MODULES | {name for name in dir(torch.Tensor) if is_private(name)}


def own_names(trees: list[ast.Module]) -> set[str]:
    """What the source itself defines."""
    found = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return found - TORCH


def private_apis(tree: ast.Module, own: set[str]) -> Iterator[str]:
    """The private names of other libraries that a file imports, reads or overrides."""
    modules = {}  # name in the file -> what it stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {
                a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0]
                for a in node.names
            }
            yield from (a.name for a in node.names if any(map(is_private, a.name.split("."))))
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
            modules |= names
            yield from (name for name in names.values() if any(map(is_private, name.split("."))))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in MODULES:
            yield node.name
        if not isinstance(node, ast.Attribute) or not is_private(node.attr):
            continue
        root, _, rest = ast.unparse(node).partition(".")
        if root == "self" and node.attr not in MODULES:
            continue
        if root in modules:
            yield f"{modules[root]}.{rest}"
        elif node.attr not in own:
            yield node.attr


def found(files: dict[str, str]) -> set[str]:
    trees = [ast.parse(text) for text in files.values()]
    own = own_names(trees)
    return {name for tree in trees for name in private_apis(tree, own)}


def test_all_are_named() -> None:
    paths = [path for top in ("migrate", "converters") for path in (ROOT / top).rglob("*.py")]
    assert found({str(path): path.read_text() for path in paths}) == PRIVATE.keys() | FOREIGN.keys()


def test_their_libraries_are_pinned() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    requirements = {one.name: one for one in map(Requirement, tomllib.loads(text)["project"]["dependencies"])}
    for name, (library, _) in PRIVATE.items():
        bounds = {specifier.operator for specifier in requirements[library].specifier}
        assert "<" in bounds, f"{name} may go with any release of {library}"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from onnxscript.optimizer import _constant_folding", "onnxscript.optimizer._constant_folding"),
        ("import numpy._core.umath", "numpy._core.umath"),
        ("import torch\ntorch.fx.experimental._config.patch()", "torch.fx.experimental._config"),
        (
            "from onnxscript import rewriter as r\nr._DEFAULT_REWRITE_RULES",
            "onnxscript.rewriter._DEFAULT_REWRITE_RULES",
        ),
        ("def f(module): return module._parameters", "_parameters"),
        ("class A:\n def _load_from_state_dict(self): ...", "_load_from_state_dict"),
        ("def f(x): return x._unknown", "_unknown"),
    ],
)
def test_a_new_one_is_found(text: str, name: str) -> None:
    assert found({"a.py": text}) == {name}


def test_our_own_are_not() -> None:
    assert found({"a.py": "class A:\n def _b(self): return self._b", "b.py": "from .a import _c\nx._b"}) == set()

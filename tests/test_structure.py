"""The house: who may import whom, how large a room may be, and that facts about layers stand with their converters."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from torch import nn

from torchmigrate.model.registry import all_converters

ROOT = Path(__file__).parent.parent
FILES = sorted(path for top in ("migrate", "converters") for path in (ROOT / top).rglob("*.py"))

#: From the lowest package to the highest; each may import those before it.
ORDER = ("base", "t7", "model", "shapes", "source", "onnx", "optim", "lua", "parity", "folder", "inspection", "picture")
HIGHEST = (*ORDER, "matching", "extract", "zoo", "cli", "__main__", "")

#: Where a class may be told by its name, and why.
BY_NAME = {
    "migrate/t7/reading/fields_by_position.py": "the file format: classes of 2011 wrote their fields by place",
    "migrate/t7/reading/weights_json.py": "the file format: weights that waifu2x exports",
    "migrate/t7/bodies.py": "the file format: classes that write no table of fields",
    "migrate/model/locate.py": "losses that nobody knows are told by the ending that Torch7 gives to all of them",
    "migrate/inspection/origin.py": "the history of Torch7: which class came when, from data/history.json",
    "migrate/model/contents/kinds.py": "a confusion matrix of optim is no layer, nor are tables of tds",
    "migrate/inspection/byte_sizes.py": "nodes of graphs and optimizers are no layers",
    "migrate/lua/tensors/making.py": "Lua's own constructors of tensors and storages",
    "migrate/lua/tensors/types.py": "types of tensors by their names in Lua",
    "migrate/source/roles.py": "names of classes that are written, such as Inception",
    "migrate/onnx/passes/graph.py": "operators of ONNX",
    "migrate/onnx/passes/optimize.py": "operators of ONNX",
    "migrate/onnx/passes/sequences.py": "operators of ONNX",
}


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts = ["migrate", *parts] if parts[0] == "converters" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def imported(name: str) -> Iterator[str]:
    """The modules of the project that a module imports, late imports and those for types included."""
    path = MODULES[name]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = name.split(".")
            parts = parts[: len(parts) - node.level + (path.name == "__init__.py")]
            base = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                found = f"{base}.{alias.name}"
                yield found if found in MODULES else base


@cache
def imports_of(name: str) -> list[str]:
    """The same, each once; read when a test asks, since every worker collects this file."""
    return sorted({other for other in imported(name) if other in MODULES})


def package(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_no_circle_of_imports() -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join([*way[way.index(name) :], name])}"
        if name not in done:
            for other in imports_of(name):
                visit(other, (*way, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("name", [name for name in MODULES if package(name) != "converters"])
def test_it_imports_only_lower_packages(name: str) -> None:
    allowed = HIGHEST[: HIGHEST.index(package(name)) + 1]
    upward = [other for other in imports_of(name) if package(other) not in allowed]
    assert not upward, f"{name} imports {', '.join(upward)}"


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_it_is_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=str)
def test_its_files_can_be_overlooked(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= 20


def class_names() -> set[str]:
    """Names of Torch7 classes as code may spell them; those that PyTorch has too mean PyTorch's."""
    full = {name for name in all_converters() if not hasattr(nn, name.rpartition(".")[2])}
    return full | {name.rpartition(".")[2] for name in full} - {"NaN"}


def told_by_name(path: Path, names: set[str]) -> list[str]:
    """The strings in a file that are names of classes, and questions about the name of a class."""
    tree = ast.parse(path.read_text())
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documented and node.value in names:
            found.append(f"{node.lineno}: {node.value!r}")
        if isinstance(node, ast.Call) and re.search(r"typename.*\.(startswith|endswith)$", ast.unparse(node.func)):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.Compare) and "typename" in ast.unparse(node):  # names that PyTorch has too
            texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            if any(isinstance(text, str) and re.search("[A-Z]", text) for text in texts):
                found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


IN_MIGRATE = [path for path in FILES if path.relative_to(ROOT).parts[0] == "migrate"]


@pytest.mark.parametrize("path", IN_MIGRATE, ids=[str(path.relative_to(ROOT)) for path in IN_MIGRATE])
def test_no_decision_by_the_name_of_a_class(path: Path) -> None:
    found = told_by_name(path, class_names())
    place = str(path.relative_to(ROOT))
    if place in BY_NAME:
        assert found, f"{place} needs no exemption any more"
    else:
        assert not found, f"{place} decides by class: {found}; give the class a trait"


@pytest.mark.parametrize(
    "text",
    [
        'record.typename == "nn.Dropout"',
        'obj.typename.split(".")[-1] in ("ReLU", "Tanh")',
        'name.endswith("x") or record.typename.startswith("nn.Spatial")',
        'TABLE = {"nn.View": 1}',
    ],
)
def test_such_a_decision_is_seen(text: str, tmp_path: Path) -> None:
    file = tmp_path / "stage.py"
    file.write_text(f"{text}\n")
    assert told_by_name(file, class_names())


def test_packages_are_listed() -> None:
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {f"torchmigrate{module_name(path).removeprefix('migrate')}" for path in FILES if path.name == "__init__.py"}
    assert sorted(listed) == sorted(found)


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=str)
def test_a_package_holds_no_logic(path: Path) -> None:
    if path == ROOT / "migrate" / "__init__.py":  # gives the public names when they are first used
        return
    body = ast.parse(path.read_text()).body
    assert all(isinstance(node, (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign)) for node in body)


def test_public_names_are_there() -> None:
    import torchmigrate

    assert all(getattr(torchmigrate, name) is not None for name in torchmigrate.__all__)

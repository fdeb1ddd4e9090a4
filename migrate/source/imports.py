"""The imports of model.py."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable


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
    return "\n".join("".join(map(_line, sorted(map(_sorted, section.items())))) for section in sections if section)


#: Whether an import is a `from`, its module, and its names as isort orders them.
_Import = tuple[bool, str, list[tuple[bool, bool, str]]]


def _sorted(found: tuple[tuple[bool, str, str], list[str]]) -> _Import:
    """An import; of its names constants come before classes, and these before functions."""
    (is_from, module, _), names = found
    return is_from, module, sorted((not name.isupper(), not name[:1].isupper(), name) for name in names)


def _line(found: _Import) -> str:
    is_from, module, names = found
    return f"from {module} import {', '.join(name for *_, name in names)}\n" if is_from else f"import {module}\n"

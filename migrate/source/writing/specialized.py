"""Copied classes as this model uses them: without arguments that are always the same, and what depends on these."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from .folding import folded, return_at_once, value_of

#: How long a value may be that a docstring says in place of the name of an argument.
_SHORT = 20

#: Bases that read no attribute of the classes that extend them.
_BASES = {"nn.Module", "nn.ModuleList", "nn.Sequential", "nn.LSTM"}


def attributes_of(source: str) -> dict[str, str]:
    """Parameters of the constructor of a class that it only keeps -> the attribute; none where it can't be told."""
    tree = ast.parse(source).body[0]
    if not isinstance(tree, ast.ClassDef) or {ast.unparse(base) for base in tree.bases} - _BASES or not tree.bases:
        return {}
    init = _method(tree, "__init__")
    if init is None:
        return {}
    parameters = {arg.arg for arg in [*init.args.args[1:], *init.args.kwonlyargs]}
    found = {}
    for statement in init.body:
        match statement:
            case ast.Assign([ast.Attribute(ast.Name("self"), attribute)], ast.Name(name)) if name in parameters:
                found[name] = attribute
    stored = [n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
    names = [n.id for n in ast.walk(init) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return {name: attr for name, attr in found.items() if stored.count(attr) == 1 and name not in names}


def specialized(source: str, known: Mapping[str, Any], others: str) -> str:
    """The source of a class without some parameters of its constructor.

    Args:
        source: of the class.
        known: parameter -> its value.
        others: all else that is written beside the class, and may call its methods.
    """
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.ClassDef)
    if {ast.unparse(base) for base in tree.bases} - _BASES or tree.decorator_list:
        return source
    lines = source.splitlines()
    kept = attributes_of(source)
    attributes = {kept[name]: value for name, value in known.items()}
    before = {node.name: ast.dump(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            init = node.name == "__init__"
            if init:
                node.body = [s for s in node.body if not _keeps(s, attributes)]
                _drop_parameters(node, known)
            folded(node, known if init else {}, attributes)
            if "#" not in "\n".join(lines[node.lineno - 1 : node.end_lineno]):  # a comment would be lost
                return_at_once(node)
    _put_constants(tree, others)
    _drop_unread(tree, f"\n{others}")  # a name at the end of a class ends there
    parts: list[str] = []
    for node in tree.body:
        same = isinstance(node, ast.FunctionDef) and ast.dump(node) == before.get(node.name)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            parts.append(_docstring(lines[node.lineno - 1 : node.end_lineno], known))
        elif same and isinstance(node, ast.FunctionDef):
            start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            parts.append("\n".join(lines[start - 1 : node.end_lineno]))
        else:
            parts.append(_bare_tuples("\n".join(f"    {line}" for line in ast.unparse(node).splitlines())))
    head = f"class {tree.name}({', '.join(map(ast.unparse, tree.bases))}):"
    return "\n".join([head, "\n\n".join(part for part in parts if part) or "    pass"]) + "\n"


def _put_constants(tree: ast.ClassDef, others: str) -> None:
    """Puts numbers that the constructor works out, and nothing changes, to where they are read."""
    init = _method(tree, "__init__")
    stored = [n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
    found: dict[str, Any] = {}
    for statement in init.body if init is not None else []:
        match statement:
            case ast.Assign([ast.Attribute(ast.Name("self"), name)], value):
                known, number = value_of(value)
                if known and type(number) is int and stored.count(name) == 1 and not _read_elsewhere(name, others):
                    found[name] = number
    if init is None or not found:
        return
    init.body = [s for s in init.body if not (isinstance(s, ast.Assign) and _stores(s) in found)] or [ast.Pass()]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            folded(node, {}, found)


def _read_elsewhere(name: str, others: str) -> bool:
    """Does anything beside a class read an attribute of it, other than that of the same name of another?"""
    return re.search(rf"(?<!self)\.{name}\b|[\"']{name}[\"']", others) is not None


def _stores(statement: ast.Assign) -> str:
    """The attribute that a statement sets."""
    target = statement.targets[0]
    return target.attr if isinstance(target, ast.Attribute) else ""


def without_description(source: str) -> str:
    """The source of a class without `extra_repr`, which only torchmigrate's own printing needs."""
    tree = ast.parse(source).body[0]
    method = _method(tree, "extra_repr") if isinstance(tree, ast.ClassDef) and len(tree.body) > 1 else None
    if method is None:
        return source
    lines = source.splitlines()
    del lines[method.lineno - 1 : method.end_lineno]
    return "\n".join(lines).rstrip() + "\n"


def _method(tree: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    return next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def _keeps(statement: ast.stmt, attributes: Mapping[str, Any]) -> bool:
    """Does a statement keep a parameter as one of these attributes?"""
    match statement:
        case ast.Assign([ast.Attribute(ast.Name("self"), attribute)], ast.Name()):
            return attribute in attributes
    return False


def _drop_parameters(init: ast.FunctionDef, known: Mapping[str, Any]) -> None:
    args = init.args
    first = len(args.args) - len(args.defaults)
    pairs = [(arg, args.defaults[i - first] if i >= first else None) for i, arg in enumerate(args.args)]
    pairs = [(arg, default) for arg, default in pairs if arg.arg not in known]
    args.args = [arg for arg, _ in pairs]
    args.defaults = [default for _, default in pairs if default is not None]
    named = [pair for pair in zip(args.kwonlyargs, args.kw_defaults, strict=True) if pair[0].arg not in known]
    args.kwonlyargs, args.kw_defaults = [arg for arg, _ in named], [default for _, default in named]


def _drop_unread(tree: ast.ClassDef, others: str) -> None:
    """Takes out methods that nobody calls, annotations and buffers that nobody reads, and an empty constructor."""
    own = {"forward", "__init__", "train", "__getstate__", "__setstate__"}
    while True:
        text = ast.unparse(tree)
        body = [node for node in tree.body if _name_of(node) in {"", *own} or _read(_name_of(node), text, others)]
        for node in body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                node.body = [s for s in node.body if not (_unread_buffer(s, text, others) or _unread(s, text, others))]
                if [ast.unparse(s) for s in node.body] == [_passed_on(node.args)] and len(node.args.args) == 1:
                    body = [other for other in body if other is not node]
        if len(body) == len(tree.body) and ast.unparse(ast.ClassDef(tree.name, tree.bases, [], body, [])) == text:
            return
        tree.body = body


def _passed_on(args: ast.arguments) -> str:
    """How a constructor passes on all that it gets but for named arguments."""
    stars = [f"*{args.vararg.arg}"] if args.vararg else []
    stars += [f"**{args.kwarg.arg}"] if args.kwarg else []
    return "" if args.kwonlyargs else f"super().__init__({', '.join(stars)})"


def _name_of(node: ast.stmt) -> str:
    """The name of a method, or of an attribute of which the type is said."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is None:
        return node.target.id
    return node.name if isinstance(node, ast.FunctionDef) else ""


def _read(name: str, text: str, others: str) -> bool:
    """Is an attribute of this name read anywhere?"""
    return re.search(rf"(?<!\bF)(?<!\btorch)(?<!functional)\.{name}\b", text + others) is not None


def _unread_buffer(statement: ast.stmt, text: str, others: str) -> bool:
    """Does a statement make a buffer of nothing, which nobody reads, or say of what type an attribute is?"""
    match statement:
        case ast.Expr(ast.Call(ast.Attribute(ast.Name("self"), "register_buffer"), [ast.Constant(str(name)), value])):
            return isinstance(value, ast.Constant) and value.value is None and not _read(name, text, others)
        case ast.AnnAssign(ast.Attribute(ast.Name("self"), str(name)), value=None):
            return not re.search(rf"\.{name}\b(?!: )", text + others)
    return False


def _unread(statement: ast.stmt, text: str, others: str) -> bool:
    """Does a statement keep a parameter in an attribute that nobody reads?"""
    match statement:
        case ast.Assign([ast.Attribute(ast.Name("self"), attribute)], ast.Name()):
            return len(re.findall(rf"\.{attribute}\b|[\"']{attribute}[\"']", text + others)) == 1
    return False


def _docstring(lines: list[str], known: Mapping[str, Any]) -> str:
    """A docstring that says the values of arguments which are no more, and nothing else of them."""
    kept: list[str] = []
    dropping = False
    for line in lines:
        argument = re.match(r"^ {8}(\w+(?:, \w+)*): ", line)
        if argument:
            names = [name for name in argument[1].split(", ") if name not in known]
            dropping = not names
            line = f"{' ' * 8}{', '.join(names)}{line[argument.end(1) :]}"
        elif not line.startswith(" " * 12):
            dropping = False
        if not dropping:
            kept.append(line)
    text = "\n".join(kept)
    for name, value in known.items():
        text = _said(text, name, value)
    return re.sub(r'\n\n    Args:\n    """', '"""' if text.count("\n") == 3 else '\n    """', text)


def _said(text: str, name: str, value: Any) -> str:
    """A docstring with the value of an argument in its place; without the clause on an option that is off."""
    if value is None or value is False:
        return re.sub(rf"; [^;.]*`{name}`[^;.]*(?=[;.])", "", text)
    if isinstance(value, bool) or len(repr(value)) > _SHORT:
        return text
    noun = {"dim": "dimension ", "position": "position "}.get(name.rpartition("_")[2], "")
    return re.sub(rf"({noun})?`{name}`", f"{noun}{value}", text)


def _bare_tuples(text: str) -> str:
    """The same without the brackets around what several names are given."""
    return re.sub(r"^( *\w+(?:, \w+)+ = )(\(.*\))$", _without_brackets, text, flags=re.MULTILINE)


def _without_brackets(found: re.Match[str]) -> str:
    value = ast.parse(found[2], mode="eval").body
    return found[1] + (", ".join(map(ast.unparse, value.elts)) if isinstance(value, ast.Tuple) else found[2])

"""Writes an author's layer as a class of PyTorch."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .expressions import Body
from .graph import Node, read
from .lockstep import Explanations, Unexplained, atoms_of, merged, number
from .simplify import reads_fresh_memory, simplified

Path = tuple[Any, ...]


@dataclass
class Case:
    """What the layer computes for inputs of one kind.

    Attributes:
        sizes: for each tensor of the input its dimensions; text is a free size.
        nested: is the input a list?
        body: the statements.
        gives_list: is its output a list?
    """

    sizes: list[list[int | str]]
    nested: bool
    body: list[ast.stmt]
    gives_list: bool


@dataclass
class Written:
    """A layer as source.

    Attributes:
        name: of the class.
        text: the source of a module that holds it.
        fields: path of a tensor of the object -> attribute.
        children: path of a module -> attribute.
        refused: kinds of inputs that its Lua takes and the class does not, with the reasons.
        training: why it can't be run in training; "" if it can.
        memory: whose memory its output is, in the words of the traits: "own", "pass", "write".
    """

    name: str
    text: str = ""
    fields: dict[Path, str] = field(default_factory=dict)
    children: dict[Path, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    training: str = ""
    memory: str = "own"


class Attributes:
    """Names of attributes for what is in an object."""

    def __init__(self) -> None:
        self.fields: dict[Path, str] = {}
        self.children: dict[Path, str] = {}

    def field(self, path: Path) -> str:
        """The attribute of a tensor."""
        return self.fields.setdefault(path, self._name(path))

    def child(self, path: Path) -> str:
        """The attribute of a module."""
        return self.children.setdefault(path, self._name(path))

    def _name(self, path: Path) -> str:
        parts = ["module" if part == "modules" else str(part) for part in path]
        name = re.sub(r"\W", "_", "_".join(parts)).strip("_") or "tensor"
        taken = {*self.fields.values(), *self.children.values(), *_TAKEN}
        while not name.isidentifier() or keyword.iskeyword(name) or name in taken:
            name = f"{name}_" if name.isidentifier() else f"field_{name}"
        return name


#: Attributes of nn.Module that a field may not hide.
_TAKEN = frozenset(
    [
        "forward",
        "training",
        "train",
        "eval",
        "parameters",
        "buffers",
        "modules",
        "children",
        "type",
        "float",
        "double",
        "half",
        "cpu",
        "cuda",
        "to",
        "apply",
        "state_dict",
        "register_buffer",
        "dump_patches",
        "extra_repr",
        "bfloat16",
        "T_destination",
        "call_super_init",
        "share_memory",
        "compile",
        "add_module",
        "ipu",
        "xpu",
        "mtia",
    ]
)


def written(said: dict[str, Any], typename: str, file: str, parameters: Sequence[Path], dtype: str) -> Written:
    """A layer as a class.

    Args:
        said: what `explore` found.
        typename: its class in Lua.
        file: the name of the Lua file.
        parameters: where its parameters are in the object.
        dtype: the type of its numbers.

    Raises:
        Unexplained: it can't be written; the message is the reason.
    """
    attributes = Attributes()
    made = Written(_class_name(typename))
    cases: list[Case] = []
    memories: set[str] = set()
    for one in said["patterns"]:
        text = _sizes_text(one["pattern"])
        if "graphs" not in one:
            made.refused.append(f"{text}: {one['refused']}")
            continue
        try:
            cases.append(_case(one, attributes, dtype))
        except Unexplained as error:
            made.refused.append(f"{text}: {error}")
            continue
        if one.get("training_refused"):
            made.training = made.training or str(one["training_refused"])
        elif one.get("training") != one["graphs"]:
            made.training = made.training or "in training it computes something else"
        writes = any(graph["writes"] for graph in one["graphs"])
        if writes and not all(graph["same"] for graph in one["graphs"]):
            raise Unexplained("it changes its input, and gives something else")
        passes = any(graph["passes"] for graph in one["graphs"])
        memories.add("write" if writes else "pass" if passes else "own")
    if not cases:
        raise Unexplained(
            made.refused[0].partition(": ")[2] if made.refused else "no input was found that its Lua takes"
        )
    if len(memories) > 1:
        raise Unexplained("whether it gives the memory of its input depends on the kind of input")
    made.memory = memories.pop()
    made.fields, made.children = attributes.fields, attributes.children
    made.text = _module_text(made, cases, typename, file, parameters)
    return made


def _case(one: dict[str, Any], attributes: Attributes, dtype: str) -> Case:
    pattern = one["pattern"]
    inputs = _inputs(len(pattern["sizes"]), pattern["nested"])
    sizes = [graph["sizes"] for graph in one["graphs"]]
    texts = []
    body: Body | None = None
    for run in range(len(one["graphs"][0]["runs"])):
        graphs = [simplified(read(graph["runs"][run])) for graph in one["graphs"]]
        if any(reads_fresh_memory(graph) for graph in graphs):
            raise Unexplained("what it gives depends on memory that nothing was written to")
        whole = merged(graphs)
        if not isinstance(whole, Node) and not all(isinstance(part, Node) for part in whole):
            raise Unexplained("its output is a table of tables")
        trial = Body(whole, inputs, attributes.field, attributes.child, Explanations(atoms_of(sizes), inputs), dtype)
        body = body or trial
        texts.append(_text(trial.statements))
    if len(set(texts)) > 1:
        raise Unexplained("it keeps state: what it gives depends on what it was run on before")
    assert body is not None
    if any(graph["writes"] for graph in one["graphs"]):
        body.statements[-1:] = _in_place(body.statements[-1])
    return Case(pattern["sizes"], pattern["nested"], body.statements, body.gives_list)


def _in_place(last: ast.stmt) -> list[ast.stmt]:
    """Gives the result in the memory of the input, where the layer is in place."""
    assert isinstance(last, ast.Return)
    assert last.value is not None
    kept = ast.Call(ast.Attribute(ast.Name("x"), "copy_"), [ast.Name("result")], [])
    inplace = ast.Attribute(ast.Name("self"), "inplace")
    return [
        ast.Assign([ast.Name("result")], last.value, lineno=0),
        ast.Return(ast.IfExp(inplace, kept, ast.Name("result"))),
    ]


def _inputs(count: int, nested: bool) -> list[str]:
    return [f"x{place}" for place in range(1, count + 1)] if nested else ["x"]


def _text(statements: Sequence[ast.stmt]) -> str:
    return "\n".join(ast.unparse(ast.fix_missing_locations(statement)) for statement in statements)


def _class_name(typename: str) -> str:
    name = re.sub(r"\W", "", typename.rpartition(".")[2])
    name = name if name.isidentifier() and not keyword.iskeyword(name) else f"Layer{name}"
    return name[:1].upper() + name[1:]


def _sizes_text(pattern: dict[str, Any]) -> str:
    texts = []
    for sizes in pattern["sizes"]:
        parts = [str(size) if isinstance(size, int) else size.replace("s", "n", 1) for size in sizes]
        texts.append(f"({', '.join(parts)}{',' if len(parts) == 1 else ''})")
    return f"[{', '.join(texts)}]" if pattern["nested"] else texts[0]


def _module_text(made: Written, cases: list[Case], typename: str, file: str, parameters: Sequence[Path]) -> str:
    lines = ["import torch", "from torch import nn", "", "", f"class {made.name}(nn.Module):"]
    lines += [f'    """{_plain(typename)}, written from its Lua ({_plain(file)})."""', ""]
    init, names = [], []
    for path, attribute in made.fields.items():
        names.append(f"{attribute}_size: tuple[int, ...]")
        init.append(f"self.{attribute}_size = tuple({attribute}_size)")
        if path in parameters:
            init.append(f"self.{attribute} = nn.Parameter(torch.empty({attribute}_size))")
        else:
            init.append(f'self.register_buffer("{attribute}", torch.empty({attribute}_size))')
    for attribute in made.children.values():
        names.append(f"{attribute}: nn.Module")
        init.append(f"self.{attribute} = {attribute}")
    if made.memory == "write":
        names.append("inplace: bool = False")
        init.append("self.inplace = inplace")
    if init:
        lines.append(f"    def __init__(self, {', '.join(names)}) -> None:")
        lines += [f"        {line}" for line in ("super().__init__()", *init)]
        lines.append("")
    takes = "list[torch.Tensor]" if cases[0].nested else "torch.Tensor"
    gives = " | ".join(sorted({"list[torch.Tensor]" if case.gives_list else "torch.Tensor" for case in cases}))
    lines.append(f"    def forward(self, x: {takes}) -> {gives}:")
    lines += [f"        {line}" for line in _forward(made, cases, typename)]
    return "\n".join(lines) + "\n"


def _forward(made: Written, cases: list[Case], typename: str) -> list[str]:
    lines = []
    name = _plain(typename)
    if made.training:
        lines += [
            "if self.training:",
            f"    raise NotImplementedError({_string(f'{name} in training: {made.training}')})",
        ]
    nested = cases[0].nested
    names = _inputs(len(cases[0].sizes), nested)
    if nested:
        lines.append(f"{', '.join(names)}{',' if len(names) == 1 else ''} = x")
    bodies: dict[str, list[Case]] = {}
    for case in cases:
        bodies.setdefault(_text(case.body), []).append(case)
    every_rank = len(bodies) == 1 and not nested and len(cases) == 5
    if every_rank and all(isinstance(size, str) for case in cases for sizes in case.sizes for size in sizes):
        return lines + next(iter(bodies)).splitlines()
    for text, some in bodies.items():
        test = ast.unparse(ast.fix_missing_locations(_any([_takes(case, names) for case in some])))
        lines.append(f"if {test}:")
        lines += [f"    {line}" for line in text.splitlines()]
    takes = " or ".join(_sizes_text({"sizes": case.sizes, "nested": case.nested}) for case in cases)
    lines.append(f"raise ValueError({_string(f'{name} is known for inputs of the sizes {takes}')})")
    return lines


def _takes(case: Case, names: Sequence[str]) -> ast.expr:
    """Is an input of this kind?"""
    tests: list[ast.expr] = []
    for name, sizes in zip(names, case.sizes, strict=True):
        rank = ast.Call(ast.Attribute(ast.Name(name), "dim"), [], [])
        tests.append(ast.Compare(rank, [ast.Eq()], [number(len(sizes))]))
        for axis, size in enumerate(sizes):
            if isinstance(size, int):
                extent = ast.Subscript(ast.Attribute(ast.Name(name), "shape"), number(axis))
                tests.append(ast.Compare(extent, [ast.Eq()], [number(size)]))
    return ast.BoolOp(ast.And(), tests) if len(tests) > 1 else tests[0]


def _any(tests: list[ast.expr]) -> ast.expr:
    return ast.BoolOp(ast.Or(), tests) if len(tests) > 1 else tests[0]


def _plain(text: str) -> str:
    """Text from a file, as a comment may hold it."""
    return re.sub(r"[^\w .:,+()/-]", "_", text)


def _string(text: str) -> str:
    return ast.unparse(ast.Constant(re.sub(r"[^\x20-\x7e]", "_", text)))

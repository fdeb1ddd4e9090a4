"""Writes an author's layer as a class of PyTorch."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..graph import Node, read
from .expressions import Body
from .lockstep import Explanations, Unexplained, atoms_of, merged, number
from .own_backward import (
    PASSES,
    backward_statements,
    check_no_modules,
    forward_statements,
    gradients,
    local_names,
)
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
        outputs: how many tensors its output has.
        backward: the statements of a backward pass of its own.
    """

    sizes: list[list[int | str]]
    nested: bool
    body: list[ast.stmt]
    gives_list: bool
    outputs: int = 1
    backward: list[ast.stmt] = field(default_factory=list)


@dataclass
class Written:
    """A layer as source.

    Attributes:
        name: of the class.
        text: the source of a module that holds it.
        fields: path of a tensor of the object -> attribute.
        children: path of a module -> attribute.
        kinds: which of the kinds of inputs that were explored the class takes.
        refused: kinds of inputs that its Lua takes and the class does not, with the reasons.
        training: why it can't be run in training; "" if it can.
        memory: whose memory its output is, in the words of the traits: "own", "pass", "write".
        backward: how its backward pass, which is written as well, differs from the derivative; "" if autograd has it.
    """

    name: str
    text: str = ""
    fields: dict[Path, str] = field(default_factory=dict)
    children: dict[Path, str] = field(default_factory=dict)
    kinds: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    training: str = ""
    memory: str = "own"
    backward: str = ""


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


def written(
    said: dict[str, Any], typename: str, file: str, parameters: Sequence[Path], dtype: str, backward: str = ""
) -> Written:
    """A layer as a class.

    Args:
        said: what `explore` found.
        typename: its class in Lua.
        file: the name of the Lua file.
        parameters: where its parameters are in the object.
        dtype: the type of its numbers.
        backward: how its backward pass differs from the derivative, if it is to be written.

    Raises:
        Unexplained: it can't be written; the message is the reason.
    """
    attributes = Attributes()
    made = Written(_class_name(typename), backward=backward)
    cases: list[Case] = []
    memories: set[str] = set()
    for place, one in enumerate(said["patterns"]):
        text = _sizes_text(one["pattern"])
        if "graphs" not in one:
            made.refused.append(f"{text}: {one['refused']}")
            continue
        try:
            cases.append(_case(one, attributes, dtype, bool(backward)))
            made.kinds.append(place)
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


def _case(one: dict[str, Any], attributes: Attributes, dtype: str, backward: bool) -> Case:
    pattern = one["pattern"]
    inputs = _inputs(len(pattern["sizes"]), pattern["nested"])
    sizes = [graph["sizes"] for graph in one["graphs"]]
    texts = []
    body: Body | None = None
    back: Body | None = None
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
        if backward:
            grads = gradients(one, run)
            check_no_modules(whole, grads)
            count = 1 if isinstance(whole, Node) else len(whole)
            names = [*inputs, *_gradients_of(count)]
            formulas = Explanations(atoms_of(sizes), inputs)
            other = Body(grads, names, attributes.field, attributes.child, formulas, dtype)
            back = back or other
            texts[-1] += f"\n{_text(other.statements)}"
    if len(set(texts)) > 1:
        raise Unexplained("it keeps state: what it gives depends on what it was run on before")
    assert body is not None
    if any(graph["writes"] for graph in one["graphs"]) and back is None:
        body.statements[-1:] = _in_place(body.statements[-1])
    outputs = 1 if isinstance(whole, Node) else len(whole)
    return Case(
        pattern["sizes"], pattern["nested"], body.statements, body.gives_list, outputs, back.statements if back else []
    )


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


def _gradients_of(outputs: int) -> list[str]:
    return ["grad"] if outputs == 1 else [f"grad{place}" for place in range(1, outputs + 1)]


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
    lines = ["import torch", "from torch import nn", "", ""]
    if made.backward:
        lines += [*_passes_text(made, cases, typename, parameters), "", ""]
    lines.append(f"class {made.name}(nn.Module):")
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
    body = _applied(made, cases) if made.backward else _dispatched(cases, [case.body for case in cases], typename)
    lines += [f"        {line}" for line in [*_head(made, cases, typename), *body]]
    return "\n".join(lines) + "\n"


def _passes_text(made: Written, cases: list[Case], typename: str, parameters: Sequence[Path]) -> list[str]:
    """The class with the forward pass and a backward pass of its own."""
    if len({(case.outputs, case.gives_list) for case in cases}) > 1:
        raise Unexplained("how many tensors it gives depends on the kind of input")
    local = local_names(made.fields)
    inputs = _inputs(len(cases[0].sizes), cases[0].nested)
    taken = [*inputs, *local.values()]
    grads = _gradients_of(cases[0].outputs)
    gives = "torch.Tensor" if not cases[0].gives_list else "tuple[torch.Tensor, ...]"
    forward = [forward_statements(case.body, local, inputs) for case in cases]
    backward = [backward_statements(case.backward, local, made.fields, parameters, len(inputs)) for case in cases]
    context = "ctx: torch.autograd.function.FunctionCtx"
    back = "torch.Tensor | None" if len(taken) == 1 else "tuple[torch.Tensor | None, ...]"
    saved = f"{', '.join(taken)}{',' if len(taken) == 1 else ''} = ctx.saved_tensors"
    lines = [f"class {made.name}{PASSES}(torch.autograd.Function):"]
    lines += [
        f'    """The passes of {_plain(typename)}; its backward pass is what its Lua gives, not the derivative."""'
    ]
    lines += ["", "    @staticmethod"]
    lines.append(f"    def forward({', '.join(f'{name}: torch.Tensor' for name in taken)}) -> {gives}:")
    lines += [f"        {line}" for line in _dispatched(cases, forward, typename)]
    lines += [
        "",
        "    @staticmethod",
        f"    def setup_context({context}, inputs: tuple, output: torch.Tensor) -> None:",
    ]
    lines += ["        ctx.save_for_backward(*inputs)", "", "    @staticmethod"]
    lines.append(f"    def backward({context}, {', '.join(f'{name}: torch.Tensor' for name in grads)}) -> {back}:")
    lines += [f"        {line}" for line in [saved, *_dispatched(cases, backward, typename)]]
    return lines


def _applied(made: Written, cases: list[Case]) -> list[str]:
    """Calls the class of the passes."""
    inputs = _inputs(len(cases[0].sizes), cases[0].nested)
    if made.memory == "write":
        inputs = ["x.clone() if self.inplace else x"]
    call = f"{made.name}{PASSES}.apply({', '.join([*inputs, *[f'self.{name}' for name in made.fields.values()]])})"
    if made.memory == "write":
        return [f"result = {call}", "return x.copy_(result) if self.inplace else result"]
    return [f"return list({call})" if cases[0].gives_list else f"return {call}"]


def _head(made: Written, cases: list[Case], typename: str) -> list[str]:
    """What the forward method begins with."""
    lines = []
    if made.training:
        lines += [
            "if self.training:",
            f"    raise NotImplementedError({_string(f'{_plain(typename)} in training: {made.training}')})",
        ]
    names = _inputs(len(cases[0].sizes), cases[0].nested)
    if cases[0].nested:
        lines.append(f"{', '.join(names)}{',' if len(names) == 1 else ''} = x")
    return lines


def _dispatched(cases: list[Case], statements: list[list[ast.stmt]], typename: str) -> list[str]:
    """For each kind of input its statements."""
    lines: list[str] = []
    name = _plain(typename)
    nested = cases[0].nested
    names = _inputs(len(cases[0].sizes), nested)
    bodies: dict[str, list[Case]] = {}
    for case, body in zip(cases, statements, strict=True):
        bodies.setdefault(_text(body), []).append(case)
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

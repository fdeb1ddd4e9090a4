"""The source of a layer's class."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from .cases import Case, Path, Written, gradients_of, inputs_of, sizes_text, text_of
from .lockstep import Unexplained, number
from .own_backward import PASSES, backward_statements, forward_statements, local_names


def module_text(made: Written, cases: list[Case], typename: str, file: str, parameters: Sequence[Path]) -> str:
    """The source of a module that holds the class.

    Args:
        made: what the class holds.
        cases: what it computes for each kind of input.
        typename: its class in Lua.
        file: the name of the Lua file.
        parameters: where its parameters are in the object.

    Raises:
        Unexplained: it can't be written; the message is the reason.
    """
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
    listed = len(inputs_of(len(cases[0].sizes), cases[0].nested, made.criterion)) > 2 or not made.criterion
    takes = "list[torch.Tensor]" if cases[0].nested and listed else "torch.Tensor"
    if made.criterion:
        takes += ", target: torch.Tensor"
    gives = " | ".join(sorted({"list[torch.Tensor]" if case.gives_list else "torch.Tensor" for case in cases}))
    lines.append(f"    def forward(self, x: {takes}) -> {gives}:")
    bodies = [case.body for case in cases]
    body = _applied(made, cases) if made.backward else _dispatched(made, cases, bodies, typename)
    lines += [f"        {line}" for line in [*_head(made, cases, typename), *body]]
    return "\n".join(lines) + "\n"


def _passes_text(made: Written, cases: list[Case], typename: str, parameters: Sequence[Path]) -> list[str]:
    """The class with the forward pass and a backward pass of its own."""
    if len({(case.outputs, case.gives_list) for case in cases}) > 1:
        raise Unexplained("how many tensors it gives depends on the kind of input")
    local = local_names(made.fields)
    inputs = inputs_of(len(cases[0].sizes), cases[0].nested, made.criterion)
    taken = [*inputs, *local.values()]
    grads = gradients_of(cases[0].outputs)
    gives = "torch.Tensor" if not cases[0].gives_list else "tuple[torch.Tensor, ...]"
    forward = [forward_statements(case.body, local, inputs) for case in cases]
    backward = [
        backward_statements(case.backward, local, made.fields, parameters, len(inputs), made.criterion)
        for case in cases
    ]
    context = "ctx: torch.autograd.function.FunctionCtx"
    back = "torch.Tensor | None" if len(taken) == 1 else "tuple[torch.Tensor | None, ...]"
    saved = f"{', '.join(taken)}{',' if len(taken) == 1 else ''} = ctx.saved_tensors"
    lines = [f"class {made.name}{PASSES}(torch.autograd.Function):"]
    lines += [
        f'    """The passes of {_plain(typename)}; its backward pass is what its Lua gives, not the derivative."""'
    ]
    lines += ["", "    @staticmethod"]
    lines.append(f"    def forward({', '.join(f'{name}: torch.Tensor' for name in taken)}) -> {gives}:")
    lines += [f"        {line}" for line in _dispatched(made, cases, forward, typename)]
    lines += [
        "",
        "    @staticmethod",
        f"    def setup_context({context}, inputs: tuple, output: torch.Tensor) -> None:",
    ]
    lines += ["        ctx.save_for_backward(*inputs)", "", "    @staticmethod"]
    lines.append(f"    def backward({context}, {', '.join(f'{name}: torch.Tensor' for name in grads)}) -> {back}:")
    lines += [f"        {line}" for line in [saved, *_dispatched(made, cases, backward, typename)]]
    return lines


def _applied(made: Written, cases: list[Case]) -> list[str]:
    """Calls the class of the passes."""
    inputs = inputs_of(len(cases[0].sizes), cases[0].nested, made.criterion)
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
    names = inputs_of(len(cases[0].sizes), cases[0].nested, made.criterion)
    listed = [name for name in names if name != "target"] if made.criterion else names
    if cases[0].nested and listed != ["x"]:
        lines.append(f"{', '.join(listed)}{',' if len(listed) == 1 else ''} = x")
    return lines


def _dispatched(made: Written, cases: list[Case], statements: list[list[ast.stmt]], typename: str) -> list[str]:
    """For each kind of input its statements."""
    lines: list[str] = []
    name = _plain(typename)
    nested = cases[0].nested
    names = inputs_of(len(cases[0].sizes), nested, made.criterion)
    bodies: dict[tuple[bool, str], list[Case]] = {}
    for case, body in zip(cases, statements, strict=True):
        bodies.setdefault((not case.empty, text_of(body)), []).append(case)
    every_rank = len(bodies) == 1 and not nested and len(cases) == 5
    every_rank = every_rank and not any(case.above_one for case in cases)
    if every_rank and all(isinstance(size, str) for case in cases for sizes in case.sizes for size in sizes):
        return lines + next(iter(bodies))[1].splitlines()
    for (_, text), some in bodies.items():
        test = ast.unparse(ast.fix_missing_locations(_any([_takes(case, names) for case in some])))
        lines.append(f"if {test}:")
        lines += [f"    {line}" for line in text.splitlines()]
    takes = " or ".join(sizes_text({"sizes": case.sizes, "nested": case.nested}) for case in cases)
    lines.append(f"raise ValueError({_string(f'{name} is known for inputs of the sizes {takes}')})")
    return lines


def _takes(case: Case, names: Sequence[str]) -> ast.expr:
    """Is an input of this kind?"""
    tests: list[ast.expr] = []
    for name, sizes in zip(names, case.sizes, strict=True):
        if 0 in sizes:
            count = ast.Call(ast.Attribute(ast.Name(name), "numel"), [], [])
            tests.append(ast.Compare(count, [ast.Eq()], [number(0)]))
            continue
        rank = ast.Call(ast.Attribute(ast.Name(name), "dim"), [], [])
        tests.append(ast.Compare(rank, [ast.Eq()], [number(len(sizes))]))
        for axis, size in enumerate(sizes):
            extent = ast.Subscript(ast.Attribute(ast.Name(name), "shape"), number(axis))
            if isinstance(size, int):
                tests.append(ast.Compare(extent, [ast.Eq()], [number(size)]))
            elif size in case.above_one:
                tests.append(ast.Compare(extent, [ast.Gt()], [number(1)]))
    return ast.BoolOp(ast.And(), tests) if len(tests) > 1 else tests[0]


def _any(tests: list[ast.expr]) -> ast.expr:
    return ast.BoolOp(ast.Or(), tests) if len(tests) > 1 else tests[0]


def _plain(text: str) -> str:
    """Text from a file, as a comment may hold it."""
    return re.sub(r"[^\w .:,+()/-]", "_", text)


def _string(text: str) -> str:
    return ast.unparse(ast.Constant(re.sub(r"[^\x20-\x7e]", "_", text)))

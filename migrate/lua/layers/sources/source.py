"""Writes an author's layer as a class of PyTorch."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..graph import Node, read
from .cases import Case, Path, Written, distinct, gradients_of, inputs_of, sizes_text, text_of
from .expressions import Body
from .lockstep import Explanations, Unexplained, atoms_of
from .loops import merged_with_loops
from .module_text import module_text
from .own_backward import check_no_modules, gradients
from .simplify import narrowed, reads_fresh_memory, simplified


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

_UNWRITTEN = "what it gives depends on memory that nothing was written to"


def written(
    said: dict[str, Any],
    typename: str,
    file: str,
    parameters: Sequence[Path],
    dtype: str,
    backward: str = "",
    least: Mapping[int, Collection[str]] | None = None,
) -> Written:
    """A layer as a class.

    Args:
        said: what `explore` found.
        typename: its class in Lua.
        file: the name of the Lua file.
        parameters: where its parameters are in the object.
        dtype: the type of its numbers.
        backward: how its backward pass differs from the derivative, if it is to be written.
        least: for kinds of inputs the free sizes that must not be 1.

    Raises:
        Unexplained: it can't be written; the message is the reason.
    """
    if said.get("unsure"):
        raise Unexplained(said["unsure"])
    attributes = Attributes()
    made = Written(_class_name(typename), backward=backward, criterion=bool(said.get("criterion")))
    cases: list[Case] = []
    memories: set[str] = set()
    written_not = ""
    for place, one in enumerate(said["patterns"]):
        text = sizes_text(one["pattern"])
        if "graphs" not in one:
            made.refused.append(f"{text}: {one['refused']}")
            continue
        try:
            case = _case(one, attributes, dtype, bool(backward), made.criterion)
            case.above_one = frozenset((least or {}).get(place, ()))
            made.above += [f"{name.replace('s', 'n', 1)} of {text}" for name in sorted(case.above_one)]
            cases.append(case)
            made.kinds.append(place)
        except Unexplained as error:
            free = any(isinstance(size, str) for sizes in one["pattern"]["sizes"] for size in sizes)
            written_not = written_not or (str(error) if free else "")
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
    if written_not and not any(isinstance(size, str) for case in cases for sizes in case.sizes for size in sizes):
        raise Unexplained(written_not)  # what is left are inputs of one size, for which it was not made
    if not cases:
        ended = f'; on the first that was tried it ends with "{said["ended"]}"' if said.get("ended") else ""
        found_none = said.get("unwritten") or f"no input was found that its Lua takes{ended}"
        raise Unexplained(made.refused[0].partition(": ")[2] if made.refused else found_none)
    if len(memories) > 1:
        raise Unexplained("whether it gives the memory of its input depends on the kind of input")
    made.memory = memories.pop()
    own = attributes.fields  # parameters come in the order in which Torch7 lists them
    made.fields = {path: own[path] for path in [*(path for path in parameters if path in own), *own]}
    made.children = attributes.children
    made.text = module_text(made, distinct(cases), typename, file, parameters)
    return made


def _case(one: dict[str, Any], attributes: Attributes, dtype: str, backward: bool, criterion: bool) -> Case:
    pattern = one["pattern"]
    inputs = inputs_of(len(pattern["sizes"]), pattern["nested"], criterion)
    sizes = [graph["sizes"] for graph in one["graphs"]]
    texts = []
    body: Body | None = None
    back: Body | None = None
    for run in range(len(one["graphs"][0]["runs"])):
        graphs = [simplified(narrowed(read(graph["runs"][run]), dtype)) for graph in one["graphs"]]
        if any(reads_fresh_memory(graph) for graph in graphs):
            raise Unexplained(_UNWRITTEN)
        whole = merged_with_loops(graphs, sizes)
        if not isinstance(whole, Node) and not all(isinstance(part, Node) for part in whole):
            raise Unexplained("its output is a table of tables")
        trial = Body(whole, inputs, attributes.field, attributes.child, Explanations(atoms_of(sizes), inputs), dtype)
        body = body or trial
        texts.append(text_of(trial.statements))
        if backward:
            grads = gradients(one, run, dtype)
            check_no_modules(whole, grads)
            count = 1 if isinstance(whole, Node) else len(whole)
            names = [*inputs, *gradients_of(count)]
            formulas = Explanations(atoms_of(sizes), inputs)
            other = Body(grads, names, attributes.field, attributes.child, formulas, dtype)
            back = back or other
            texts[-1] += f"\n{text_of(other.statements)}"
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


def _class_name(typename: str) -> str:
    name = re.sub(r"\W", "", typename.rpartition(".")[2])
    name = name if name.isidentifier() and not keyword.iskeyword(name) else f"Layer{name}"
    return name[:1].upper() + name[1:]

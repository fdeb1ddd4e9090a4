"""What inspect found: the file, where it comes from, its contents, a tree of each model, its tensors."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from ...base.messages import shell_words, visible
from ...inspection.byte_sizes import Sizes
from ...inspection.contents import Content
from ...inspection.inspect import Inspection
from ...inspection.statistics import Statistics
from ...inspection.tree import Model, ModuleNode
from ...model.locate import is_criterion
from ...model.supported_classes import Support, table
from .terminal import bytes_text, plain_table, printable, show_next, text_console

#: How many entries of a nested table are shown.
_MAX_SHOWN = 12


def show_inspection(found: Inspection, depth: int | None, given: str) -> None:
    """What `inspect` found, from the file as a whole to its single tensors.

    Args:
        found: what it found.
        depth: down to which the trees are shown; None: all.
        given: the file as the user wrote it.
    """
    console = text_console()
    longs = f", {found.long_size}-byte longs" if found.long_size else ""
    functions = f", {found.functions} Lua functions (never run)" if found.functions else ""
    console.print(
        f"[bold]{printable(found.file)}[/]: {bytes_text(found.size)}, {found.format}{longs}{functions}", soft_wrap=True
    )
    for remark in found.remarks:
        console.print(f"  {printable(remark)}")
    if found.error is not None:
        console.print(f"  [red]{printable(shell_words(found.error))}[/]")
        for lost in found.lost:
            console.print(f"    lost: {printable(lost)}")
    console.print(f"  {printable(found.origin.text)}")
    for evidence in found.origin.decisive:
        console.print(f"    [dim]{evidence.sure}: {printable(evidence.what)}[/]")
    if text := _sizes_text(found.sizes):
        console.print(f"  {text}")
    if found.objects != 1:
        console.print(f"  {found.objects} objects one after the other; the first is shown")
    if "" not in found.contents:
        rows = plain_table(columns=3)
        _rows(rows, found.contents, 1, 2 if depth is None else depth)
        console.print(rows)
    elif (whole := found.contents[""]).kind not in ("model", "criterion"):
        kind = "" if whole.text.startswith(whole.kind) else f"[dim]{whole.kind}[/] "
        console.print(f"  {kind}{printable(whole.text)}")
        rows = plain_table(columns=3)
        _rows(rows, whole.entries, 1, 2 if depth is None else depth)
        console.print(rows)
    for function in found.lua_functions[:_MAX_SHOWN]:
        closed = f", closes over {', '.join(function.upvalues)}" if function.upvalues else ""
        told = f"{function.bytes} bytes of {function.compiler or 'code'}{closed}"
        console.print(f"  function at {printable(function.path or 'the top')}: {printable(told)}")
    for model in found.models:
        _show_model(console, model, depth)
    for line in found.preprocessing.lines() if found.preprocessing is not None else ():
        console.print(printable(line))
    if found.tensors is not None:
        _show_tensors(console, found.tensors)
    show_next(console, _next(found, given))


def _next(found: Inspection, given: str) -> str:
    """The command that is likely wanted next."""
    file = "FILE" if given == "-" else shlex.quote(visible(given))
    if found.error is not None:
        return "get the file again, if there is a whole one"
    if not found.models:
        return f"torchmigrate extract {file}"
    networks = [model for model in found.models if not is_criterion(model.typename)]
    held = [model for model in networks if model.held]
    if held and all(model.tree.children and not model.tree.convertible for model in networks if not model.held):
        return f"torchmigrate convert {file} --key {shlex.quote(visible(held[0].key))}, or --all-keys"
    key = f" --key {shlex.quote(visible(networks[0].key))}" if len(networks) > 1 else ""
    if any(model.unsupported for model in found.models):
        return (
            f"torchmigrate convert {file}{key} --lua MyLayer.lua"
            "  (or --plugin my_layers.py, or --alias my.Class=nn.Class)"
        )
    return f"torchmigrate convert {file}{key}"


def _sizes_text(sizes: Sizes) -> str:
    parts = {
        "weights": sizes.weights,
        "gradients": sizes.gradients,
        "left by runs": sizes.left_by_runs,
        "other tensors": sizes.other,
        "structure": sizes.structure or 0,
    }
    total = sum(parts.values())
    told = [f"{name} {bytes_text(size)} ({size / total:.0%})" for name, size in parts.items() if size > 0 and total]
    return (
        ("of its bytes: " if sizes.structure is not None else "its numbers in memory: ") + ", ".join(told)
        if told
        else ""
    )


def _rows(table: Table, contents: Mapping[str, Content], level: int, depth: int) -> None:
    for i, (key, content) in enumerate(contents.items()):
        if level > 1 and i >= _MAX_SHOWN:
            table.add_row(f"{'  ' * level}…", "", f"{len(contents) - i} more (--json shows them)")
            return
        kind = "" if content.text.startswith(content.kind) else content.kind
        table.add_row(f"{'  ' * level}{printable(key)}", f"[dim]{kind}[/]", printable(content.text))
        if level < depth:
            _rows(table, content.entries, level + 1, depth)


def _show_model(console: Console, model: Model, depth: int | None) -> None:
    name = f"{model.key}: " if model.key else ""
    count = model.recorded
    recorded = f", {count} module{'s hold' if count > 1 else ' holds'} the output of the last run" if count else ""
    recorded = "" if model.input else recorded
    title = f"{name}{model.typename}, {model.parameters:,} parameters"
    tree = Tree(f"[bold]{printable(title)}[/] ({bytes_text(model.bytes)}){recorded}")
    _grow(tree, model.tree, depth)
    if model.input:
        console.print(f"input {printable(model.input)}")
    console.print(tree)
    modes = [node.train for node in model.tree.walk() if node.train is not None]
    if modes:
        training = sum(modes)
        which = "training" if training == len(modes) else "evaluate" if not training else "mixed"
        console.print(f"saved in {which} mode" + (f" ({training} of {len(modes)} train)" if which == "mixed" else ""))
    _show_classes(console, model)


def _show_classes(console: Console, model: Model) -> None:
    """Each class, how often, and what it becomes."""
    supported = table()
    rows = plain_table(columns=3)
    for typename, count in model.classes.items():
        row = supported.get(typename)
        became = Counter(
            node.became for node in model.tree.walk() if node.typename == typename and node.became and not node.shared
        )
        if became:
            counts = (f"{name} x{times}" if len(became) > 1 else name for name, times in became.items())
            becomes = printable(", ".join(counts))
        else:
            becomes = "[red]no converter[/]" if row is None else printable(_candidates(row))
            if row is None and typename not in model.unsupported:
                becomes = "what its Lua computes"
        rows.add_row(f"  {printable(typename)}", f"x{count}", becomes)
    console.print(rows)
    if model.unsupported:
        listed = ", ".join(f"{typename} ({len(paths)})" for typename, paths in model.unsupported.items())
        console.print(f"[red]no converter for:[/] {printable(listed)}")
    else:
        console.print("[green]every class has a converter[/]")


def _candidates(row: Support) -> str:
    """What a class can become, as far as that is known without converting."""
    if len(row.modules) < 2:
        return ", ".join(row.modules) or "supported"
    return f"{', '.join(row.modules[:-1])} or {row.modules[-1]} (--shapes says which)"


def _grow(tree: Tree, node: ModuleNode, depth: int | None) -> None:
    if depth == 0:
        return
    for child in node.children:
        _grow(tree.add(_line(child)), child, None if depth is None else depth - 1)


def _line(node: ModuleNode) -> str:
    colour = "" if node.convertible else "[red]"
    text = f"{printable(node.path)} {colour}{printable(node.typename)}{'[/]' if colour else ''}"
    if node.name:
        text += f" {printable(repr(node.name))}"
    if node.shared is not None:
        text += f" [dim]the same object as {printable(node.shared or 'the model')}[/]"
    if node.tensors:
        tensors = " ".join(f"{name} {size}" for name, size in node.tensors.items())
        text += f" [dim]{printable(tensors)} {node.dtype or ''}[/]"
    if node.tied:
        tied = ", ".join(f"{name} = {other}" for name, other in node.tied.items())
        text += f" [dim]shares {printable(tied)}[/]"
    if node.output is not None:
        text += f" [cyan]→ {printable(node.output)}[/]"
    return text


def _show_tensors(console: Console, rows: list[Statistics]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("tensor", "type", "size", "min", "max", "mean", "std", "NaN", "inf", "zeros"):
        table.add_column(heading, justify="left" if heading in ("tensor", "type", "size") else "right", overflow="fold")
    for row in rows:
        numbers = ["-" if value is None else f"{value:.4g}" for value in (row.min, row.max, row.mean, row.std)]
        wrong = [f"[red]{count}[/]" if count else "0" for count in (row.nan, row.inf)]
        table.add_row(
            printable(row.path), printable(row.type.removeprefix("torch.")), row.size, *numbers, *wrong, str(row.zeros)
        )
    console.print(table)


def show_layers(rows: Sequence[Support]) -> None:
    """The table of supported classes."""
    console = text_console()
    table = plain_table("Torch7", "PyTorch", "gradients", "ONNX", "cases")
    for row in rows:
        checked = ["yes" if flag else "" for flag in (row.gradient, row.onnx)]
        cases = "never compared" if row.traits.unproven else str(row.cases or "")
        table.add_row(printable(row.typename), printable(", ".join(row.modules)), *checked, cases)
    console.print(table)
    console.print(f"{len(rows)} classes")

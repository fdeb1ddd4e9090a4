"""What inspect found, as a tree."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from ..inspection import Inspection, Model, Node
from . import bytes_text, printable


def show_inspection(found: Inspection, depth: int | None) -> None:
    """What `inspect` found: the file, its contents, a tree of each model."""
    console = Console(highlight=False)
    longs = f", {found.long_size}-byte longs" if found.long_size else ""
    functions = f", {found.functions} Lua functions (never run)" if found.functions else ""
    console.print(f"[bold]{printable(found.file)}[/]: {bytes_text(found.size)}, {found.format}{longs}{functions}")
    if found.objects != 1:
        console.print(f"  {found.objects} objects one after the other; the first is shown")
    if "" not in found.contents:
        table = Table(box=None, pad_edge=False, show_header=False)
        for key, line in found.contents.items():
            table.add_row(f"  {printable(key)}", printable(line))
        console.print(table)
    elif not found.models:
        console.print(f"  {printable(found.contents[''])}")
    for model in found.models:
        _show_model(console, model, depth)


def _show_model(console: Console, model: Model, depth: int | None) -> None:
    name = f"{model.key}: " if model.key else ""
    title = f"{name}{model.typename}, {model.parameters:,} parameters"
    tree = Tree(f"[bold]{printable(title)}[/]")
    _grow(tree, model.tree, depth)
    console.print(tree)
    if model.unsupported:
        listed = ", ".join(f"{typename} ({len(paths)})" for typename, paths in model.unsupported.items())
        console.print(f"[red]no converter for:[/] {printable(listed)}")
    else:
        console.print("[green]every class has a converter[/]")


def _grow(tree: Tree, node: Node, depth: int | None) -> None:
    if depth == 0:
        return
    for child in node.children:
        tensors = " ".join(f"{name} {size}" for name, size in child.tensors.items())
        colour = "" if child.convertible else "[red]"
        text = f"{printable(child.path)} {colour}{printable(child.typename)}{'[/]' if colour else ''}"
        if child.shared is not None:
            text += f" [dim]the same object as {printable(child.shared or 'the model')}[/]"
        if tensors:
            text += f" [dim]{printable(tensors)} {child.dtype or ''}[/]"
        _grow(tree.add(text), child, None if depth is None else depth - 1)

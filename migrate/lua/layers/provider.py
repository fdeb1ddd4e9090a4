"""Converters of the classes that only their authors' Lua defines."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ...base.errors import LimitExceeded, TorchMigrateError, UsageError
from ...model.convert import convert_model, to_torch
from ...model.layer import Layer
from ...model.registry import Converter, find
from ...t7 import LuaObject, LuaTable, Tensor, Value
from ..limits import DEFAULT_LUA_LIMITS, LuaLimits
from ..sandbox import LuaFailed
from .classes import class_of
from .fields import fields_of
from .run import ask, lua_files
from .session import tensor_kind
from .sources.cases import Written
from .sources.lockstep import Unexplained
from .sources.own_backward import PASSES
from .sources.source import written
from .traces.probing import INDICES, TRIED_INDICES
from .verify import compare

_DERIVED = "its Lua has no backward pass; PyTorch derives one"

_DTYPES = {"Float": "float32", "Double": "float64"}


def converters(
    lua: Iterable[str | os.PathLike[str]], limits: LuaLimits = DEFAULT_LUA_LIMITS, first: Iterable[str] = ()
) -> dict[str, Converter]:
    """Converters of the classes that Lua files define and no other converter knows.

    Args:
        lua: the author's files, in the order in which they run.
        limits: what the Lua may use.
        first: classes whose Lua is taken though another converter knows them.

    Raises:
        UsageError: there is no such file, the extra `lua` is not installed, or no file defines a class of `first`.
        LuaFailed: a file ends with an error.
        LimitExceeded: the Lua was stopped.
    """
    files, wanted = lua_files(lua), set(first)
    said, _ = ask("classes", files, LuaTable(), limits)
    defined = said["classes"]
    if unknown := sorted(wanted - defined.keys()):
        names = ", ".join(defined) or "no class"
        raise UsageError(f"No Lua file that was given defines {', '.join(unknown)}; they define {names}.")
    provider = _Provider(list(files), {name: Path(file).name for name, file in defined.items()}, limits)
    return {name: functools.partial(provider.convert) for name in defined if name in wanted or find(name) is None}


class _Provider:
    """Converts layers by what their Lua computes; the same fields are traced once.

    Args:
        files: the author's files.
        defined: class -> the name of the file that defines it.
        limits: what the Lua may use.
    """

    def __init__(self, files: list[Path], defined: dict[str, str], limits: LuaLimits) -> None:
        self._files = files
        self._defined = defined
        self._limits = limits
        self._found: dict[Any, tuple[dict[str, Any], list[LuaTable], Written]] = {}
        self._classes: dict[str, str] = {}

    def convert(self, layer: Layer) -> nn.Module:
        """What a layer computes, as a class of its own; it has been compared with the Lua."""
        said, examples, source = self._explored(layer)
        self._check_paths(layer, source)
        layer.ignore(*[key for key, _ in layer.object.items()])  # its Lua saw all of them
        cls = class_of(source.name, source.text)
        sizes = {f"{name}_size": _tensor(layer, path).size for path, name in source.fields.items()}
        children = {name: layer.convert(*_child(layer, path)) for path, name in source.children.items()}
        inplace = {"inplace": True} if source.memory == "write" else {}
        arguments: dict[str, Any] = {**sizes, **children, **inplace}
        module: nn.Module = layer.make(cast(Any, cls), **arguments)
        for path, name in source.fields.items():
            numbers = layer.tensor(path[0]) if len(path) == 1 else layer.numbers_of(_tensor(layer, path))
            layer.put(module, name, numbers, str(path[0]))
        layer.traits(output=source.memory, criterion=source.criterion)
        kinds = [said["patterns"][number]["pattern"] for number in source.kinds]
        if all(not kind["nested"] and kind["holds"] == [INDICES] for kind in kinds):
            layer.traits(reads="indices", index_count=TRIED_INDICES)
        self._compared(layer, module, said, examples, source)
        return module

    def _explored(self, layer: Layer) -> tuple[dict[str, Any], list[LuaTable], Written]:
        key = fields_of(layer.object)
        if key in self._found:
            return self._found[key]
        try:
            said, results = ask("explore", self._files, LuaTable([("layer", layer.object)]), self._limits)
            examples = [example for example in results.list() if isinstance(example, LuaTable)]
            said, examples = _with_backward(said, examples)
            source, examples = self._written(layer, said, examples)
        except (LuaFailed, Unexplained, LimitExceeded) as error:
            layer.refuse(f"its Lua is not converted: {error}")
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            layer.refuse(
                f"its Lua is not converted: what it computes can't be written ({type(error).__name__}: {error})"
            )
        if difference := self._not_the_derivative(layer, said, examples, source):
            said, source, examples = self._with_own_backward(layer, difference)
        source.text = self._named_apart(source)
        self._found[key] = said, examples, source
        return self._found[key]

    def _written(
        self, layer: Layer, said: dict[str, Any], examples: list[LuaTable], difference: str = ""
    ) -> tuple[Written, list[LuaTable]]:
        """The layer as a class, and the examples of what it takes: no size of 1 where the Lua gives something else."""
        least: dict[int, set[str]] = {}
        write = functools.partial(
            written, said, layer.typename, self._defined[layer.typename], [tuple(path) for path in said["parameters"]],
            _DTYPES[tensor_kind(layer.object)], difference, least,
        )  # fmt: skip
        source = write()
        examples = [example for example in examples if example["pattern"] in source.kinds]
        while (place := self._differs_at_one(layer, said, examples, source)) is not None:
            least.setdefault(place[0], set()).add(place[1])
            source = write()
            examples = [example for example in examples if (example["pattern"], example.get("one")) != place]
        return source, examples

    def _differs_at_one(
        self, layer: Layer, said: dict[str, Any], examples: list[LuaTable], source: Written
    ) -> tuple[int, str] | None:
        """A kind of input, and the size of it that can't be 1: there the Lua gives something else."""
        own = [source.fields.get(tuple(path)) for path in said["parameters"]]
        edges = [example for example in examples if example.get("one") is not None]
        module = self._alone(layer, source) if edges else None
        for example in edges if module is not None else ():
            assert module is not None
            found = compare(module, [example], own, strict=bool(source.backward), criterion=source.criterion)
            if found.wrong or (source.backward and found.gradient):
                return int(cast(float, example["pattern"])), str(example["one"])
        return None

    def _alone(self, layer: Layer, source: Written) -> nn.Module | None:
        """The layer by itself, in evaluation; None if a module that it runs is not converted."""
        self._check_paths(layer, source)
        sizes = {f"{name}_size": _tensor(layer, path).size for path, name in source.fields.items()}
        try:
            children = {name: convert_model(_child(layer, path)[0]).module for path, name in source.children.items()}
        except TorchMigrateError:
            return None
        module = class_of(source.name, source.text)(**sizes, **children)
        for path, name in source.fields.items():
            numbers = to_torch(_tensor(layer, path))
            is_parameter = isinstance(getattr(module, name), nn.Parameter)
            setattr(module, name, nn.Parameter(numbers) if is_parameter else numbers)
        evaluated: nn.Module = module.eval()
        return evaluated

    def _not_the_derivative(self, layer: Layer, said: dict[str, Any], examples: list[LuaTable], source: Written) -> str:
        """How the author's gradients differ from those of autograd; "" if they do not, or it is not to be told."""
        module = self._alone(layer, source)
        if module is None:
            return ""
        own = [source.fields.get(tuple(path)) for path in said["parameters"]]
        found = compare(module, examples, own, criterion=source.criterion)
        return "" if found.wrong else found.gradient

    def _with_own_backward(self, layer: Layer, difference: str) -> tuple[dict[str, Any], Written, list[LuaTable]]:
        """The layer with the author's backward pass, recorded as its forward pass was, and examples of its kinds."""
        task = LuaTable([("layer", layer.object), ("backward", True)])
        try:
            recorded, results = ask("explore", self._files, task, self._limits)
            examples = [example for example in results.list() if isinstance(example, LuaTable)]
            return recorded, *self._written(layer, recorded, examples, difference)
        except (LuaFailed, Unexplained, LimitExceeded) as error:
            reason = str(error)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            reason = f"it can't be written ({type(error).__name__}: {error})"
        layer.refuse(
            "its Lua is not converted: its backward pass is not the derivative of its output, and PyTorch would "
            f"train it in another way ({difference}); it is not recorded: {reason}. A converter of your own can say "
            "how (--plugin)"
        )

    def _named_apart(self, source: Written) -> str:
        """The text with a name that no other text of this conversion has."""
        stem, number = source.name, 1
        while self._classes.setdefault(source.name, source.text) != source.text:
            number += 1
            old, source.name = source.name, f"{stem}{number}"
            source.text = re.sub(rf"\bclass {old}(?=\(|{PASSES}\()", f"class {source.name}", source.text)
            source.text = source.text.replace(f"{old}{PASSES}.apply(", f"{source.name}{PASSES}.apply(")
        return source.text

    def _check_paths(self, layer: Layer, source: Written) -> None:
        """Refuses a tensor of a module that is a child as well: the two would have a copy each."""
        for path in source.fields:
            if any(path[: len(child)] == child for child in source.children):
                layer.refuse(
                    f"its Lua is not converted: it reads {'.'.join(map(str, path))}, a tensor of a module that it runs"
                )

    def _compared(
        self, layer: Layer, module: nn.Module, said: dict[str, Any], examples: list[LuaTable], source: Written
    ) -> None:
        own = [source.fields.get(tuple(path)) for path in said["parameters"]]
        unused = [path for path, name in zip(said["parameters"], own, strict=True) if name is None and len(path) == 1]
        training = {id(part): part.training for part in module.modules()}
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        if device.type == "meta" or unused:
            layer.refuse(f"its Lua is not converted: parameters that it lists do not change its output: {unused}")
        module.eval()
        found = compare(module, examples, own, strict=bool(source.backward), criterion=source.criterion)
        for part in module.modules():
            part.training = training[id(part)]
        if found.wrong or not found.outputs:
            layer.refuse(f"its Lua is not converted: what was written differs from it {found.wrong}")
        if found.gradient:
            layer.refuse(
                "its Lua is not converted: its backward pass is not the derivative of its output, and PyTorch would "
                f"train it in another way ({found.gradient}). A converter of your own can say how (--plugin)"
            )
        layer.note(
            f"converted from its Lua ({self._defined[layer.typename]}): compared with it on "
            f"{found.outputs} inputs, and {found.gradients} backward passes, of numbers and sizes that were not traced"
        )
        if source.backward:
            layer.note(
                f"its backward pass is the one of its Lua, which is not the derivative of its output: {source.backward}"
            )
        notes = found.notes + ([] if said["backward"] else [_DERIVED])
        if source.training:
            notes.append(f"it raises in training: {source.training}")
        notes += [f"not converted for inputs of the sizes {text}" for text in source.refused]
        notes += [f"not converted for inputs of which {text} is 1, where it gives others" for text in source.above]
        for note in notes:
            layer.note(note)


def _with_backward(said: dict[str, Any], examples: list[LuaTable]) -> tuple[dict[str, Any], list[LuaTable]]:
    """Leaves out kinds of inputs for which the author's backward pass fails, if it runs for others."""
    runs = {example["pattern"] for example in examples if example.get("gradOutput") is not None}
    fails = {example["pattern"] for example in examples if example.get("backward_failed") is not None}
    dropped = fails - runs if runs else set()
    patterns = []
    for number, one in enumerate(said["patterns"]):
        if float(number) in dropped:
            one = {"pattern": one["pattern"], "refused": "its Lua's backward pass fails there"}
        patterns.append(one)
    return {**said, "patterns": patterns}, [example for example in examples if example["pattern"] not in dropped]


def _key(part: Any) -> Value:
    return float(part) if isinstance(part, int) else part


def _at(layer: Layer, path: tuple[Any, ...]) -> Value:
    item: Value = layer.object
    for part in path:
        item = cast(Any, item).get(_key(part)) if isinstance(item, (LuaObject, LuaTable)) else None
    return item


def _tensor(layer: Layer, path: tuple[Any, ...]) -> Tensor:
    found = _at(layer, path)
    if not isinstance(found, Tensor):
        layer.refuse(f"its Lua is not converted: {'.'.join(map(str, path))} is no tensor of the file")
    return found


def _child(layer: Layer, path: tuple[Any, ...]) -> tuple[Value, str]:
    parts = path[1:] if path[0] == "modules" and len(path) > 1 else path
    return _at(layer, path), ".".join(map(str, parts))

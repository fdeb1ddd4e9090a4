"""An author's layer in Lua: the object of a file, with the methods of the author's file, and its passes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...t7 import LuaObject, LuaTable, Tensor, Value
from ..folders import Folders
from ..limits import LuaLimits
from ..loading import Loading
from ..result import Results
from ..runtime import LuaStopped, Runtime
from ..tensors.handles import LuaFault, TensorHandle
from .children import Children

#: Packages that a layer's file may use without requiring them, since the script that it belongs to did.
_BY_SCRIPTS = ("cudnn", "cunn", "cutorch", "optim", "paths", "xlua", "sys", "image", "rnn", "dpnn", "nngraph")
_UNKNOWN_GLOBAL = re.compile(r"global '(\w+)' \(a nil value\)")

#: Comments and text; the two sides of a comparison; what is no number that comes from tensors' own numbers.
_NO_CODE = re.compile(r"--.*|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_COMPARISON = re.compile(r"([^=~<>,;{}]*)[=~]=([^=~<>,;{}]*)")
_WORDS = re.compile(r"\b(?:if|elseif|and|or|not|return|then|do|while|until|else|end|local|function)\b")
_IS_NO_NUMBER = re.compile(
    r"''|\b(?:nil|true|false)\b|#|\b(?:nDimension|dim|nElement|numel|size|type|typename|isTypeOf|isTensor)\b"
)
_WHOLE = re.compile(rb"(?<![\w.])\d{1,4}(?![\w.])")

#: What is in memory that nothing was written to: a number that shows in what is computed from it.
FRESH = 117.0


@dataclass
class Pass:
    """What the passes of a layer gave; Lua's values.

    Attributes:
        output: its output.
        grad_input: the gradient of its input; None without a backward pass.
        gradients: those of its parameters, in the order of `parameters()`.
    """

    output: Any
    grad_input: Any = None
    gradients: Any = None


class Session:
    """A Lua with an author's files.

    Args:
        files: the author's files, by full paths below the folders, in the order in which they run.
        folders: the files that they may read.
        limits: what they may use.
        kind: the type of `torch.Tensor`, such as `Float`.

    Attributes:
        defined: the file by which each class came to be defined.

    Raises:
        LuaStopped: a file ended with an error.
    """

    def __init__(self, files: list[str], folders: Folders, limits: LuaLimits, kind: str = "Float") -> None:
        self._files = files
        require: list[str] = []
        started = False
        while not started:
            try:
                self._start(files, folders, limits, kind, require)
                started = True
            except LuaStopped as error:
                found = _UNKNOWN_GLOBAL.search(str(error))
                if found is None or found[1] not in _BY_SCRIPTS or found[1] in require:
                    raise
                require.append(found[1])

    def _start(self, files: list[str], folders: Folders, limits: LuaLimits, kind: str, require: list[str]) -> None:
        runtime = self.runtime = Runtime(folders, limits)
        self.host = runtime.host
        runtime.engine.fresh = FRESH
        runtime.guarded(runtime.text, f"torch.setdefaulttensortype('torch.{kind}Tensor')", "setup")
        for name in ("nn", *require):
            runtime.guarded(self.host.require, name)
        runtime.guarded(self.host.layers)
        self.children = Children(runtime)
        runtime.child_of = self.children.run
        self.defined: dict[str, str] = {}
        for file in files:
            runtime.guarded(self.host.run_once, file.encode("utf-8", "surrogateescape").decode("latin-1"))
            for name in runtime.own_classes:
                self.defined.setdefault(name, file)
        if (method := self.host.replaced_method()) is not None:
            raise LuaStopped(f"the files put a method of their own in place of {method}: a layer of that is not nn's")

    def object(self, value: LuaObject) -> Any:
        """A layer of a file as an object of Lua.

        Raises:
            LuaStopped: the files define no such class, or it holds what Lua here has no class for.
        """
        if value.typename not in self.runtime.own_classes:
            defined = ", ".join(self.runtime.own_classes[:12]) or "no class"
            raise LuaStopped(f"the Lua files define no class {value.typename}; they define {defined}")
        for name in dict.fromkeys(classes_in(value)):
            if not self.host.has_class(name):
                self.runtime.guarded(self.host.stand_in, name)
        return self.value(value)

    def value(self, value: Value) -> Any:
        """A value of a file as Lua's.

        Raises:
            LuaStopped: there is a function in it, or a class that Lua here can't have.
        """
        try:
            return Loading(self.runtime, on_cpu=True).value(value)
        except LuaFault as fault:
            raise LuaStopped(str(fault).removeprefix("torch.load: ")) from None

    def call(self, made: Any, name: str, *arguments: Any) -> Any:
        """A method of the object; its first result.

        Raises:
            LuaStopped: it ended with an error.
        """
        found = self.runtime.guarded(self.host.call, made, name, *arguments)
        return found[0] if isinstance(found, tuple) else found

    def comparison(self) -> str:
        """Where the author's files may ask whether a number that comes from tensors is another; "" if nowhere.

        Lua 5.1 tells nobody that it compares a number with what stands for one while a layer is recorded.
        """
        for file in self.runtime.files:
            for line, text in enumerate(self.runtime.folders.read(file).decode("latin-1").splitlines(), 1):
                code = _NO_CODE.sub("''", text)
                compared = [
                    (_WORDS.split(left)[-1], _WORDS.split(right)[0]) for left, right in _COMPARISON.findall(code)
                ]
                unknown = [two for two in compared if not any(_IS_NO_NUMBER.search(side) for side in two)]
                if unknown or "pcall" in code:  # an error is caught with which Lua says that it can't compare
                    return f"{file.rpartition('/')[2]}:{line}"
        return ""

    def numbers(self) -> list[int]:
        """Whole numbers that the author's files name, such as one with which a size is compared."""
        found = {int(text) for file in self._files for text in _WHOLE.findall(self.runtime.folders.read(file))}
        return sorted(number for number in found if 2 < number <= 4096)[:12]

    def is_criterion(self, made: Any) -> bool:
        """Is it a loss, called with input and target?"""
        return bool(self.host.is_criterion(made))

    def set_mode(self, made: Any, training: bool) -> None:
        """As `module:training()` and `module:evaluate()`; criterions have no such modes."""
        if not self.is_criterion(made):
            self.call(made, "training" if training else "evaluate")

    def output(self, made: Any, given: Any) -> Any:
        """A forward pass; the last tensor of a criterion's list is the target."""
        return self.call(made, "updateOutput", *self._arguments(made, given))

    def backward(self, made: Any, given: Any, grad: Any) -> Any:
        """A backward pass, which gives the gradient of the input."""
        if self.is_criterion(made):
            return self.call(made, "backward", *self._arguments(made, given))
        return self.call(made, "backward", given, grad)

    def _arguments(self, made: Any, given: Any) -> list[Any]:
        if not self.is_criterion(made):
            return [given]
        parts = [given[index] for index in range(1, len(given) + 1)]
        inputs = parts[:-1]
        return [inputs[0] if len(inputs) == 1 else self.runtime.lua.table_from(inputs), parts[-1]]

    def has_backward(self, made: Any) -> bool:
        """Has it a backward pass, of its author or of a class of Torch7 that it inherits from?"""
        if any(self.host.is_authors(made, name) for name in ("updateGradInput", "accGradParameters", "backward")):
            return True
        return self.host.inherited_backward(made) is not None

    def parameters(self, made: Any) -> tuple[list[TensorHandle], list[TensorHandle]]:
        """What `parameters()` lists: the parameters, and their gradients."""
        if self.is_criterion(made):
            return [], []
        found = self.runtime.guarded(self.host.call, made, "parameters")
        lists = found if isinstance(found, tuple) else (found, None)
        return self._tensors(lists[0]), self._tensors(lists[1])

    def _tensors(self, table: Any) -> list[TensorHandle]:
        """The tensors of a list of Lua."""
        if table is None:
            return []
        return [self.host.kind(table[index])[1] for index in range(1, len(table) + 1)]

    def passes(self, made: Any, given: Any, grad: Any) -> Pass:
        """A forward and a backward pass, the gradients of the parameters from zero."""
        _, gradients = self.parameters(made)
        for gradient in gradients:
            gradient.value.zero_()
        output = self.output(made, given)
        found = self.backward(made, given, grad)
        return Pass(output, found, gradients)


def classes_in(value: Value) -> Iterator[str]:
    """The classes of all objects in a value."""
    stack, seen = [value], set()
    while stack:
        item = stack.pop()
        if not isinstance(item, (LuaObject, LuaTable)) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, LuaObject):
            yield item.typename
        stack += [held for _, held in item.items()]


def of_results(session: Session, value: Any) -> Value:
    """A value of Lua as one of a `.t7`, with memory of its own."""
    return Results(session.runtime).value(value)


def tensor_kind(value: LuaObject) -> str:
    """The type of the layer's numbers: what `_type` says, else that of its tensors."""
    said = value.get("_type")
    names = [said] if isinstance(said, str) else []
    names += [held.type for _, held in value.items() if isinstance(held, Tensor)]
    kinds = [name.removeprefix("torch.").removesuffix("Tensor") for name in names]
    return next((kind for kind in kinds if kind in ("Double", "CudaDouble")), "Float").removeprefix("Cuda")

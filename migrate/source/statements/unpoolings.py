"""Poolings that give the places of their maxima, and unpoolings that get them, from class to class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from ...model.registry import form_of
from ..constructors import constructor_of
from ..expressions import Value, Variable, python
from ..forms import Unpooling
from ..scopes import Constructor, Scope, Statement, module_call


class Unpoolings:
    """The unpoolings of a model that get places from a pooling of it.

    Args:
        model: the model.
        images: for each example the sizes of the image that the model gets, the last one first; nothing of a table.
        steps: numbers of which these sizes are multiples wherever the model runs.
    """

    def __init__(self, model: nn.Module, images: Sequence[tuple[int, ...]], steps: list[int]) -> None:
        modules = [(module, form_of("unpooling", module)) for module in model.modules()]
        forms: dict[int, Unpooling | None] = {id(module): form(module) for module, form in modules if form}
        known = {place: form for place, form in forms.items() if form is not None}
        self.forms = known if len(known) == len(forms) else {}
        self.of: dict[int, list[int]] = {}
        for unpooling, form in self.forms.items():
            self.of.setdefault(id(form.pooling), []).append(unpooling)
        self.poolings = {id(form.pooling): form for form in self.forms.values()}
        self.images, self.steps = images, steps
        self.left_over: dict[int, bool] = {}

    def inside(self, module: nn.Module) -> bool:
        """Is there one, or a pooling for one, in a module?"""
        return bool(self.forms) and any(id(part) in self.forms or id(part) in self.of for part in module.modules())

    def lower(self, module: Any, value: Value, scope: Scope, run: Callable[..., Variable]) -> Variable | None:
        """What a pooling or an unpooling makes of a value; None if a module is neither."""
        if not isinstance(value, Variable) or (id(module) not in self.forms and id(module) not in self.of):
            return None
        if id(module) in self.of:
            return self._pool(module, value, scope, run)
        form = self.forms[id(module)]
        result = run(module, value.values)
        indices, *size = self.known(id(form.pooling), scope)
        options: dict[str, Any] = {
            name: n for name, n in (("stride", form.stride), ("padding", form.padding)) if n is not None
        }
        options |= {"output_size": size[0]} if size else {}
        text = f"F.{form.function}(x, indices, kernel_size{''.join(f', {name}={name}' for name in options)})"
        made = python(text, x=value, indices=indices, kernel_size=form.kernel_size, **options)
        return scope.assign(made, result.values)

    def _pool(self, module: nn.Module, value: Variable, scope: Scope, run: Callable[..., Variable]) -> Variable:
        form = self.poolings[id(module)]
        out, indices = run(module, value.values), Variable(hint="indices")
        out.type = "Tensor"
        attribute = scope.attribute(constructor_of(form.stock), "pool")
        scope.statements.append(Statement([out, indices], module_call(attribute, value)))
        scope.indices[id(module)] = [indices]
        self.left_over[id(module)] = not self._divides(form, value)
        if self.left_over[id(module)]:
            size = Variable(hint="size", type_="list[int]")
            scope.statements.append(Statement([size], python("x.shape[n:]", x=value, n=-form.axes)))
            scope.indices[id(module)].append(size)
        return out

    def _divides(self, form: Unpooling, value: Variable) -> bool:
        """Does the pooling leave nothing over of any image, so that the size follows from that of its result?"""
        n, shapes = form.kernel_size, value.shapes or []
        if form.stride is not None or form.padding is not None or not isinstance(n, int) or not self.images:
            return False
        for axis in range(form.axes):
            ratios = {image[axis] / shape[-1 - axis] for image, shape in zip(self.images, shapes, strict=True)}
            if len(ratios) != 1 or self.steps[axis] % (ratios.pop() * n):
                return False
        return True

    def known(self, pooling: int, scope: Scope) -> list[Variable]:
        """What a pooling left, within a method; its class gets that as parameters where it ran elsewhere."""
        if pooling not in scope.indices:
            if not scope.is_block or pooling not in self.left_over:
                raise ValueError("an unpooling runs before its pooling")
            size = [Variable(hint="size", type_="list[int]")] if self.left_over[pooling] else []
            scope.indices[pooling] = [Variable(hint="indices"), *size]
            scope.needed.append(pooling)
        return scope.indices[pooling]

    def left(self, module: nn.Module, scope: Scope) -> list[int]:
        """The poolings that ran within a method, and whose unpoolings are elsewhere."""
        own = set(map(id, module.modules()))
        return [place for place in scope.indices if place not in scope.needed and not set(self.of[place]) <= own]

    def call(self, called: Constructor, value: Value, result: Variable, scope: Scope, name: str) -> Variable:
        """Adds a call of a class that gets or gives places."""
        assert called.block is not None
        inner = called.block.scope
        given = [known for pooling in inner.needed for known in self.known(pooling, scope)]
        left = {
            pooling: [Variable(hint=v.hint, type_=v.type) for v in inner.indices[pooling]] for pooling in inner.left
        }
        scope.indices.update(left)
        attribute = scope.attribute(called, name)
        expression = python(f"self.{attribute}(*values)", values=[value, *given])
        outs = [result, *(variable for variables in left.values() for variable in variables)]
        scope.statements.append(Statement(outs, expression))
        return result

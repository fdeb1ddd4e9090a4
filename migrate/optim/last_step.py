"""What the last step of an optimizer did to the weights, as far as the gradients and the state in the file tell.

A model is saved after a step, and the activations in it are from before that step. The weights of that time are those
of the file plus a number times a direction. The rules are those of optim 1.0.5, turned around.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from ..base.errors import UsageError
from ..model.build import Build, Region, to_torch_tensor
from ..model.conversion import ConvertedModel
from ..model.locate import follow
from ..t7 import LuaObject, LuaTable, Tensor, Value
from .fields import Fields
from .flat_parameters import Flat, flatten, parameters, vector_sizes
from .locate import FoundState, states
from .methods import left_by

#: By so much a whole number may be off after it was added to another and taken away again.
_WHOLE = 1e-2

#: Options of methods that are given as a table of their own, of which one is there at least.
_OPTIONS = ("learningRate", "learningRates", "eta0", "stepsize")

#: Numbers in Torch7's own layout, by the tensor of the file that they belong to.
ByRegion = Mapping[Region, torch.Tensor]


@dataclass(frozen=True)
class Step:
    """What the last step may have been: before it the weights were `weights + scale * direction`.

    Attributes:
        name: of the rule, such as "SGD" or "optim.adam".
        scale: where the file tells it; None: it has to be found.
        direction: by the tensor of the file that it belongs to; those of which nothing is known are left out.
        keeps_gradients: are the gradients in the file those of the backward pass, but for weights that were added?
    """

    name: str
    scale: float | None
    direction: ByRegion
    keeps_gradients: bool = True


def last_steps(conv: ConvertedModel) -> list[Step]:
    """All that the last step may have been, the best founded first.

    Args:
        conv: the model, with all that its file holds.
    """
    root = conv.layers[0].object
    gradients = gradients_of(root)
    found: list[Step] = []
    for state in _states_for(conv, root):
        with suppress(UsageError, ArithmeticError):
            flat = flatten(root, state.size)
            for config in _configs_for(conv, state):
                found += [_whole(step, flat, root) for step in _of_state(config, state, flat, gradients, root)]
    if any(bool(gradient.any()) for gradient in gradients.values()):
        found.append(Step("SGD", None, gradients))
    return [step for step in found if any(bool(numbers.any()) for numbers in step.direction.values())]


def counts_steps(conv: ConvertedModel) -> bool:
    """Is there an optimizer's state in the file that fits the model and counts its steps, or keeps what they left?"""
    root = conv.layers[0].object
    counted = ("evalCounter", "t")
    return any(
        state.size is not None or any(isinstance(n := state.table.get(name), float) and n > 0 for name in counted)
        for state in _states_for(conv, root)
    )


def were_written(gradients: ByRegion) -> bool:
    """Do these gradients come from a backward pass? Memory that was never written holds zeros, or anything."""
    smallest = torch.finfo(torch.float32).tiny
    found = [numbers.abs() for numbers in gradients.values()]
    return bool(found) and all(bool(n.any()) and float(n[n > 0].min()) >= smallest for n in found)


def region_of(tensor: Tensor) -> Region:
    """What identifies a tensor of the file."""
    return (id(tensor.storage), tensor.offset, tensor.size, tensor.stride)


def objects_in(root: LuaObject) -> Iterator[LuaObject]:
    """Every object that hangs on another one, itself first."""
    stack: list[Value] = [root]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if not isinstance(item, (LuaObject, LuaTable)) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, LuaObject):
            yield item
        stack += [value for _, value in item.items()]


def gradients_of(root: LuaObject) -> dict[Region, torch.Tensor]:
    """The gradient of each parameter, in float64: `gradWeight` of `weight` and so on.

    Where several modules share a parameter and not its gradient, their gradients are added up, as the step does.
    """
    found: dict[Region, torch.Tensor] = {}
    counted: set[tuple[Region, Region]] = set()
    for item in objects_in(root):
        for name, value in item.items():
            if not isinstance(name, str) or not isinstance(value, Tensor) or not value.numel():
                continue
            gradient = item.get(f"grad{name[:1].upper()}{name[1:]}")
            if not isinstance(gradient, Tensor) or gradient.numel() != value.numel() or gradient.dtype.kind != "f":
                continue
            place, own = region_of(value), region_of(gradient)
            if (place, own) in counted:
                continue
            counted.add((place, own))
            numbers = to_torch_tensor(gradient).double().reshape(value.size)
            if bool(torch.isfinite(numbers).all()):  # memory that was never written holds anything
                found[place] = found[place] + numbers if place in found else numbers
    return found


def _states_for(conv: ConvertedModel, root: LuaObject) -> list[FoundState]:
    sizes = vector_sizes(root)
    everything = states(conv.value)
    fitting = [state for state in everything if state.size in sizes]
    return fitting or [state for state in everything if state.size is None]


@dataclass
class _Past:
    """What the rules are turned around with: flat vectors in float64."""

    fields: Fields
    gradient: torch.Tensor
    weights: torch.Tensor

    def vector(self, name: str) -> torch.Tensor:
        """A vector of the state.

        Raises:
            UsageError: the state has none of that name.
        """
        found = self.fields.vector(name)
        if found is None:
            raise UsageError(f"the state has no {name}")
        return found.double()

    def decayed(self, counter: str, default: float) -> float:
        """The learning rate of the last step."""
        decay = self.fields.number("learningRateDecay", 0.0)
        return self.fields.learning_rate(default) / (1 + (self.fields.counter(counter) - 1) * decay)

    def weighed(self, direction: torch.Tensor) -> torch.Tensor:
        """A direction with the learning rates of its own that each number may have."""
        rates = self.fields.setting_vector("learningRates")
        return direction if rates is None else direction * rates.double()


#: The scale and the direction of the last step; None: the state does not tell the scale.
_Reversed = Callable[[_Past], tuple[float | None, torch.Tensor]]


def _sgd(past: _Past) -> tuple[float, torch.Tensor]:
    keeps = past.fields.number("momentum", 0.0) != 0 and not past.fields.flag("nesterov")
    # weight decay and Nesterov's momentum were added to the gradient in its own memory
    return past.decayed("evalCounter", 1e-3), past.weighed(past.vector("dfdx") if keeps else past.gradient)


def _nag(past: _Past) -> tuple[float, torch.Tensor]:
    return past.decayed("evalCounter", 1e-3), past.weighed(past.gradient)


def _adam(past: _Past) -> tuple[float, torch.Tensor]:
    t = past.fields.counter("t")
    first, second = 1 - past.fields.number("beta1", 0.9) ** t, 1 - past.fields.number("beta2", 0.999) ** t
    scale = past.decayed("t", 1e-3) * math.sqrt(second) / first
    return scale, past.vector("m") / (past.vector("v").sqrt() + past.fields.number("epsilon", 1e-8))


def _adamax(past: _Past) -> tuple[float, torch.Tensor]:
    scale = past.fields.learning_rate(2e-3) / (1 - past.fields.number("beta1", 0.9) ** past.fields.counter("t"))
    return scale, past.vector("m") / past.vector("u")


def _rmsprop(past: _Past) -> tuple[float, torch.Tensor]:
    spread = past.vector("m").sqrt() + past.fields.number("epsilon", 1e-8)
    return past.fields.learning_rate(1e-2), past.gradient / spread


def _adagrad(past: _Past) -> tuple[float, torch.Tensor]:
    return past.decayed("evalCounter", 1e-3), past.gradient / (past.vector("paramVariance").sqrt() + 1e-10)


def _adadelta(past: _Past) -> tuple[float, torch.Tensor]:
    return 1.0, past.vector("delta")


def _asgd(past: _Past) -> tuple[float, torch.Tensor]:
    rate, decay = past.fields.number("eta0", 1e-4), past.fields.number("lambda", 1e-4)
    step = rate / (1 + decay * rate * (past.fields.counter("t") - 1)) ** past.fields.number("alpha", 0.75)
    return 1.0, (past.weights + step * past.gradient) / (1 - decay * step) - past.weights


def _rprop(past: _Past) -> tuple[float, torch.Tensor]:
    return 1.0, past.vector("sign") * past.vector("stepsize")


def _lbfgs(past: _Past) -> tuple[float, torch.Tensor]:
    return past.fields.state_number("t", 0.0), -past.vector("d")


def _cg(past: _Past) -> tuple[None, torch.Tensor]:
    # a search along a line that failed ended somewhere on it, and the weights went back to where it began
    return None, past.vector("s")


#: By the name of the method; those that leave the same fields stand together.
_REVERSED: dict[str, tuple[tuple[str, _Reversed], ...]] = {
    "sgd": (("sgd", _sgd), ("nag", _nag)),
    "nag": (("nag", _nag), ("sgd", _sgd)),
    "adam": (("adam", _adam),),
    "adamax": (("adamax", _adamax),),
    "rmsprop": (("rmsprop", _rmsprop),),
    "adagrad": (("adagrad", _adagrad),),
    "adadelta": (("adadelta", _adadelta),),
    "asgd": (("asgd", _asgd),),
    "rprop": (("rprop", _rprop),),
    "lbfgs": (("lbfgs", _lbfgs),),
    "cg": (("cg", _cg),),
}


@dataclass(frozen=True)
class _FlatStep:
    name: str
    scale: float | None
    direction: torch.Tensor


def _configs_for(conv: ConvertedModel, state: FoundState) -> list[LuaTable]:
    """The tables that may hold the options of a state: itself, unless those beside it have what it lacks."""
    told = {name for name in _OPTIONS if state.table.get(name) is not None}
    beside = follow(conv.value, state.key.rpartition(".")[0]) if state.key else None
    tables = [item for _, item in beside.items() if isinstance(item, LuaTable)] if isinstance(beside, LuaTable) else []
    found = [
        item for item in tables if item is not state.table and any(item.get(name) is not None for name in _OPTIONS)
    ]
    return [state.table] if told else [*found, state.table]


def _of_state(
    config: LuaTable, state: FoundState, flat: Flat, gradients: ByRegion, root: LuaObject
) -> Iterator[_FlatStep]:
    """The last step by a state, in flat vectors; none where it does not tell."""
    method, _ = left_by(config, state.table)
    gradient = torch.zeros(flat.size, dtype=torch.float64)
    weights = torch.zeros(flat.size, dtype=torch.float64)
    for tensor in parameters(root, once=True):
        positions = flat.positions(tensor)
        if positions is None:
            continue
        index = torch.from_numpy(positions.copy())
        weights[index] = to_torch_tensor(tensor).double()
        if region_of(tensor) in gradients:
            gradient[index] = gradients[region_of(tensor)]
    for name, reverse in _REVERSED.get(method, ()):
        with suppress(UsageError, ArithmeticError):
            scale, direction = reverse(_Past(Fields(config, state.table, flat.size), gradient, weights))
            yield _FlatStep(f"optim.{name}", scale, direction)


def _whole(step: _FlatStep, flat: Flat, root: LuaObject) -> Step:
    found = {}
    for tensor in parameters(root, once=True):
        positions = flat.positions(tensor)
        if positions is not None:
            numbers = step.direction[torch.from_numpy(positions.copy())]
            if bool(torch.isfinite(numbers).all()):
                found[region_of(tensor)] = numbers
    # Torch7's rprop sets those that have changed their sign to 0
    return Step(step.name, step.scale, found, step.name != "optim.rprop")


@dataclass
class _Moved(Build):
    """A conversion in which something is added to parameters of the file."""

    added: ByRegion = field(default_factory=dict)

    def tensor(self, value: Tensor, path: str, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The numbers of a tensor, in float64, with what is added."""
        region = self._region(value)
        if region not in self.added:
            return super().tensor(value, path, name, dtype)
        if region not in self._tensors:
            self._tensors[region] = to_torch_tensor(value).double() + self.added[region]
        return self._tensors[region]


def change_of_parameters(conv: ConvertedModel, added: ByRegion) -> dict[str, torch.Tensor]:
    """By how much the converted parameters change when that much is added to Torch7's, by their names, in float64.

    Parameters in which nothing of `added` is found are left out.
    """
    root = conv.layers[0].object
    builds = [
        _Moved(aliases=conv.build.aliases, allow_unsupported=conv.build.allow_unsupported, added=change)
        for change in (added, {region: torch.zeros_like(numbers) for region, numbers in added.items()})
    ]
    moved, still = (dict(build.root(root).named_parameters()) for build in builds)
    found = {}
    for name, parameter in conv.module.named_parameters():
        if name in moved and name in still and moved[name].shape == parameter.shape:
            found[name] = moved[name].detach().double() - still[name].detach().double()
    return found


def step_of_gradients(conv: ConvertedModel, gradients: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """By how much a step along gradients changes the converted parameters, by their names, in float64.

    Torch7's step changes its own parameters, each by the sum of the gradients of all converted numbers that were copied
    from it. Parameters of which a gradient is missing are left out; those that are no copies take their own.

    Args:
        conv: the converted model.
        gradients: those of converted parameters, by their names.
    """
    places: dict[Region, torch.Tensor] = {}
    count = 0
    for tensor in parameters(conv.layers[0].object, once=True):
        places[region_of(tensor)] = torch.arange(count + 1.0, count + tensor.numel() + 1, dtype=torch.float64).reshape(
            tensor.size
        )
        count += tensor.numel()
    origins = {}
    found = {}
    for name, number in change_of_parameters(conv, places).items():
        origin = number.round().long()
        if bool(((number - origin).abs() < _WHOLE).all()) and 0 <= int(origin.min()) <= int(origin.max()) <= count:
            origins[name] = origin
        elif name in gradients:
            found[name] = gradients[name].double()
    total = torch.zeros(count + 1, dtype=torch.float64)
    missing = torch.zeros(count + 1, dtype=torch.bool)
    for name, origin in origins.items():
        if name in gradients:
            total.index_add_(0, origin.reshape(-1), gradients[name].double().reshape(-1))
        else:
            missing[origin.reshape(-1)] = True
    total[0], missing[0] = 0.0, False
    return found | {name: total[origin] for name, origin in origins.items() if not bool(missing[origin].any())}

"""One function per optimizer of Torch7's optim: its fields in, the PyTorch optimizer with the same rule out.

The rules are those of optim 1.0.5, the last; see docs/resume-training.md for how they compare with PyTorch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ..base.errors import UsageError
from ..t7 import LuaTable
from .fields import Fields
from .torch7_rules import Torch7Adam, Torch7ASGD, Torch7NAG, Torch7SGD


@dataclass
class Rule:
    """What an optimizer of Torch7 is in PyTorch.

    Attributes:
        optimizer: the class.
        options: arguments of its constructor; `lr` is the rate before any decay.
        vectors: name in PyTorch's state of a parameter -> flat vector of all parameters.
        scalars: name in PyTorch's state of a parameter -> number.
        decay: the learning rate is divided by `1 + steps * decay`; 0: it stays.
        steps: how many steps were made.
        rates: a factor of the learning rate for each number, or None.
        decays: a weight decay for each number, or None.
        elementwise: does the optimizer take `rates` and `decays` number by number?
    """

    optimizer: type[torch.optim.Optimizer]
    options: dict[str, Any]
    vectors: dict[str, torch.Tensor] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    decay: float = 0.0
    steps: int = 0
    rates: torch.Tensor | None = None
    decays: torch.Tensor | None = None
    elementwise: bool = False


def sgd(fields: Fields, *, exact: bool) -> Rule:
    """optim.sgd: the same rule as torch.optim.SGD, unless rates or decays differ inside one parameter."""
    momentum = fields.number("momentum", 0.0)
    weight_decay = fields.number("weightDecay", 0.0)
    decays = fields.setting_vector("weightDecays")
    fields.ignore("deltaParameters", "decayParameters")
    return Rule(
        Torch7SGD if exact else torch.optim.SGD,
        {
            "lr": fields.learning_rate(1e-3),
            "momentum": momentum,
            "dampening": fields.number("dampening", momentum),
            "weight_decay": weight_decay,
            "nesterov": fields.flag("nesterov"),
        },
        fields.vectors(momentum_buffer="dfdx"),
        decay=fields.number("learningRateDecay", 0.0),
        steps=fields.counter("evalCounter"),
        rates=fields.setting_vector("learningRates"),
        decays=decays if weight_decay == 0 else None,
        elementwise=exact,
    )


def nag(fields: Fields, *, exact: bool) -> Rule:
    """optim.nag: PyTorch's Nesterov momentum is another, so only the exact class will do."""
    if not exact:
        raise UsageError(
            "optim.nag evaluates the gradient after it has moved along its momentum, which no optimizer of PyTorch "
            "does. --exact (exact=True) gives torchmigrate.optim.Torch7NAG, whose step takes a closure."
        )
    fields.ignore("dampening", "deltaParameters")
    return Rule(
        Torch7NAG,
        {
            "lr": fields.learning_rate(1e-3),
            "momentum": fields.number("momentum", 0.9),
            "weight_decay": fields.number("weightDecay", 0.0),
        },
        fields.vectors(momentum_buffer="dfdx"),
        decay=fields.number("learningRateDecay", 0.0),
        steps=fields.counter("evalCounter"),
        rates=fields.setting_vector("learningRates"),
        elementwise=True,
    )


def adam(fields: Fields, *, exact: bool) -> Rule:
    """optim.adam: torch.optim.Adam but for the epsilon, which Torch7 adds before it corrects the bias."""
    beta2, epsilon = fields.number("beta2", 0.999), fields.number("epsilon", 1e-8)
    steps = fields.counter("t")
    vectors = fields.vectors(exp_avg="m", exp_avg_sq="v")
    fields.ignore("denom")
    options = {
        "lr": fields.learning_rate(1e-3),
        "betas": (fields.number("beta1", 0.9), beta2),
        "weight_decay": fields.number("weightDecay", 0.0),
    }
    if not exact:
        bound = adam_bound(steps + 1, beta2, epsilon, vectors.get("exp_avg_sq"))
        ceiling = adam_bound(steps + 1, beta2, epsilon, None)
        fields.notes.append(
            f"torch.optim.Adam adds its epsilon after the bias is corrected, Torch7 before: the next step of a number "
            f"that had a gradient so far differs by at most {bound:.1e} of itself, any other by at most {ceiling:.1e}, "
            "which goes to 0 with the steps; --exact (exact=True) gives Torch7's rule"
        )
    return Rule(
        Torch7Adam if exact else torch.optim.Adam,
        {**options, "epsilon": epsilon} if exact else {**options, "eps": epsilon},
        vectors,
        {"step": float(steps)} if vectors else {},
        decay=fields.number("learningRateDecay", 0.0),
        steps=steps,
    )


def adam_bound(step: int, beta2: float, epsilon: float, second: torch.Tensor | None) -> float:
    """By how much of itself a step of torch.optim.Adam can differ from one of Torch7's.

    With `c = 1 - beta2 ** step` and `s = sqrt(v / c)`, Torch7 divides by `s + epsilon / sqrt(c)` and PyTorch by
    `s + epsilon`. The difference is `(1 / sqrt(c) - 1) * epsilon / (s + epsilon)` of the step that Torch7 makes.

    Args:
        step: number of the step, from 1.
        beta2: decay of the second moment.
        epsilon: Torch7's.
        second: the second moments before the step; None before the first. Those that are 0 had no gradient so far
            and are left out: their step is bounded by `1 / sqrt(c) - 1` alone.
    """
    if not 0 <= beta2 < 1:
        return 0.0
    correction = 1 - beta2**step
    excess = 1 / math.sqrt(correction) - 1
    used = second[second > 0] if second is not None else torch.empty(0)
    if used.numel() == 0:
        return excess
    # the next step leaves beta2 of the moment at least
    smallest = math.sqrt(beta2 * float(used.min()) / correction)
    return excess * epsilon / (smallest + epsilon) if epsilon else 0.0


def adamax(fields: Fields, *, exact: bool) -> Rule:
    """optim.adamax: the same rule as torch.optim.Adamax."""
    vectors = fields.vectors(exp_avg="m", exp_inf="u")
    fields.ignore("max")
    return Rule(
        torch.optim.Adamax,
        {
            "lr": fields.learning_rate(2e-3),
            "betas": (fields.number("beta1", 0.9), fields.number("beta2", 0.999)),
            "eps": fields.number("epsilon", 1e-38),
            "weight_decay": fields.number("weightDecay", 0.0),
        },
        vectors,
        {"step": float(fields.counter("t"))} if vectors else {},
    )


def rmsprop(fields: Fields, *, exact: bool) -> Rule:
    """optim.rmsprop: the same rule as torch.optim.RMSprop."""
    vectors = fields.vectors(square_avg="m")
    if not vectors and (mean := fields.number("initialMean", 0.0)) != 0:
        vectors = {"square_avg": torch.full((fields.size,), mean, dtype=torch.float64)}
    fields.ignore("tmp", "initialMean")
    return Rule(
        torch.optim.RMSprop,
        {
            "lr": fields.learning_rate(1e-2),
            "alpha": fields.number("alpha", 0.99),
            "eps": fields.number("epsilon", 1e-8),
            "weight_decay": fields.number("weightDecay", 0.0),
        },
        vectors,
        {"step": 0.0} if vectors else {},
    )


def adagrad(fields: Fields, *, exact: bool) -> Rule:
    """optim.adagrad: the same rule as torch.optim.Adagrad, decay of the learning rate included."""
    steps = fields.counter("evalCounter")
    fields.ignore("paramStd")
    vectors = fields.vectors(sum="paramVariance") or {"sum": torch.zeros(fields.size, dtype=torch.float64)}
    return Rule(
        torch.optim.Adagrad,
        {
            "lr": fields.learning_rate(1e-3),
            "lr_decay": fields.number("learningRateDecay", 0.0),
            "weight_decay": fields.number("weightDecay", 0.0),
            "eps": 1e-10,
        },
        vectors,
        {"step": float(steps)},
    )


def adadelta(fields: Fields, *, exact: bool) -> Rule:
    """optim.adadelta: the same rule as torch.optim.Adadelta with a learning rate of 1."""
    vectors = fields.vectors(square_avg="paramVariance", acc_delta="accDelta")
    fields.ignore("paramStd", "delta")
    return Rule(
        torch.optim.Adadelta,
        {
            "lr": 1.0,
            "rho": fields.number("rho", 0.9),
            "eps": fields.number("eps", 1e-6),
            "weight_decay": fields.number("weightDecay", 0.0),
        },
        vectors,
        {"step": float(fields.counter("evalCounter"))} if vectors else {},
    )


def asgd(fields: Fields, *, exact: bool) -> Rule:
    """optim.asgd: torch.optim.ASGD but for the step size, which PyTorch rounds to single precision."""
    rate = fields.number("eta0", 1e-4)
    vectors = fields.vectors(ax="ax")
    fields.ignore("tmp")
    scalars = {
        "step": float(fields.counter("t")),
        "eta": fields.state_number("eta_t", rate),
        "mu": fields.state_number("mu_t", 1.0),
    }
    if not exact:
        fields.notes.append(
            "torch.optim.ASGD rounds its step size to single precision: a step differs by at most 6e-08 of itself; "
            "--exact (exact=True) does not round"
        )
    options = {
        "lr": rate,
        "lambd": fields.number("lambda", 1e-4),
        "alpha": fields.number("alpha", 0.75),
        "t0": fields.number("t0", 1e6),
    }
    return Rule(Torch7ASGD if exact else torch.optim.ASGD, options, vectors, scalars if vectors else {})


#: The optimizers that can be carried over, by their name in optim.
METHODS: dict[str, Callable[..., Rule]] = {
    method.__name__: method for method in (sgd, adam, adamax, rmsprop, adagrad, adadelta, asgd, nag)
}

#: What only one optimizer leaves in its state (all of them), the first that fits counts.
_LEFT_BY = (
    ({"accDelta"}, "adadelta"),
    ({"paramVariance"}, "adagrad"),
    ({"m", "u"}, "adamax"),
    ({"m", "v"}, "adam"),
    ({"m", "tmp"}, "rmsprop"),
    ({"mu_t"}, "asgd"),
    ({"old_dirs"}, "lbfgs"),
    ({"Hdiag"}, "lbfgs"),
    ({"stepsize"}, "rprop"),
    ({"df0"}, "cg"),
)
#: Options that only one optimizer reads, for states from before the first step.
_OPTION_OF = {
    "rho": "adadelta",
    "eta0": "asgd",
    "initialMean": "rmsprop",
    "momentum": "sgd",
    "dampening": "sgd",
    "nesterov": "sgd",
    "learningRates": "sgd",
    "weightDecays": "sgd",
    "evalCounter": "sgd",
}


def method_of(config: LuaTable, state: LuaTable) -> tuple[str, str]:
    """Which optimizer a state belongs to.

    Returns:
        Its name in optim, and a remark on what else it might be, or "".

    Raises:
        UsageError: the fields do not tell, or it is one that PyTorch has nothing like.
    """
    found, doubt = left_by(config, state)
    if found not in METHODS:
        raise UsageError(f"This is a state of optim.{found}, which can't be carried over; PyTorch must begin anew.")
    return found, doubt


def left_by(config: LuaTable, state: LuaTable) -> tuple[str, str]:
    """The same of any optimizer of optim.

    Raises:
        UsageError: the fields do not tell.
    """
    names = {name for table in (config, state) for name, value in table.items() if value is not None}
    found = next((method for marks, method in _LEFT_BY if marks <= names), None)
    doubt = ""
    if found is None and "dfdx" in names:
        found = "sgd" if config.get("momentum") is not None else "nag"
        if found == "sgd" and not names & {"dampening", "nesterov", "weightDecays"}:
            doubt = (
                'the state is taken for that of optim.sgd; optim.nag leaves the same fields (method="nag", --method)'
            )
    if found is None:
        found = next((method for name, method in _OPTION_OF.items() if name in names), None)
    if found is None:
        raise UsageError(
            "Its fields do not tell which optimizer this state belongs to: "
            f"{', '.join(sorted(map(str, names))) or 'there are none'}. "
            f"Say it with --method (method=…): {', '.join(METHODS)}."
        )
    return found, doubt

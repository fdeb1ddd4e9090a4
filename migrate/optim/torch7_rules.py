"""Torch7's own rules where `torch.optim` has others, as optimizers that are used like PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

Closure = Callable[[], Any]


def _evaluated(closure: Closure | None) -> Any:
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


class Torch7Adam(torch.optim.Adam):
    """Adam with Torch7's epsilon, which is added before the bias of the second moment is corrected.

    Both libraries divide by `sqrt(v / c) + eps` with `c = 1 - beta2 ** t`, but Torch7's `eps` is `epsilon / sqrt(c)`.
    """

    def __init__(self, params: Any, *, epsilon: float = 1e-8, **options: Any) -> None:
        super().__init__(params, **options)
        for group in self.param_groups:
            group.setdefault("epsilon", epsilon)

    def step(self, closure: Closure | None = None) -> Any:
        """One step."""
        loss = _evaluated(closure)
        for group in self.param_groups:
            done = max((float(self.state[p].get("step", 0)) for p in group["params"]), default=0.0)
            group["eps"] = group["epsilon"] / math.sqrt(1 - group["betas"][1] ** (done + 1))
        super().step()
        return loss


class Torch7SGD(torch.optim.SGD):
    """SGD with a learning rate and a weight decay for each number: `learningRates` and `weightDecays` of optim.sgd.

    They stand in the state of each parameter as `learning_rates` and `weight_decays`, of the parameter's shape.
    """

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """One step."""
        loss = _evaluated(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                grad = p.grad.add(p, alpha=group["weight_decay"])
                if group["weight_decay"] == 0 and "weight_decays" in state:
                    grad = p.grad.addcmul(p, state["weight_decays"])
                if group["momentum"] != 0:
                    if state.get("momentum_buffer") is None:
                        state["momentum_buffer"] = grad.clone()
                    else:
                        state["momentum_buffer"].mul_(group["momentum"]).add_(grad, alpha=1 - group["dampening"])
                    moved = state["momentum_buffer"]
                    grad = grad.add(moved, alpha=group["momentum"]) if group["nesterov"] else moved
                p.add_(grad * state.get("learning_rates", 1.0), alpha=-group["lr"])
        return loss


class Torch7NAG(torch.optim.Optimizer):
    """optim.nag: moves along its momentum, and only then evaluates the gradient, so that `step` needs a closure."""

    def __init__(self, params: Any, lr: float = 1e-3, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """One step; `closure` computes the gradients where the parameters then are.

        Raises:
            ValueError: there is no closure.
        """
        if closure is None:
            raise ValueError("Torch7NAG.step needs a closure: it moves the parameters before it asks for gradients")
        for group in self.param_groups:
            for p in group["params"]:
                if "momentum_buffer" in self.state[p]:
                    p.add_(self.state[p]["momentum_buffer"], alpha=group["momentum"])
        loss = _evaluated(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                grad = p.grad.add(p, alpha=group["weight_decay"]) * state.get("learning_rates", 1.0)
                p.add_(grad, alpha=-group["lr"])
                moved = state.setdefault("momentum_buffer", torch.zeros_like(p))
                moved.mul_(group["momentum"]).add_(grad, alpha=-group["lr"])
        return loss


class Torch7ASGD(torch.optim.ASGD):
    """ASGD whose step size is not rounded to single precision between the steps."""

    def step(self, closure: Closure | None = None) -> Any:
        """One step."""
        loss = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if state:
                    done = float(state["step"])
                    state["eta"].fill_(group["lr"] / (1 + group["lambd"] * group["lr"] * done) ** group["alpha"])
                    state["mu"].fill_(1 / max(1.0, done - group["t0"]))
        return loss

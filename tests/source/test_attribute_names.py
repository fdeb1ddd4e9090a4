"""Attributes are called by their roles where these are plain, and by no role where they are not."""

from __future__ import annotations

import pytest

from torchmigrate.source.expressions import Value, Variable, python
from torchmigrate.source.naming.attributes import name_skips, roles
from torchmigrate.source.scopes import Argument, Constructor, Scope, Statement, module_call


def layer(cls: str, **args: int) -> Constructor:
    return Constructor(f"nn.{cls}", [Argument(name, value, False) for name, value in args.items()])


def chain(*layers: Constructor) -> Constructor:
    return Constructor("nn.Sequential", kids=list(layers))


def linear(given: int, made: int) -> Constructor:
    return layer("Linear", in_features=given, out_features=made)


CONV, DOWN, UP = layer("Conv2d"), layer("Conv2d", stride=2), layer("ConvTranspose2d", stride=2)
POOL, RELU, FLAT, SOFTMAX = layer("MaxPool2d", kernel_size=2), layer("ReLU"), layer("Flatten"), layer("Softmax", dim=1)


def in_a_row(*calls: Constructor) -> tuple[Scope, Value]:
    """A scope that calls one after the other."""
    scope, value = Scope(), Variable()
    for number, call in enumerate(calls, 1):
        scope.attrs[f"layers{number}"] = call
        scope.statements.append(Statement([Variable()], module_call(f"layers{number}", value)))
        value = scope.statements[-1].outs[0]
    return scope, value


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([chain(CONV, RELU), chain(POOL, CONV, UP), chain(CONV, CONV)], ["encoder", "bottleneck", "decoder"]),
        ([chain(DOWN, RELU), chain(DOWN, RELU), chain(UP, RELU)], ["encoder", "encoder", "decoder"]),
        ([chain(DOWN, RELU), chain(UP, RELU), chain(DOWN, RELU)], ["features", "features", "features"]),
        ([chain(DOWN, RELU), chain(UP, RELU), chain(CONV, FLAT, linear(3, 4))], ["features", "features", "features"]),
        ([chain(CONV, RELU), chain(CONV, RELU), chain(UP, RELU)], ["features", "features", "features"]),
        ([chain(linear(9, 5), RELU), chain(linear(2, 5), RELU, linear(5, 9))], ["encoder", "decoder"]),
        ([chain(linear(9, 5), RELU), chain(linear(5, 5), RELU, linear(5, 8))], ["linear", "head"]),
        ([chain(CONV, RELU), chain(linear(9, 5)), chain(linear(5, 4), SOFTMAX)], ["features", "linear", "classifier"]),
        ([chain(linear(9, 5), RELU, linear(5, 5)), chain(CONV, RELU)], ["mlp", "features"]),
    ],
)  # fmt: skip
def test_chains_one_after_the_other(calls: list[Constructor], expected: list[str]) -> None:
    assert list(roles(*in_a_row(*calls)).values()) == expected


def test_branches_are_no_encoder_and_decoder() -> None:
    scope, result = in_a_row(chain(DOWN, RELU), chain(UP, RELU))
    assert list(roles(scope, result).values()) == ["encoder", "decoder"]
    scope.statements[1].expression = module_call("layers2", scope.statements[0].ins[0])
    assert list(roles(scope, result).values()) == ["features", "features"]


def test_heads_are_what_makes_the_results() -> None:
    scope, value = in_a_row(chain(CONV, RELU))
    outs = [Variable(), Variable()]
    assert isinstance(value, Variable)
    for number, out in enumerate(outs):
        scope.attrs[f"conv{number}"] = CONV
        scope.statements.append(Statement([out], module_call(f"conv{number}", value)))
    assert list(roles(scope, [*outs]).values()) == ["features", "head", "head"]
    assert list(roles(scope, [*outs, value]).values()) == ["features", "conv", "conv"]
    scope.given.add("conv1")
    assert list(roles(scope, [*outs]).values()) == ["features", "head", "conv1"]
    scope.given.clear()
    scope.statements[1].expression = module_call("conv0", Variable())
    assert list(roles(scope, [*outs]).values()) == ["features", "conv", "conv"]


@pytest.mark.parametrize(
    ("last", "operator", "expected"),
    [("Sigmoid", "a * b", "gate"), ("Softmax", "a @ b", "attention"), ("Sigmoid", "a @ b", ""), ("ReLU", "a * b", "")],
)
def test_what_multiplies_another_value(last: str, operator: str, expected: str) -> None:
    scope, other = Scope(is_block=True), Variable()
    made, result = Variable(), Variable()
    scope.attrs["branch"] = chain(CONV, layer(last))
    scope.statements.append(Statement([made], module_call("branch", other)))
    scope.statements.append(Statement([result], python(operator, a=made, b=other)))
    assert roles(scope, result) == {"branch": expected or "branch"}


def test_skips_are_what_not_only_the_next_encoder_reads() -> None:
    scope, value = in_a_row(chain(DOWN, RELU), chain(DOWN, RELU))
    assert isinstance(value, Variable)
    first = scope.statements[0].outs[0]
    scope.attrs = {"encoder1": DOWN, "encoder2": DOWN}
    for number, statement in enumerate(scope.statements, 1):
        statement.expression = module_call(f"encoder{number}", statement.ins[0])
    name_skips(scope)
    assert [first.hint, value.hint] == ["", ""]
    scope.statements.append(Statement([Variable()], python("a + b", a=first, b=value)))
    name_skips(scope)
    assert [first.hint, value.hint] == ["skip", ""]


def test_a_sampled_vector_has_a_mean_and_a_log_variance() -> None:
    scope, x = Scope(), Variable()
    for name in ("linear", "linear2"):
        scope.attrs[name] = linear(4, 3)
    mean, half = scope.assign(module_call("linear", x), ()), scope.assign(module_call("linear2", x), ())
    deviation = scope.assign(python("(x * 0.5).exp()", x=half), ())
    assert "mean" not in roles(scope, deviation).values()
    scope.statements.pop()
    halved = scope.assign(python("x * 0.5", x=half), ())
    deviation, noise = (scope.assign(python(text, x=halved), ()) for text in ("x.exp()", "torch.randn_like(x)"))
    spread = scope.assign(python("a * b", a=deviation, b=noise), ())
    result = scope.assign(python("a + b", a=mean, b=spread), ())
    assert roles(scope, result) == {"linear": "mean", "linear2": "log_variance"}

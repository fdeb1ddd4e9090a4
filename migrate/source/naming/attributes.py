"""What the attributes of a class are called: by the author, by their role where that is plain, else by their kind."""

from __future__ import annotations

import ast

from ..expressions import Value, Variable, called_method, variables
from ..scopes import Constructor, Scope, Statement
from .states import operands

#: Classes of layers that make an image larger.
_ENLARGES = ("Upsample", "PixelShuffle", "Unpool")

#: The last layer of a chain -> what the chain is, where its result multiplies another.
_FACTORS = {"nn.Sigmoid": "gate", "nn.Softmax": "attention"}

#: Last layers of classifiers.
_CLASSIFIES = ("nn.LogSoftmax", "nn.Softmax")


def roles(scope: Scope, result: Value) -> dict[str, str]:
    """Attribute -> what it is called by its role; several may be called the same."""
    found = {name: _base(name) for name in scope.attrs}
    chains = [name for name in scope.attrs if _is_unnamed_chain(scope, name)]
    if not scope.is_block:
        found |= _kinds(scope, result, chains)
        found |= _heads(scope, result)
        found |= _encoders(scope, chains) or _of_vectors(scope, chains)
        found |= _of_normal_numbers(scope)
    return found | _factors(scope) | {name: name for name in scope.given if name in scope.attrs}


def name_skips(scope: Scope) -> None:
    """Names the results of encoders that not only the next one reads."""
    makers = [s for s in scope.statements if _base(s.calls) == "encoder" and len(s.outs) == 1]
    deeper = {s.ins[0] for s in scope.statements if _base(s.calls) in ("encoder", "bottleneck") and len(s.ins) == 1}
    reads = [value for statement in scope.statements for value in statement.ins]
    skips = [s.outs[0] for s in makers if s.outs[0] in deeper and reads.count(s.outs[0]) > 1]
    for number, value in enumerate(skips, 1):
        value.hint = value.hint or (f"skip{number}" if len(skips) > 1 else "skip")


def _base(name: str) -> str:
    """A name without its number."""
    base = name.rstrip("0123456789") or name
    return "layers" if base == "chain" else base


def _is_unnamed_chain(scope: Scope, name: str) -> bool:
    return scope.attrs[name].is_chain and name not in scope.given and _base(name) == "layers"


def _kinds(scope: Scope, result: Value, chains: list[str]) -> dict[str, str]:
    """Names of the chains of a model by what they are made of."""
    groups = [name for name in chains if any(kid.block or kid.is_chain for kid in scope.attrs[name].kids)]
    found = {}
    for name in chains:
        kinds = [kid.cls for kid in scope.attrs[name].kids]
        if name in groups and len(groups) > 1:
            found[name] = "layer"
        elif "nn.Linear" in kinds and not any(kind.startswith("nn.Conv") for kind in kinds):
            several = "mlp" if kinds.count("nn.Linear") > 1 else "linear"
            last = "classifier" if kinds[-1] in _CLASSIFIES else "head"
            found[name] = "layers" if len(chains) == 1 else last if _is_last(scope, name, result) else several
        elif groups and name == chains[0] and name not in groups:
            found[name] = "stem"
        elif any("Conv" in kind for kind in kinds) or name in groups:
            found[name] = "features"
    return found


def _is_last(scope: Scope, name: str, result: Value) -> bool:
    """Does it make the one result of a model?"""
    statement = _call_of(scope, name)
    return statement is not None and isinstance(result, Variable) and statement.outs == [result]


def _call_of(scope: Scope, name: str) -> Statement | None:
    """The only statement that reads an attribute, which calls it for one value; None if there is no such."""
    users = [statement for statement in scope.statements if name in statement.attributes]
    return users[0] if len(users) == 1 and users[0].calls == name and len(users[0].outs) == 1 else None


def _heads(scope: Scope, result: Value) -> dict[str, str]:
    """Names of what makes the results of a model, where there are several and each is made by one of its own."""
    results = variables(result)
    if len(results) < 2 or len(set(results)) < len(results):
        return {}
    makers = {statement.outs[0]: statement for statement in scope.statements if len(statement.outs) == 1}
    calls = [makers[value].calls if value in makers else "" for value in results]
    read = {value for statement in scope.statements for value in statement.ins}
    made = {out for statement in scope.statements for out in statement.outs}
    if not all(calls) or not made.issuperset(value for result in results for value in makers[result].ins):
        return {}  # a head stands on what the others made of the input
    if not read.isdisjoint(results) or any(_call_of(scope, name) is None for name in calls):
        return {}
    return dict.fromkeys(calls, "head")


def _encoders(scope: Scope, chains: list[str]) -> dict[str, str]:
    """Names of chains that first make an image smaller and then larger again; none where it is not all that plain."""
    called = [statement.calls for statement in scope.statements if statement.calls in chains]
    sizes = [resizing(scope.attrs[name]) for name in called]
    turn = next((place for place, size in enumerate(sizes) if size in ("both", "larger")), len(sizes))
    has_middle = sizes[turn : turn + 1] == ["both"]
    before, after = called[:turn], called[turn + has_middle :]
    shrinks = has_middle or "smaller" in sizes[:turn]
    only_enlarges = {"", "larger"}.issuperset(sizes[turn + has_middle :])
    if not (before and after and shrinks and only_enlarges and _gives_image(scope.attrs[called[-1]])):
        return {}
    if not _follow(scope, called):
        return {}
    names = dict.fromkeys(before, "encoder") | dict.fromkeys(after, "decoder")
    return names | ({called[turn]: "bottleneck"} if has_middle else {})


def _gives_image(call: Constructor) -> bool:
    classes = [layer.cls for layer in call.walk()]
    is_flat = any(cls in ("nn.Linear", "nn.Flatten") for cls in classes)
    return resizing(call) == "larger" or (not is_flat and any("Conv" in cls for cls in classes))


def _follow(scope: Scope, called: list[str]) -> bool:
    """Is each attribute called once, for what was made of the result of the one before it?"""
    behind: dict[Variable, set[str]] = {}
    follows: list[bool] = []
    for statement in scope.statements:
        inside: set[str] = set().union(*(behind.get(value, set()) for value in statement.ins))
        if statement.calls in called:
            follows.append(set(called[: len(follows)]) <= inside)
        behind |= dict.fromkeys(statement.outs, inside | {statement.calls})
    return all(follows) and len(set(called)) == len(called)


def resizing(call: Constructor) -> str:
    """Does what a constructor makes give a smaller image, a larger one, or first one and then the other?"""
    layers = [layer for layer in call.walk() if _stride(layer) > 1]
    smaller = any(
        ("Pool" in c.cls and "Adaptive" not in c.cls) or ("Conv" in c.cls and not _is_transposed(c)) for c in layers
    )
    larger = any(map(_is_transposed, layers)) or any(kind in c.cls for c in call.walk() for kind in _ENLARGES)
    return "both" if smaller and larger else "smaller" if smaller else "larger" if larger else ""


def _is_transposed(call: Constructor) -> bool:
    return "ConvTranspose" in call.cls


def _stride(call: Constructor) -> float:
    """The largest stride of a layer; that of a pooling is as large as its windows, where it is not said."""
    given = {arg.name: arg.value for arg in call.args}
    stride = given.get("stride", given.get("kernel_size", 1) if "Pool" in call.cls else 1)
    numbers = stride if isinstance(stride, (list, tuple)) else [stride]
    return max((n for n in numbers if isinstance(n, (int, float))), default=1)


def _of_vectors(scope: Scope, chains: list[str]) -> dict[str, str]:
    """Names of two chains of linear layers, the first to a shorter vector, the last back to one of the same length."""
    if len(chains) != 2:
        return {}
    widths = [[_features(kid) for kid in scope.attrs[name].kids if kid.cls == "nn.Linear"] for name in chains]
    if not all(widths):
        return {}
    (first, *_), (*_, last) = widths
    begin, end = widths[0][-1][1], widths[1][0][0]
    return dict(zip(chains, ("encoder", "decoder"), strict=True)) if begin < first[0] == last[1] > end else {}


def _of_normal_numbers(scope: Scope) -> dict[str, str]:
    """Names of what makes the mean and the logarithm of the variance of normal random numbers, as in a VAE."""
    made_by = {out: statement.expression for statement in scope.statements for out in statement.outs}
    for mean, spread in [pair for out in made_by for pair in operands(out, ast.Add, made_by)]:
        for deviation, noise in operands(spread, ast.Mult, made_by):
            match made_by.get(deviation), made_by.get(noise):
                case ast.Call(ast.Attribute(Variable() as half, "exp"), []), ast.Call() as drawn:
                    if called_method(drawn, of="torch") != "randn_like":
                        continue
                    match made_by.get(half):
                        case ast.BinOp(Variable() as log_variance, ast.Mult(), ast.Constant(0.5)):
                            parts = [mean, log_variance]
                            calls = [called_method(made_by[v], of="self") if v in made_by else "" for v in parts]
                            if all(name and _call_of(scope, name) for name in calls):
                                return dict(zip(calls, ("mean", "log_variance"), strict=True))
    return {}


def _features(call: Constructor) -> tuple[int, int]:
    """How many numbers a linear layer takes and gives."""
    given = {arg.name: arg.value for arg in call.args}
    return given["in_features"], given["out_features"]


def _factors(scope: Scope) -> dict[str, str]:
    """Names of chains whose result, a sigmoid or softmax, multiplies something."""
    found = {}
    for name, call in scope.attrs.items():
        role = _FACTORS.get(call.kids[-1].cls, "") if call.is_chain and call.kids else ""
        statement = _call_of(scope, name) if role and _base(name) in ("layers", "branch") else None
        if statement is not None and _multiplies(scope, statement.outs[0], matrices=role == "attention"):
            found[name] = role
    return found


def _multiplies(scope: Scope, value: Variable, *, matrices: bool) -> bool:
    """Is a value read once, to multiply another value, perhaps after it was multiplied by a number?"""
    users = [statement for statement in scope.statements if value in statement.ins]
    if len(users) != 1 or users[0].ins.count(value) != 1:
        return False
    match users[0].expression:
        case ast.BinOp(Variable(), ast.Mult(), ast.Constant()) if len(users[0].outs) == 1:
            return _multiplies(scope, users[0].outs[0], matrices=matrices)
        case ast.BinOp(Variable(), ast.Mult(), Variable()):
            return True
        case ast.BinOp(Variable(), ast.MatMult(), Variable()):
            return matrices
    return False

"""Makes the steps of a forward method read better: chains of modules, functions for lone activations."""

from __future__ import annotations

from collections import Counter

from .constructors import Made
from .lowering import without_inplace
from .scopes import Scope, Step, Sym, Value, free

#: Modules that are written as a function where they stand alone.
_FUNCTIONS = {
    "nn.ReLU": "torch.relu({0})",
    "nn.Sigmoid": "torch.sigmoid({0})",
    "nn.Tanh": "torch.tanh({0})",
}


def tidy(scope: Scope, result: Value) -> None:
    """Tidies a scope, in place."""
    uses = count_uses(scope, result)
    made_by = {id(out): step for step in scope.steps for out in step.outs}
    for step in scope.steps:
        _release(scope, step, uses, made_by)
    _chain(scope, uses)
    _functions(scope)
    _subtract(scope, uses, made_by)
    _rename(scope)


def count_uses(scope: Scope, result: Value) -> Counter[int]:
    """How often each value is read."""
    uses = Counter(id(value) for step in scope.steps for value in step.ins)
    uses.update(id(value) for value in flat(result))
    return uses


def flat(value: Value) -> list[Sym]:
    """The symbolic values of a nested one."""
    return [item for part in value for item in flat(part)] if isinstance(value, list) else [value]


def called(scope: Scope, step: Step) -> str | None:
    """The attribute that a step calls with one value."""
    if not step.call or len(step.ins) != 1 or len(step.outs) != 1:
        return None
    name = step.template.removeprefix("self.").removesuffix("({0})")
    return name if name in scope.attrs else None


def _release(scope: Scope, step: Step, uses: Counter[int], made_by: dict[int, Step]) -> None:
    """Takes `inplace` away where nobody can see it: the value is new, and nobody else reads it."""
    source = step.ins[0] if step.ins else None
    unseen = source is not None and source.fresh and uses[id(source)] == 1 and id(source) in made_by
    name = called(scope, step)
    if unseen and name is not None:
        scope.attrs[name] = _first_without_inplace(scope.attrs[name])
    if step.barrier and unseen:
        step.template = step.template.replace(".add_(", " + ").replace(")", "")
        step.barrier, step.atomic = False, False
    if name is not None and changes_input(scope.attrs[name]):
        step.barrier = True


def _first_without_inplace(made: Made) -> Made:
    if made.is_chain and made.kids:
        return Made(made.cls, made.args, [_first_without_inplace(made.kids[0]), *made.kids[1:]])
    return without_inplace(made)


def changes_input(made: Made) -> bool:
    """Does the call change its input in place?"""
    first = made
    while first.is_chain and first.kids:
        first = first.kids[0]
    return any(arg.name == "inplace" and arg.value is True for arg in first.args)


def _links(scope: Scope, step: Step) -> Made | None:
    """The module of a step that can be a link of a chain: a leaf, or a class of its own."""
    name = called(scope, step)
    made = scope.attrs[name] if name is not None and name not in scope.given else None
    calls = sum(other.template.startswith(f"self.{name}(") for other in scope.steps)
    return made if made is not None and not made.is_chain and calls == 1 else None


def _chain(scope: Scope, uses: Counter[int]) -> None:
    """Puts modules that are called one after the other into one nn.Sequential."""
    steps: list[Step] = []
    chains: list[list[Step]] = []
    for step in scope.steps:
        last = chains[-1] if chains else []
        linked = _links(scope, step) is not None
        follows = linked and last and step.ins[0] is last[-1].outs[0] and uses[id(step.ins[0])] == 1
        if follows and steps and steps[-1] is last[0] and not (step.barrier and last[0].barrier):
            last.append(step)
            continue
        steps.append(step)
        if linked:
            chains.append([step])
    for chain in chains:
        if len(chain) < 2:
            continue
        names = [name for step in chain if (name := called(scope, step)) is not None]
        kids = [scope.attrs[name] for name in names]
        made = Made("nn.Sequential", kids=kids)
        place = list(scope.attrs).index(names[0])
        attribute = free("chain", scope.attrs)
        items = [(k, v) for k, v in scope.attrs.items() if k not in names]
        scope.attrs.clear()
        scope.attrs.update([*items[:place], (attribute, made), *items[place:]])
        chain[0].template = f"self.{attribute}({{0}})"
        chain[0].outs = chain[-1].outs
    scope.steps[:] = steps


def _functions(scope: Scope) -> None:
    for step in scope.steps:
        name = called(scope, step)
        if name is None:
            continue
        made = scope.attrs[name]
        if changes_input(made):
            continue
        template = _FUNCTIONS.get(made.cls)
        if made.cls in ("nn.LogSoftmax", "nn.Softmax"):
            function = "log_softmax" if made.cls == "nn.LogSoftmax" else "softmax"
            template = f"torch.{function}({{0}}, {made.args[0].value})"
        if template is not None:
            step.template, step.call = template, False
            del scope.attrs[name]


def _subtract(scope: Scope, uses: Counter[int], made_by: dict[int, Step]) -> None:
    """Writes `x * -1.0 + 1.0`, as Torch7 has it for want of a layer, as `1.0 - x`, which is the same to the bit."""
    for step in scope.steps:
        negation = made_by.get(id(step.ins[0])) if step.ins else None
        constant = step.template.removeprefix("{0} + ")
        if constant == step.template or not constant.replace(".", "").isdigit():
            continue
        if negation is not None and negation.template == "{0} * -1.0" and uses[id(step.ins[0])] == 1:
            step.template, step.ins = f"{constant} - {{0}}", negation.ins
            scope.steps[:] = [other for other in scope.steps if other is not negation]


def _rename(scope: Scope) -> None:
    """Names chains and groups by what they are, and numbers what there is several of."""
    names = roles(scope)
    counts = Counter(names.values())
    taken: Counter[str] = Counter()
    renamed: dict[str, str] = {}
    for old, name in names.items():
        taken[name] += 1
        renamed[old] = name if counts[name] == 1 else f"{name}{taken[name]}"
    # an annotated or given name may already end in a number that another role would get
    while len(set(renamed.values())) < len(renamed):
        seen: set[str] = set()
        for old, name in renamed.items():
            renamed[old] = free(name, seen) if name in seen else name
            seen.add(renamed[old])
    attrs = {renamed[old]: made for old, made in scope.attrs.items()}
    scope.attrs.clear()
    scope.attrs.update(attrs)
    for step in scope.steps:
        if step.call:
            old = step.template[len("self.") : step.template.index("(")]
            step.template = f"self.{renamed[old]}{step.template[step.template.index('(') :]}"


def roles(scope: Scope) -> dict[str, str]:
    """Attribute -> what it is called by its role."""
    chains = [
        name for name, made in scope.attrs.items() if made.is_chain and name.rstrip("0123456789") in ("chain", "layers")
    ]
    groups = [name for name in chains if any(kid.block or kid.is_chain for kid in scope.attrs[name].kids)]
    found: dict[str, str] = {}
    for name, made in scope.attrs.items():
        base = name.rstrip("0123456789") or name
        if name in scope.given:
            found[name] = name
            continue
        if scope.is_block or name not in chains:
            found[name] = base if base not in ("chain", "layers") else "layers"
            continue
        kinds = {kid.cls for kid in made.kids}
        if name in groups and len(groups) > 1:
            found[name] = "layer"
        elif "nn.Linear" in kinds and not any(kind.startswith("nn.Conv") for kind in kinds):
            found[name] = "classifier" if len(chains) > 1 else "layers"
        elif groups and name == chains[0] and name not in groups:
            found[name] = "stem"
        elif any("Conv" in kind for kind in kinds) or name in groups:
            found[name] = "features"
        else:
            found[name] = "layers"
    return found

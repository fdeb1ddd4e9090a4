"""Makes the statements of a forward method read better: chains of modules, functions for lone activations."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import replace

from .expressions import Value, Variable, is_in_place, python, replaced, variables
from .naming.attributes import name_skips, roles
from .scopes import Constructor, Loop, Scope, Statement, free, module_call
from .statements.rows import walk_rows

#: Modules that are written as a function where they stand alone.
_FUNCTIONS = {
    "nn.ReLU": "torch.relu(x)",
    "nn.Sigmoid": "torch.sigmoid(x)",
    "nn.Tanh": "torch.tanh(x)",
    "nn.LogSoftmax": "torch.log_softmax(x, dim)",
    "nn.Softmax": "torch.softmax(x, dim)",
}

#: Why values are read where they are: said at the first line of which it holds.
_ACTIVATED = "Torch7 activates in place, so skip connections too"
_IN_PLACE = "changes its input in place, as in Torch7, for those that read it below"


def tidy(scope: Scope, result: Value) -> None:
    """Tidies a scope, in place."""
    uses = count_uses(scope, result)
    made_by = {out: statement for statement in scope.statements for out in statement.outs}
    for statement in scope.statements:
        name = called(statement)
        statement.changes_input = scope.attrs[name].changes_input if name else is_in_place(statement.expression)
    _activate_at_once(scope, result, uses)
    _chain(scope, count_uses(scope, result))
    _functions(scope)
    _subtract(scope, uses, made_by)
    _chunk(scope, uses, made_by)
    _keep_last(scope, result)
    walk_rows(scope, result)
    _drop_copies(scope, result)
    _rename(scope, result)


def count_uses(scope: Scope, result: Value) -> Counter[Variable]:
    """How often each value is read."""
    uses = Counter(value for statement in scope.statements for value in statement.ins)
    uses.update(value for value in variables(result))
    return uses


def called(statement: Statement) -> str:
    """The attribute that a statement calls with one value, of which it makes one; "" if it does not."""
    match statement.expression:
        case ast.Call(args=[Variable()]) if len(statement.outs) == 1:
            return statement.calls
    return ""


def _activate_at_once(scope: Scope, result: Value, uses: Counter[Variable]) -> None:
    """Puts an in-place layer right behind what made its input where others read that later, and says that."""
    made_by = {out: statement for statement in scope.statements for out in statement.outs}
    said = False
    for statement in list(scope.statements):
        name = called(statement)
        old = statement.ins[0] if name and statement.changes_input else None
        if old is None or uses.get(old) == 1:  # nobody else reads it
            continue
        place = scope.statements.index(statement)
        if not any(old in other.ins for other in scope.statements[place + 1 :]):
            continue
        statement.comment = statement.comment or _IN_PLACE
        read_before = any(old in other.ins for other in scope.statements[:place]) or old in variables(result)
        once = sum(name in other.attributes for other in scope.statements) == 1
        if read_before or not once or not _is_fresh(scope, made_by.get(old)):
            continue
        statement.comment = "" if said else _ACTIVATED
        said = True
        new = _split(scope, statement)
        for other in scope.statements[place + 1 :]:
            other.expression = replaced(other.expression, {old: new})
            other.replaces = new if other.replaces is old else other.replaces
        made_by.update({out: other for other in scope.statements for out in other.outs})


def _split(scope: Scope, statement: Statement) -> Variable:
    """Lets the in-place layer that a statement begins with give a value of its own, of a statement; returns that."""
    name, (old,) = statement.calls, statement.ins
    call = scope.attrs[name]
    first, *behind = call.kids if call.is_chain else [call]
    first = replace(first, args=[replace(arg, value=arg.name != "inplace" and arg.value) for arg in first.args])
    statement.changes_input = False
    if not behind:
        scope.attrs[name] = first
        return statement.outs[0]
    items = list(scope.attrs.items())
    place = list(scope.attrs).index(name)
    attribute = free("layers", scope.attrs)
    rest = behind[0] if len(behind) == 1 else Constructor("nn.Sequential", kids=behind)
    scope.attrs.clear()
    scope.attrs.update([*items[:place], (attribute, first), (name, rest), *items[place + 1 :]])
    new = Variable(old.values, type_=old.type)
    behind_it = Statement(statement.outs, module_call(name, new), rest.changes_input)
    scope.statements.insert(scope.statements.index(statement) + 1, behind_it)
    statement.expression, statement.outs = module_call(attribute, old), [new]
    return new


def _is_fresh(scope: Scope, statement: Statement | None) -> bool:
    """Does a layer make the value that a statement gives, so that nothing else shares its memory?"""
    name = called(statement) if statement is not None else ""
    links = scope.attrs[name].kids or [scope.attrs[name]] if name else []
    return bool(links) and any(kind in links[-1].cls for kind in ("Conv", "Norm", "Linear"))


def _is_link(scope: Scope, statement: Statement, calls: Counter[str]) -> bool:
    """Does the statement call a module that can be a link of a chain: a leaf, or a class of its own?"""
    name = called(statement)
    return name != "" and calls[name] == 1 and name not in scope.given and not scope.attrs[name].is_chain


def _chain(scope: Scope, uses: Counter[Variable]) -> None:
    """Puts modules that are called one after the other into one nn.Sequential."""
    statements: list[Statement] = []
    chains: list[list[Statement]] = []
    calls = Counter(name for statement in scope.statements for name in set(statement.attributes))
    for statement in scope.statements:
        last = chains[-1] if chains else []
        linked = _is_link(scope, statement, calls)
        follows = linked and last and statement.ins[0] is last[-1].outs[0] and uses[statement.ins[0]] == 1
        both_change = last and statement.changes_input and last[0].changes_input
        if follows and statements[-1] is last[0] and not both_change:
            last.append(statement)
            continue
        statements.append(statement)
        if linked:
            chains.append([statement])
    for chain in chains:
        if len(chain) < 2:
            continue
        names = [statement.calls for statement in chain]
        sequential = Constructor("nn.Sequential", kids=[scope.attrs[name] for name in names])
        place = list(scope.attrs).index(names[0])
        attribute = free("chain", scope.attrs)
        items = [(k, v) for k, v in scope.attrs.items() if k not in names]
        scope.attrs.clear()
        scope.attrs.update([*items[:place], (attribute, sequential), *items[place:]])
        chain[0].expression, chain[0].outs = module_call(attribute, chain[0].ins[0]), chain[-1].outs
        chain[0].comment = next((statement.comment for statement in chain if statement.comment), "")
    scope.statements[:] = statements


def _functions(scope: Scope) -> None:
    for statement in scope.statements:
        name = called(statement)
        constructor = scope.attrs.get(name)
        if constructor is not None and constructor.cls in _FUNCTIONS and not constructor.changes_input:
            operands = {arg.name: arg.value for arg in constructor.args}
            statement.expression = python(_FUNCTIONS[constructor.cls], x=statement.ins[0], **operands)
            del scope.attrs[name]


def _subtract(scope: Scope, uses: Counter[Variable], made_by: dict[Variable, Statement]) -> None:
    """Writes `x * -1.0 + 1.0`, as Torch7 has it for want of a layer, as `1.0 - x`, which is the same to the bit."""
    for statement in list(scope.statements):
        match statement.expression:
            case ast.BinOp(Variable() as negated, ast.Add(), ast.Constant() as constant) if negated in made_by:
                negation = made_by[negated]
                match negation.expression:
                    case ast.BinOp(value, ast.Mult(), ast.Constant(-1.0)) if uses[negated] == 1:
                        statement.expression = python("n - x", n=constant, x=value)
                        scope.statements.remove(negation)


def _chunk(scope: Scope, uses: Counter[Variable], made_by: dict[Variable, Statement]) -> None:
    """Writes `x.unflatten(1, (4, 5)).unbind(1)` as `x.chunk(4, 1)`."""
    for statement in list(scope.statements):
        match statement.expression:
            case ast.Call(ast.Attribute(Variable() as split, "unbind"), [ast.Constant(dim)]) if split in made_by:
                maker = made_by[split]
                match maker.expression:
                    case ast.Call(
                        ast.Attribute(value, "unflatten"), [ast.Constant(d), ast.Tuple([ast.Constant(int() as n), _])]
                    ) if (d, n, uses[split]) == (dim, len(statement.outs), 1):
                        statement.expression = python("x.chunk(n, dim)", x=value, n=n, dim=dim)
                        scope.statements.remove(maker)


def _keep_last(scope: Scope, result: Value) -> None:
    """Keeps no list of what a loop gives for each entry where only the last is read."""
    uses = count_uses(scope, result)
    for loop in [statement for statement in scope.statements if isinstance(statement, Loop)]:
        outputs, last, *_ = loop.outs
        for statement in scope.statements:
            match statement.expression:
                case ast.Subscript(value, ast.Constant(-1)) if value is outputs and uses[outputs] == 1:
                    statement.expression = last
                    loop.outs.remove(outputs)
                    loop.body = [part for part in loop.body if outputs not in variables(part) or part is loop.body[-1]]
                    match loop.body[-1]:
                        case ast.For(body=body):
                            del body[-1]


def _drop_copies(scope: Scope, result: Value) -> None:
    """Takes no copy of a part of a tensor where nothing changes in place and only new tensors are made of it."""
    if any(statement.changes_input or isinstance(statement, Loop) for statement in scope.statements):
        return
    kept = variables(result)
    for statement in scope.statements:
        match statement.expression:
            case ast.Call(ast.Attribute(part, "clone"), []) if not set(kept) & set(statement.outs):
                readers = [other for other in scope.statements if statement.outs[0] in other.ins]
                if all(map(_makes_new, readers)):
                    statement.expression = part


def _makes_new(statement: Statement) -> bool:
    """Does a statement make a new tensor, of the same bits however its operands lie in memory?"""
    match statement.expression:
        case ast.BinOp(Variable(), ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), Variable()):
            return True
        case ast.Call(ast.Attribute(ast.Name("torch"), "relu" | "cat" | "stack")):
            return True
    return False


def _rename(scope: Scope, result: Value) -> None:
    """Names chains and groups by what they are, and numbers what there is several of."""
    names = roles(scope, result)
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
    attrs = {renamed[old]: constructor for old, constructor in scope.attrs.items()}
    scope.attrs.clear()
    scope.attrs.update(attrs)
    for statement in scope.statements:
        statement.rename(renamed)
    name_skips(scope)

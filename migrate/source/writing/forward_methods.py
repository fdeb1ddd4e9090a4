"""Writes forward methods: which values get a name, and which expressions stand inside others."""

from __future__ import annotations

import ast
import keyword
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf

from ..expressions import Value, Variable, replaced, tree_of, type_of, variables
from ..scopes import Loop, Scope, Statement
from ..simplify import count_uses

#: Longest expression that may stand inside another one.
_INNER = 44

#: Longest expression of a line, in which an operand of this length, or more, stands.
_LINE, _OPERAND = 74, 30

#: Longest line with a comment beside it.
_BESIDE = 80

#: Names that a variable must not hide.
RESERVED = frozenset({"self", "torch", "nn", "F", "Tensor", "Path", "load_file", "math", "Any", "Model"})


def identifier(text: str, default: str = "value") -> str:
    """A valid Python name made of any text."""
    name = re.sub(r"[^0-9a-z_]+", "_", text.lower().strip()).strip("_")[:40]
    if not name or name[0].isdigit():
        name = f"{default}_{name}" if name else default
    return f"{name}_" if keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in RESERVED else name


def returned_type(value: Value) -> str:
    """The type of what a whole model returns: tuples for tables."""
    if isinstance(value, list):
        return f"tuple[{', '.join(returned_type(item) for item in value)}]" if value else "tuple[()]"
    return type_of(value)


def _stored(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement gives a value, and those in a loop."""
    assigned = [node for node in ast.walk(statement) if isinstance(node, ast.Assign)]
    targets = [target for node in assigned for target in node.targets]
    return (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))


def _is_of_several(statement: Statement) -> bool:
    """Does a call take or give several values?"""
    match statement.expression:
        case ast.Call(args=args):
            return len(args) > 1 or len(statement.outs) > 1
    return False


def _gives_list(scope: Scope, statement: Statement) -> bool:
    """Does it give several values as a list, where a tuple is returned?"""
    own = statement.calls and scope.attrs[statement.calls].own is not None
    return bool(own) or isinstance(statement.expression, ast.ListComp)


class Forward:
    """The text of a forward method.

    Args:
        scope: what it does.
        inputs: its parameters.
        result: what it returns.
        check: statements before all others; their names stand for nothing else.

    Attributes:
        signature: the parameters with their types, `self` included.
        returns: type of the result.
        lines: its body.
    """

    def __init__(self, scope: Scope, inputs: list[Variable], result: Value, check: Sequence[ast.stmt] = ()) -> None:
        self.uses: Counter[Variable] = count_uses(scope, result)
        self.shown: dict[Variable, ast.expr] = {}
        self.lines: list[str] = []
        self.last: dict[Variable, int] = {}
        for place, statement in enumerate(scope.statements):
            self.last.update(dict.fromkeys(statement.ins, place))
        self.last.update({value: len(scope.statements) for value in variables(result)})
        read = {name for statement in check for name in _stored(statement)}
        self.held: dict[str, Variable] = {name: Variable() for name in read}  # script lets a name have one type only
        self.last.update(dict.fromkeys(self.held.values(), len(scope.statements) + 1))
        self.bases: dict[Variable, list[Variable]] = {}
        self.first: dict[str, tuple[int, float]] = {}  # the first number free behind a name, and up to which line it is
        self.random = {name for name, call in scope.attrs.items() if call.draws}
        self.replaced = {statement.replaces for statement in scope.statements}
        # no value is written behind these, if it was made before them
        self.barriers = [at for at, other in enumerate(scope.statements) if other.changes_input or other.comment]
        self.inputs = inputs
        nameless = [value for value in inputs if not value.hint]
        numbered = {value: f"x{i}" if len(nameless) > 1 else "x" for i, value in enumerate(nameless, 1)}
        names = [self._name(value, -1, default=numbered.get(value, "x")) for value in inputs]
        self.signature = ", ".join(["self", *map("{}: {}".format, names, map(type_of, inputs))])
        for line in check:
            self.lines += ast.unparse(ast.fix_missing_locations(replaced(line, self.shown))).splitlines()
        for place, statement in enumerate(scope.statements):
            self._write(scope.statements, place, statement)
        is_list = scope.is_block and not scope.is_step
        self.returns = type_of(result) if is_list else returned_type(result)
        returned = ast.unparse(replaced(tree_of(result), self.shown)) if is_list else self._returned(result)
        named = (
            scope.statements and isinstance(result, list) and not is_list and _gives_list(scope, scope.statements[-1])
        )
        if self.lines and self.lines[-1].startswith(f"{returned} = ") and not named:
            returned = self.lines.pop().removeprefix(f"{returned} = ")
        self.lines.append(f"return {returned}")

    def _returned(self, result: Value) -> str:
        if isinstance(result, list):
            parts = [f"({self._returned(item)})" if isinstance(item, list) else self._returned(item) for item in result]
            return f"{parts[0]}," if len(parts) == 1 else ", ".join(parts)
        return ast.unparse(self.shown[result])

    def _write(self, statements: list[Statement], place: int, statement: Statement) -> None:
        if isinstance(statement, Loop):
            for value in (*statement.outs, statement.step):  # the sequence is read to the end
                self._name(value, place - 1)
            lines = [ast.unparse(ast.fix_missing_locations(replaced(line, self.shown))) for line in statement.body]
            self.lines += "\n".join(lines).splitlines()
            return
        expression = replaced(statement.expression, self.shown)
        text = ast.unparse(expression)
        if len(statement.outs) == 1 and self._stands_inside(statements, place, statement, text):
            out = statement.outs[0]
            self.shown[out] = expression
            self.bases[out] = [base for value in statement.ins for base in self.bases[value]]
            return
        text = self._shortened(statement, place, text)
        if statement.replaces is not None:
            self._rename(statement.replaces, statement.outs[0], place)
        defaults = self._defaults(statement, place)
        pairs = zip(statement.outs, defaults, strict=True)
        names = [self._name(out, place, default) if self.uses[out] else "_" for out, default in pairs]
        line, comment = f"{', '.join(names)} = {text}", f"# {statement.comment}" if statement.comment else ""
        beside = len(f"{line}  {comment}") <= _BESIDE
        self.lines += [comment] if comment and not beside else []
        self.lines.append(f"{line}  {comment}".rstrip() if beside else line)

    def _shortened(self, statement: Statement, place: int, text: str) -> str:
        """The text of an expression; operands with which it would be too long get lines of their own."""
        while len(text) > _LINE:
            lengths = {value: len(ast.unparse(self.shown[value])) for value in statement.ins}
            longest = max(lengths, key=lengths.__getitem__, default=None)
            if longest is None or lengths[longest] < _OPERAND:
                break
            inside = ast.unparse(self.shown[longest])
            self.lines.append(f"{self._name(longest, place - 1)} = {inside}")
            text = ast.unparse(replaced(statement.expression, self.shown))
        return text

    def _stands_inside(self, statements: list[Statement], place: int, statement: Statement, text: str) -> bool:
        """May the result be written where it is used, without a name?"""
        out = statement.outs[0]
        if self.uses[out] != 1 or statement.changes_input or statement.comment or len(text) > _INNER:
            return False
        user = self.last[out]
        later = bisect_right(self.barriers, place)
        if later < len(self.barriers) and self.barriers[later] <= user:
            return False
        if out in self.replaced or not self.random.isdisjoint(statement.attributes):
            return False
        if user == len(statements):
            return place == len(statements) - 1
        if isinstance(statement.expression, ast.ListComp) and isinstance(statements[user].expression, ast.ListComp):
            return False
        if statement.calls and statements[user].calls and not _is_of_several(statements[user]):
            return False
        for value in statement.ins:
            for base in self.bases[value]:
                # its name must not be given away before
                self.last[base] = max(self.last[base], user)
        return True

    def _defaults(self, statement: Statement, place: int) -> list[str]:
        """The names of what a statement makes that has no name of its own."""
        outs, name = statement.outs, ast.unparse(replaced(statement.expression, self.shown))
        if statement.expression in self.inputs and re.fullmatch(r"x\d+", name):
            return [f"{name}_{number}" for number in range(1, len(outs) + 1)]
        return [self._old_name(statement, place)] * len(outs)

    def _old_name(self, statement: Statement, place: int) -> str:
        """The name of the only value that a statement reads, which nobody reads any more, for what it makes of that."""
        read = {base for value in statement.ins for base in self.bases[value]}
        if len(read) != 1 or len(statement.outs) > 1:
            return "x"
        (base,) = read
        name = self.shown[base]
        is_last = self.last[base] <= place and type_of(base) == type_of(statement.outs[0])
        numbered = isinstance(name, ast.Name) and re.fullmatch(r"x\d+", name.id) and self.held[name.id] is base
        return name.id if is_last and numbered and isinstance(name, ast.Name) else "x"

    def _rename(self, old: Variable, new: Variable, place: int) -> None:
        """Wants the name of a value for another, if nobody reads it any more."""
        name = self.shown.get(old)
        if isinstance(name, ast.Name) and self.held.get(name.id) is old and self.last[old] <= place:
            new.hint = name.id
            del self.held[name.id]

    def _name(self, value: Variable, place: int, default: str = "x") -> str:
        default = "xs" if default == "x" and type_of(value).startswith("list") else default
        wanted = identifier(value.hint) if value.hint else default
        number, until = self.first.get(wanted, (1, -1))
        number, until = (number, until) if place < until else (1, inf)
        name = wanted if number == 1 else f"{wanted.rstrip('0123456789')}{number}"
        while (held := self._held_until(name, value)) > place:
            number, until = number + 1, min(until, held)
            name = f"{wanted.rstrip('0123456789')}{number}"
        self.first[wanted] = number, until
        self.held[name] = value
        self.shown[value] = ast.Name(name)
        self.bases[value] = [value]
        return name

    def _held_until(self, name: str, value: Variable) -> float:
        """The line behind which another value may have a name: the last that reads its value, if that has its type."""
        held = self.held.get(name, value)
        if held is value:
            return -inf
        return self.last.get(held, -1) if type_of(held) == type_of(value) else inf

"""The entries of the first dimension of a tensor, which need no list where they are only gone through."""

from __future__ import annotations

import ast
from collections import Counter

from ..expressions import Value, Variable, called_method, replaced, variables
from ..scopes import Loop, Scope, Statement


def walk_rows(scope: Scope, result: Value) -> None:
    """Goes through a tensor itself where it went through the list of its rows; drops lists that nobody reads."""
    for statement in list(scope.statements):
        tensor = rows_of(statement)
        if tensor is None:
            continue
        readers = [other for other in scope.statements if any(out in other.ins for out in statement.outs)]
        if any(out in variables(result) for out in statement.outs) or len(readers) > 1:
            continue
        if not readers:
            scope.statements.remove(statement)
        elif len(statement.outs) == 1 and _walks(readers[0], statement.outs[0]):
            readers[0].expression = replaced(readers[0].expression, {statement.outs[0]: tensor})
            if isinstance(readers[0], Loop):
                readers[0].body = replaced(readers[0].body, {statement.outs[0]: tensor})
            scope.statements.remove(statement)


def rows_of(statement: Statement) -> Variable | None:
    """The tensor of whose rows a statement makes a list; None if it does something else."""
    match statement.expression:
        case ast.Call(ast.Name("list"), [ast.Call() as cut]) | (ast.Call() as cut):
            match cut:
                case ast.Call(ast.Attribute(Variable() as tensor), [ast.Constant(0)]) if called_method(cut) == "unbind":
                    return tensor
    return None


def _walks(reader: Statement, rows: Variable) -> bool:
    """Does a statement only go through the rows, or take one of them?"""
    if isinstance(reader, Loop):
        return True
    uses = Counter(variables(reader.expression))[rows]
    found = [
        node
        for node in ast.walk(reader.expression)
        if (isinstance(node, ast.comprehension) and node.iter is rows)
        or (
            isinstance(node, ast.Subscript)
            and node.value is rows
            and isinstance(node.slice, (ast.Constant, ast.UnaryOp))
        )
    ]
    return len(found) == uses == 1

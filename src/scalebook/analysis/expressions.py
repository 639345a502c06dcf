"""Arithmetic of reported claims, computed without executing anything."""

from __future__ import annotations

import ast
import operator

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluate(expression: str, values: dict[str, float]) -> float:
    """Compute ``+ - * /`` over names and numbers; nothing else is understood.

    Raises
    ------
    KeyError
        If a name has no value.
    ValueError
        For anything that is not such an expression.
    """

    def walk(node: ast.AST) -> float:
        if isinstance(node, ast.Expression):
            return walk(node.body)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](walk(node.left), walk(node.right))
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return node.value
        if isinstance(node, ast.Name):
            return values[node.id]
        raise ValueError("not an arithmetic expression")

    try:
        return float(walk(ast.parse(expression, mode="eval")))
    except (SyntaxError, RecursionError, OverflowError):
        raise ValueError("not an arithmetic expression") from None

"""A choice: how one template computes one workload, as data that prints, hashes, and is read back from its text."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Choice:
    """The base of every template's choice: a frozen dataclass of integers, texts, tuples of them, and other choices.

    Its text is its `repr`, as `MultiplyAddChoice(rows=6, vectors=2, row_tiles=8)`.
    """

    _kinds: ClassVar[dict[str, type[Choice]]] = {}

    def __init_subclass__(cls) -> None:
        Choice._kinds[cls.__name__] = cls

    def __str__(self) -> str:
        return repr(self)

    @property
    def threads(self) -> int:
        """How many threads share the kernel at most; a field of those choices by which several do."""
        return 1


def parse(text: str) -> Choice:
    """The choice that `repr` made a text of.

    Raises:
        ValueError: it is none.
    """
    try:
        found = _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, TypeError, KeyError) as error:
        raise ValueError(f"no choice: {text!r:.200}") from error
    if not isinstance(found, Choice):
        raise ValueError(f"no choice: {text!r:.200}")
    return found


def _value(node: ast.expr) -> object:
    if not isinstance(node, ast.Call):
        value: object = ast.literal_eval(node)
        return value
    if not isinstance(node.func, ast.Name):
        raise ValueError("a choice begins with its kind")
    return Choice._kinds[node.func.id](**{str(each.arg): _value(each.value) for each in node.keywords})

"""A choice: how one template computes one workload, as data that prints, hashes, and is read back from its text."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar


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


C = TypeVar("C", bound=Choice)


@dataclass(frozen=True)
class Space(Generic[C]):
    """Choices that are made one field after the other, lazily; to ask for one of many is quick.

    Attributes:
        starts: choices whose fields in `fields` are still open: they have their defaults.
        fields: in the order they are settled, each with the values that it may have where those before it are.
    """

    starts: Callable[[], Iterable[C]]
    fields: tuple[tuple[str, Callable[[C], Iterable[int]]], ...]

    def __iter__(self) -> Iterator[C]:
        for start in self.starts():
            yield from self._settled(start, 0)

    def _settled(self, choice: C, number: int) -> Iterator[C]:
        if number == len(self.fields):
            yield choice
            return
        name, values = self.fields[number]
        for value in values(choice):
            yield from self._settled(replace(choice, **{name: value}), number + 1)

    def __contains__(self, choice: Any) -> bool:
        return any(type(start) is type(choice) and self._makes(start, choice) for start in self.starts())

    def _makes(self, start: C, choice: C) -> bool:
        still_open = {name: getattr(start, name) for name, _ in self.fields}
        return replace(choice, **still_open) == start and all(
            getattr(choice, name) in values(choice) for name, values in self.fields
        )


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

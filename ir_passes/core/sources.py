"""The names convention: a binding is named after the source nodes that it computes.

The hint of a binding's variable is the name of the node it came from, with `+` replaced by `_`. A binding that does the
work of several nodes carries their names joined by `+`, in the order in which they were computed and without repeats.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

SEPARATOR = "+"


def escape(name: str) -> str:
    """The hint for one source node: its name with the separator taken out."""
    return name.replace(SEPARATOR, "_")


def split(hint: str) -> tuple[str, ...]:
    """The source nodes that a hint names, in order."""
    return tuple(part for part in hint.split(SEPARATOR) if part)


def is_named(var: Any, names: Collection[str]) -> bool:
    """Whether an expression is a variable with the result of one of these nodes: of all that it computes, the last."""
    computed = split(getattr(var, "name", "")) if names else ()
    return bool(computed) and computed[-1] in names


def join(hints: Iterable[str]) -> str:
    """One hint that names every source of `hints`, in order and without repeats.

    >>> join(["conv/a.1", "bn", "conv/a.1+relu"])
    'conv/a.1+bn+relu'
    """
    return SEPARATOR.join(dict.fromkeys(part for hint in hints for part in split(hint)))

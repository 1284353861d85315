"""A workload as one line of text: what records know it by, attributes of kernels say, and what is read back from it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any


def key_of(workload: object) -> str:
    """The same for equal workloads: `repr` without what has its default, so that new fields leave old keys alone."""
    if isinstance(workload, tuple):
        inner = ", ".join(key_of(each) for each in workload)
        return f"({inner},)" if len(workload) == 1 else f"({inner})"
    if not is_dataclass(workload):
        return repr(workload)
    said = [
        f"{field.name}={key_of(getattr(workload, field.name))}"
        for field in fields(workload)
        if getattr(workload, field.name) != _default(field)
    ]
    return f"{type(workload).__name__}({', '.join(said)})"


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def parse_key(text: str, kinds: Mapping[str, type]) -> object:
    """The workload that `key_of` made a text of.

    Args:
        kinds: the classes of workloads, and of what is in them, by their names.

    Raises:
        ValueError: it is none.
    """
    try:
        return _value(ast.parse(text, mode="eval").body, kinds)
    except (SyntaxError, TypeError, KeyError) as error:
        raise ValueError(f"no workload: {text!r:.200}") from error


def _value(node: ast.expr, kinds: Mapping[str, type]) -> object:
    if isinstance(node, ast.Tuple):
        return tuple(_value(each, kinds) for each in node.elts)
    if not isinstance(node, ast.Call):
        value: object = ast.literal_eval(node)
        return value
    if not isinstance(node.func, ast.Name):
        raise ValueError("a workload begins with its kind")
    return kinds[node.func.id](**{str(each.arg): _value(each.value, kinds) for each in node.keywords})

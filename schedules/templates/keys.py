"""A workload as one line of text: what records know it by, and attributes of kernels say."""

from __future__ import annotations

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

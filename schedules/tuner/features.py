"""Numbers that a cost model tells choices apart by, worked out from workload, choice and target; nothing is compiled.

They are the analytic estimate, every number of the choice, and what the choice's profile says of registers, caches and
cores. Sizes are logarithms, and relative where they can be, so that workloads and machines of other sizes compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ...targets.target import Target
from ..templates.template import Decision
from .profiles import Profile, profile_of

Features = Mapping[str, float]
ESTIMATE = "estimate_of_default"  # the feature that says what the estimates alone do, in factors of two


def features_of(decision: Decision[Any, Any], target: Target, estimate: float, default_estimate: float) -> Features:
    """The features of one way to compute a workload; names are the same for all of one template.

    Args:
        estimate: its own analytic estimate, and that of the default, with which it is compared.
    """
    found = {f"choice.{name}": value for name, value in _numbers(decision.choice)}
    found |= {f"workload.{name}": _scale(value) for name, value in _numbers(decision.workload) if name in _SIZES}
    found |= {
        "estimate": _scale(estimate),
        ESTIMATE: _ratio(estimate, default_estimate),
        "cores": float(target.cores),
        "lanes": float(target.lanes()),
        f"template.{decision.template.name}": 1.0,
    }
    profile = profile_of(decision, target)
    if profile is not None:
        found |= _of_profile(profile, decision.choice.threads, estimate, target)
    return found


# Of workloads: what does not make a model learn single workloads by heart.
_SIZES = frozenset(("batch", "rows", "columns", "k.product", "k.last", "count", "length", "axis", "terms", "queries"))


def _of_profile(profile: Profile, threads: int, estimate: float, target: Target) -> Features:
    tasks = profile.tasks
    used = max(1, min(threads, tasks))
    return {
        "intensity": _ratio(profile.flops, profile.total_bytes),
        "used": profile.used,
        "registers": profile.registers,
        "products_per_load": profile.products_per_load,
        "inner_of_l1": _ratio(profile.inner_bytes, target.l1_bytes),
        "block_of_l2": _ratio(profile.block_bytes, target.l2_bytes),
        "total_of_l3": _ratio(profile.total_bytes, target.l3_bytes),
        "l1_bytes_of_flops": _ratio(profile.l1_bytes, profile.flops),
        "l2_bytes_of_flops": _ratio(profile.l2_bytes, profile.flops),
        "l3_bytes_of_flops": _ratio(profile.l3_bytes, profile.flops),
        "tasks_of_core": _ratio(tasks, target.cores),
        "threads_used": used / target.cores,
        "balance": tasks / used / math.ceil(tasks / used),
        "cycles_of_task": _scale(estimate * used / tasks),
    }


def _scale(value: float) -> float:
    """The logarithm: sizes differ by factors."""
    return math.copysign(math.log2(1 + abs(value)), value) if math.isfinite(value) else 0.0


def _ratio(value: float, other: float) -> float:
    """The logarithm of a quotient."""
    return math.log2(max(value, 1e-9) / max(other, 1e-9)) if math.isfinite(value) and math.isfinite(other) else 0.0


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a dataclass, by its path; of a tuple the product and the last."""
    if is_dataclass(value):
        for field in fields(value):
            yield from _numbers(getattr(value, field.name), f"{name}.{field.name}" if name else field.name)
    elif isinstance(value, tuple) and value and all(isinstance(each, int) for each in value):
        yield f"{name}.product", float(math.prod(value))
        yield f"{name}.last", float(value[-1])
    elif isinstance(value, (int, float)):
        yield name, float(value)

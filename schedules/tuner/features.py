"""Numbers that a cost model tells choices apart by, worked out from workload, choice and target; nothing is compiled.

Every number in a workload and in a choice is one, by its name; and where the work is a contraction, what matters of its
tiles: how much of them is padding, what they need of registers and caches, how evenly the cores are busy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ...targets.target import Target
from ..templates.contraction import Workload
from ..templates.template import Decision
from ..tensorir.expressions import dtype_bits

Features = Mapping[str, float]


def features_of(decision: Decision[Any, Any], target: Target) -> dict[str, float]:
    """The features of one way to compute a workload; names are the same for all of one template."""
    found = {f"workload.{name}": _scale(value) for name, value in _numbers(decision.workload)}
    found.update({f"choice.{name}": float(value) for name, value in _numbers(decision.choice)})
    found["estimate"] = _scale(decision.template.estimate(decision.workload, decision.choice, target))
    found["cores"] = float(target.cores)
    found["lanes"] = float(target.lanes())
    found[f"template.{decision.template.name}"] = 1.0
    if isinstance(decision.workload, Workload):
        found.update(_of_contraction(decision.workload, decision.choice, target))
    return found


def _scale(value: float) -> float:
    """The logarithm: sizes differ by factors."""
    return math.copysign(math.log2(1 + abs(value)), value) if math.isfinite(value) else 0.0


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a dataclass, by its path; of a tuple the product, the last and the length."""
    if is_dataclass(value):
        for field in fields(value):
            yield from _numbers(getattr(value, field.name), f"{name}.{field.name}" if name else field.name)
    elif isinstance(value, tuple) and value and all(isinstance(each, int) for each in value):
        yield f"{name}.product", float(math.prod(value))
        yield f"{name}.last", float(value[-1])
    elif isinstance(value, (int, float)):
        yield name, float(value)


def _of_contraction(workload: Workload, choice: Any, target: Target) -> dict[str, float]:
    rows: int = choice.tile_rows if hasattr(choice, "tile_rows") else choice.rows
    columns: int = choice.vectors * workload.lanes(target)
    row_tiles: int = choice.row_tiles
    depth = math.prod(workload.k)
    narrow = dtype_bits(workload.rhs) // 8
    tiles_down = math.ceil(workload.rows / rows)
    tiles_across = math.ceil(workload.columns / columns)
    blocks = math.ceil(tiles_down / row_tiles)
    tasks = workload.batch * blocks * tiles_across
    threads: int = choice.threads
    panel = depth * columns * narrow
    weights = workload.batch * depth * workload.columns * narrow
    operand = workload.rows * depth * narrow
    return {
        "rows_used": workload.rows / (tiles_down * rows),
        "columns_used": workload.columns / (tiles_across * columns),
        "registers": (rows * columns / workload.lanes(target)) / target.num_vector_registers,
        "intensity": rows * columns / (rows + columns),
        "panel_of_l1": _scale(panel / target.l1_bytes),
        "panel_of_l2": _scale(panel / target.l2_bytes),
        "block_of_l2": _scale(rows * row_tiles * depth * narrow / target.l2_bytes),
        "weights_of_l3": _scale(weights / target.l3_bytes),
        "operand_of_l2": _scale(operand / target.l2_bytes),
        "tasks": _scale(tasks),
        "balance": tasks / threads / math.ceil(tasks / threads),
        "panels": _scale(tiles_across),
        "blocks": _scale(blocks),
    }

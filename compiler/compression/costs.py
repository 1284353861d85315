"""What products cost on a machine, as its templates estimate them."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir_passes.compression.factorize import Cycles, Product
from ...schedules.templates.contraction import Workload
from ...schedules.templates.grid_table import templates_for
from ...schedules.templates.template import Chooser
from ...targets import Target


def cycles_on(target: Target) -> Cycles:
    """Estimated cycles of products, one after the other, on all cores of a machine."""
    decide = Chooser(target, templates_for(target))

    def cycles(products: Sequence[Product]) -> float:
        return sum(decide.cycles(Workload(1, each.rows, each.columns, (each.k,))) for each in products)

    return cycles

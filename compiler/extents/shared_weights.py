"""Weights are packed once where kernels for several sizes can read them in the same order.

A product by one row and one by many are fastest with panels of different widths, mostly by little: then the weights
would stand in the library twice for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...schedules.templates.contraction import MultiplyAddChoice, Workload
from ...schedules.templates.template import Choose, Decision, Template
from ...targets import Target

_AT_MOST = 1.02  # of the estimated time, for weights that are there already


@dataclass(frozen=True)
class SharedWeights:
    """How products with weights were chosen for the model for all sizes, for those for some sizes.

    Attributes:
        choose: settles all else.
    """

    choose: Choose
    _widths: dict[Workload, int] = field(default_factory=dict)

    def first(self, templates: Sequence[Template[Any, Any]], workload: Any, target: Target) -> Decision[Any, Any]:
        """For all sizes: as `choose` says."""
        decision = self.choose(templates, workload, target)
        if isinstance(decision.choice, MultiplyAddChoice) and isinstance(decision.workload, Workload):
            self._widths.setdefault(replace(decision.workload, rows=0), decision.choice.vectors)
        return decision

    def others(self, templates: Sequence[Template[Any, Any]], workload: Any, target: Target) -> Decision[Any, Any]:
        """For some: panels as wide, if that takes as long."""
        decision = self.choose(templates, workload, target)
        if not isinstance(decision.choice, MultiplyAddChoice) or not isinstance(decision.workload, Workload):
            return decision
        width = self._widths.get(replace(decision.workload, rows=0), decision.choice.vectors)
        if width == decision.choice.vectors:
            return decision

        def cycles(choice: MultiplyAddChoice) -> float:
            return float(decision.template.estimate(decision.workload, choice, target))

        space = decision.template.space(decision.workload, target)
        same = min((each for each in space if each.vectors == width), key=cycles, default=None)
        if same is None or cycles(same) > _AT_MOST * cycles(decision.choice):
            return decision
        return replace(decision, choice=same)

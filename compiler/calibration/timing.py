"""How long each layer takes in a float library and in a quantized one, and how many bytes it moves."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from ..library.artifact import CompiledModel
from ..measurement.bench import work_of
from .samples import Sample

_RUNS = 9


@dataclass(frozen=True)
class Cost:
    """Seconds and bytes of one run."""

    seconds: float = 0.0
    bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.bytes + other.bytes)


NO_COST = Cost()


def costs_of(library: CompiledModel, sample: Sample, names: Mapping[str, str]) -> tuple[dict[str, Cost], Cost]:
    """The cost of the kernels of each layer, with all that is fused into them, and of all steps together.

    Args:
        names: the layers by the names that their nodes have in kernels.
    """
    runs = [library.profile(sample) for _ in range(_RUNS + 1)][1:]
    times = [statistics.median(each) / 1e9 for each in zip(*runs, strict=True)]
    costs: dict[str, Cost] = {}
    whole = Cost()
    for work, seconds in zip(work_of(library.signature), times, strict=True):
        cost = Cost(seconds, int(work.bytes))
        whole += cost
        layer = next((names[source] for source in work.sources if source in names), None)
        if layer is not None:
            costs[layer] = costs.get(layer, Cost()) + cost
    return costs, whole

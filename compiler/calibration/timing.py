"""How long each layer takes in a float library and in a quantized one, and how many bytes it moves."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..library.artifact import CompiledModel
from ..library.signature import Signature
from ..measurement.bench import work_of
from .samples import Sample

_RUNS = 9


@dataclass(frozen=True)
class Cost:
    """Seconds of one run, bytes that it moves, and those of them that are constants."""

    seconds: float = 0.0
    bytes: int = 0
    constant_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.bytes + other.bytes, self.constant_bytes + other.constant_bytes)


NO_COST = Cost()


def costs_of(
    library: CompiledModel, sample: Sample, names: Mapping[str, str], runs: int = _RUNS
) -> tuple[dict[str, Cost], Cost]:
    """The cost of the kernels of each layer, with all that is fused into them, and of all steps together.

    Args:
        names: the layers by the names that their nodes have in kernels.
        runs: of which the median counts.
    """
    return costs_of_rounds(library.signature, [library.profile(sample) for _ in range(runs + 1)][1:], names)


def costs_of_rounds(
    signature: Signature, rounds: Iterable[Iterable[int]], names: Mapping[str, str]
) -> tuple[dict[str, Cost], Cost]:
    """The same of rounds that ran anywhere: the nanoseconds of each step in each."""
    times = [statistics.median(each) / 1e9 for each in zip(*rounds, strict=True)]
    kernels, steps = signature.kernels, signature.steps
    constants = [int(kernels[step.kernel].constant_bytes) if step.kernel >= 0 else 0 for step in steps]
    costs: dict[str, Cost] = {}
    whole = Cost()
    for work, seconds, held in zip(work_of(signature), times, constants, strict=True):
        cost = Cost(seconds, int(work.bytes), held)
        whole += cost
        layer = next((names[source] for source in work.sources if source in names), None)
        if layer is not None:
            costs[layer] = costs.get(layer, Cost()) + cost
    return costs, whole

"""Which range each tensor gets: the one that costs the outputs of the layers that read it the least."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ..process.progress import ProgressCallback
from .errors_of_layers import Error
from .network import Layers, Network
from .ranges import Range, fake_quantized
from .samples import Sample
from .tapped import Tapped


def choose_ranges(
    network: Network,
    exact: Tapped,
    layers: Layers,
    samples: Iterable[Sample],
    given: Mapping[str, Sequence[Range]],
    bits: int,
    tell: ProgressCallback,
) -> dict[str, tuple[Range, str]]:
    """For each tensor that is quantized its range, and why.

    All tensors are quantized by their first range, then all by their second: layers are by themselves, so that what one
    tensor loses shows in the layers that read it alone.

    Args:
        exact, layers: the float network that gives its tensors, and its layers by themselves.
        samples: few of them.
        given: the ranges to choose from.
    """
    most = max((len(each) for each in given.values()), default=0)
    errors = {(layer.name, number): Error() for layer in network.layers for number in range(most)}
    for done, sample in enumerate(samples):
        tell("choose ranges", done, 0)
        values = exact.all(sample)
        sources = {source: root for layer in network.layers for source, root in layer.reads.items()}
        for number in range(most):
            quantized = {
                source: fake_quantized(values[source], ranges[min(number, len(ranges) - 1)].entry(bits))
                for source, root in sources.items()
                if (ranges := given[root])
            }
            results = layers.run(quantized)
            for layer in network.layers:
                errors[layer.name, number].add(results[layer.output], values[layer.output])
    chosen = {}
    for root, ranges in given.items():
        reading = [layer.name for layer in network.layers if root in layer.reads.values()]

        def cost(number: int, reading: Sequence[str] = reading) -> float:
            found = (errors[name, number] for name in reading)
            return sum(each.error / each.signal if each.signal else each.error for each in found)

        best = min(range(len(ranges)), key=cost)
        chosen[root] = ranges[best], _reason(ranges, cost, best)
    return chosen


def _reason(ranges: Sequence[Range], cost: Callable[[int], float], best: int) -> str:
    if len(ranges) == 1:
        return "all methods give this range"
    if best == 0:
        return "no narrower range costs the layers that read it less"
    ratio = cost(best) / cost(0) if cost(0) else 1.0
    return f"error at the layers that read it {ratio:.2f} of that of {ranges[0].method}"

"""`quantize`, top to bottom: data -> ranges -> recipe -> what it costs, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from ...errors import CalibrationError, UsageError
from ..extents.ranges import static_shapes
from ..process.checksum import key_of
from ..process.progress import ProgressCallback
from ..recipes.identity import identity_of
from ..recipes.recipe import OF_TENSORS, ActivationsEntry, ModelIdentity, Recipe, TensorEntry, WeightsEntry
from ..recipes.shared_scales import shared_entries
from .choose_ranges import choose_ranges
from .collect import State, collect
from .correct import Corrections, corrections_of
from .findings import Findings
from .network import Network, layers_of, network_of, taps_of
from .ranges import candidates
from .request import Request
from .samples import checked_samples
from .settle import Clock, Work, with_floats
from .split import Split
from .statistics import TensorStatistics
from .tapped import Workshop, input_specs, workshop_of

if TYPE_CHECKING:
    from ...frontends import OpenedModel

LEAST_SAMPLES = 2
_LIKE_PRACTICE = "calibrate with samples that are like those of practice"


def quantize(
    model: Any, data: Any, request: Request | None = None, tell: ProgressCallback = lambda stage, done, total: None
) -> Findings:
    """Finds how a model is quantized, and what that costs.

    Args:
        model: as `frontends.open` takes it.
        data: as `samples_of` takes it.
        request: how.
        tell: called as tell(stage, done, total).

    Raises:
        CalibrationError: the data does not fit the model, shows no range, or is too little.
        DataError: a file of it is missing or damaged.
        UsageError: the model has no layer that integers compute, or none of a name that should stay float.
        ModelError, ShapeError, UnsupportedError: as a compile.
    """
    with _calibrated(model, data, request or Request(), tell) as (work, recipe, statistics):
        return work.finished(recipe, statistics)


def integer_recipe(
    model: Any, data: Any, request: Request, shop: Workshop, tell: ProgressCallback = lambda stage, done, total: None
) -> Recipe:
    """The recipe that `quantize` finds, without measuring what it costs.

    Args:
        shop: what libraries are made with; those that it has are used again.

    Raises:
        CalibrationError, DataError, UsageError, ModelError, ShapeError, UnsupportedError: as `quantize`.
    """
    with _calibrated(model, data, request, tell, shop) as (work, recipe, _):
        return work.recipe(recipe)


@contextmanager
def _calibrated(
    model: Any, data: Any, asked: Request, tell: ProgressCallback, given: Workshop | None = None
) -> Iterator[tuple[Work, Recipe, dict[str, TensorStatistics]]]:
    """Ranges, the recipe that they make, and what they are of; what was kept of it is gone once the block is done."""
    from ... import frontends

    opened = frontends.open(model, frontends.Request(shapes=static_shapes(asked.options)))
    whole = network_of(opened, tensors=True)
    check_layers(whole, asked)
    network = whole.of([layer for layer in whole.layers if layer.name not in asked.keep_float])
    clock = Clock()
    with shop_for(given, asked, tell) as shop:
        tell("read samples", 0, 0)
        split = Split(checked_samples(data, input_specs(opened, asked.options), asked.images, LEAST_SAMPLES))
        corrections = corrections_for(shop, opened, asked, WeightsEntry(asked.bits, asked.granularity), tell)
        exact = taps_of(shop, network, None, "exact")
        with clock("corrections"):
            balanced, exact = corrections.balanced(network, exact, split)
            whole = network_of(balanced, tensors=True)
            network = whole.of([layer for layer in whole.layers if layer.name not in asked.keep_float])
        state = State(asked.state, key_of(corrections.key, str(corrections.balance)))
        with clock("calibrate"):
            statistics = collect(exact, split, network.roots, state, tell)
        if not split.differ:
            raise CalibrationError(f"all {split.count} samples are the same: they show no ranges", hint=_LIKE_PRACTICE)
        unknown = _without_ranges(network, statistics)
        network = network.of([layer for layer in network.layers if layer.name not in unknown])
        values = exact.all(split.kept[0])
        with clock("ranges"):
            layers = layers_of(shop, network, values, None, "exact_layers")
            ranges = {root: candidates(statistics[root], asked.bits, root) for root in network.roots}
            for root in network.symmetric:
                ranges[root] = [each.symmetric(asked.bits) for each in ranges[root]]
            chosen = choose_ranges(network, exact, layers, split.tried(network.bytes), ranges, asked.bits, tell)
        tensors = {root: found.entry(asked.bits, why) for root, (found, why) in chosen.items()}
        floats = {**dict.fromkeys(asked.keep_float, "asked for"), **unknown}
        recipe = _recipe(whole, asked, identity_of(opened), shared_entries(balanced, tensors), floats)
        work = Work(shop, opened, whole, network, asked, split, exact, layers, values, corrections, tell, clock)
        yield work, recipe, statistics
    state.remove()
    corrections.forget()


def _without_ranges(network: Network, statistics: Mapping[str, TensorStatistics]) -> dict[str, str]:
    """Layers that read a tensor that has one value, by name, and why they stay float.

    Raises:
        CalibrationError: all layers do.
    """
    constant = {name: found.low for name, found in statistics.items() if found.low == found.high}
    reading = {layer.name: [root for root in layer.reads.values() if root in constant] for layer in network.layers}
    found = {
        name: f"tensor {roots[0]!r} is {constant[roots[0]]:g} in all samples: its range is not known"
        for name, roots in reading.items()
        if roots
    }
    if found and len(found) == len(network.layers):
        raise CalibrationError(
            "the samples show no range: all tensors that layers read have one value",
            details=list(found.values())[:3],
            hint=_LIKE_PRACTICE,
        )
    return found


def shop_for(given: Workshop | None, asked: Request, tell: ProgressCallback) -> AbstractContextManager[Workshop]:
    """A workshop for as long as the block lasts, or one that is there already."""
    return workshop_of(asked.options, tell, asked.always) if given is None else nullcontext(given)


def corrections_for(
    shop: Workshop, opened: OpenedModel, asked: Request, entry: WeightsEntry, tell: ProgressCallback
) -> Corrections:
    """What makes the corrections that are asked for.

    Args:
        entry: how weights will be quantized.
    """
    key = key_of(identity_of(opened).sha256, str(asked.options.shapes))
    return Corrections(shop, tell, corrections_of(asked.corrections), entry, asked.bits, asked.state, key)


def _recipe(
    network: Network,
    asked: Request,
    model: ModelIdentity,
    tensors: Mapping[str, TensorEntry],
    floats: Mapping[str, str],
) -> Recipe:
    weights = {"weights": WeightsEntry(asked.bits, asked.granularity)}
    activations = {"activations": ActivationsEntry(OF_TENSORS)}
    layers = {layer.name: weights if layer.weights else activations for layer in network.layers}
    recipe = Recipe(model, dict(tensors), layers)
    return with_floats(recipe, floats)


LAYERS = "Conv, MatMul by a constant matrix, Gemm by one without transA, and MatMul of two tensors"


def check_layers(network: Network, asked: Request, kinds: str = LAYERS) -> None:
    """Whether there are layers, of the kinds that there could be, and those that are to stay float among them.

    Raises:
        UsageError: there are not.
    """
    if not network.layers:
        raise UsageError(
            "the model has no product or convolution with constant float weights that integers could compute",
            where=network.opened.where,
            hint=f"those are {kinds}",
        )
    known = {layer.name for layer in network.layers}
    unknown = [name for name in asked.keep_float if name not in known]
    if unknown:
        raise UsageError(
            f"there is no layer {unknown[0]!r}", where="--keep-float", hint=f"the layers are: {', '.join(known)}"
        )

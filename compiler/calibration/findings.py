"""What quantizing a model found: the recipe, and for each layer what it costs and what it wins."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..recipes.recipe import Recipe, TensorEntry
from .errors_of_layers import Error, LayerError, Metrics
from .statistics import TensorStatistics
from .timing import NO_COST, Cost


@dataclass(frozen=True)
class Correction:
    """One that was tried for a layer.

    Attributes:
        kind: of `correct.CORRECTIONS`.
        ratio: the error of the layer's output on held-out samples, over that without the correction.
        kept: whether the recipe has it.
    """

    kind: str
    ratio: float
    kept: bool


@dataclass(frozen=True)
class LayerFinding:
    """One layer.

    Attributes:
        name, operator: of its node.
        root: the tensor whose range it needs.
        kept_float: why it is computed in float on this machine; "" where it is not.
        error: what quantizing it costs; None where that was not measured.
        exact, integer: what its kernels take in the float library and in the quantized one.
        corrections: those that were tried.
    """

    name: str
    operator: str
    root: str
    kept_float: str
    error: LayerError | None = None
    exact: Cost = NO_COST
    integer: Cost = NO_COST
    corrections: tuple[Correction, ...] = ()


@dataclass(frozen=True)
class TensorFinding:
    """One activation: how it is quantized, what of it is clipped, and its values."""

    name: str
    entry: TensorEntry
    clipped: float
    statistics: TensorStatistics


@dataclass(frozen=True)
class Findings:
    """All of it.

    Attributes:
        model: its name.
        recipe: what was found, to be compiled with.
        layers, tensors: in the model's order.
        metrics: of the quantized library on held-out samples; None where that was not measured.
        exact, integer: one run of the float library and of the quantized one.
        calibrated, held: how many samples.
        target: the machine.
        disturbed: at the outputs of the float network with the errors of all layers; None where that was not measured.
        seconds: of stages of the work.
    """

    model: str
    recipe: Recipe
    layers: tuple[LayerFinding, ...]
    tensors: tuple[TensorFinding, ...]
    metrics: Metrics | None
    exact: Cost
    integer: Cost
    calibrated: int
    held: int
    target: str = ""
    disturbed: Error | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def guilty(self) -> list[LayerFinding]:
        """Layers that are quantized, the one whose own error is the largest first."""
        measured = [each for each in self.layers if not each.kept_float and each.error is not None]
        return sorted(measured, key=lambda each: each.error.alone.decibels if each.error else 0.0)

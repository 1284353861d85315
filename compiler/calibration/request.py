"""What is asked of quantizing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..options import CompileOptions
from .correct import CORRECTIONS, corrections_of
from .images import Preprocessing
from .limits import LEAST_OF_A_LAYER, check_decibels


@dataclass(frozen=True)
class Request:
    """How a model is to be quantized.

    Attributes:
        options: of the libraries that are compiled on the way: target, shapes, bindings, threads.
        bits: of activations and weights.
        granularity: what shares a scale of weights.
        keep_float: layers that stay float.
        least_decibels: a layer whose own ratio of signal to noise is less stays float.
        corrections: those that are made where they lower the error.
        always: whether layers become integers whatever that costs in time, for what is measured here.
        details: whether errors of layers are measured.
        images: how images become inputs.
        state: a file for what was calibrated so far; what was corrected so far stands beside it.

    Raises:
        UsageError: there is no correction of a name, or no number of decibels is given.
    """

    options: CompileOptions = field(default_factory=CompileOptions)
    bits: int = 8
    granularity: str = "channel"
    keep_float: Sequence[str] = ()
    least_decibels: float = LEAST_OF_A_LAYER
    corrections: Sequence[str] = CORRECTIONS
    always: bool = False
    details: bool = True
    images: Preprocessing | None = None
    state: Path | None = None

    def __post_init__(self) -> None:
        corrections_of(self.corrections)
        check_decibels(self.least_decibels)

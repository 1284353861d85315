"""What measurements of a library of candidates say: how much faster each is than its default, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..verification.compare import compare

LEAST_ROUNDS = 5  # of which there is a median
_NOISE = 0.02  # the uncertainty of a median that is small enough

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Steps = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Trial:
    """A candidate in a library.

    Attributes:
        steps, default_steps: of the library, each with the number of times that the model calls its kernel.
        outputs: that the candidate's kernels make, each with the one of the default that it has to be like.
    """

    steps: Steps
    default_steps: Steps
    outputs: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Timing:
    """What a trial takes.

    Attributes:
        ratio: of its time to the default's, the median of those that ran one after the other.
        uncertainty: of the ratio.
        seconds, default_seconds: in one run of the model, medians.
    """

    ratio: float
    uncertainty: float
    seconds: float
    default_seconds: float

    @property
    def is_noisy(self) -> bool:
        """Whether it may be faster than the default, but how much is not known."""
        return self.uncertainty > _NOISE and self.ratio - 2 * self.uncertainty < 1


def agrees(trial: Trial, outputs: Mapping[str, Array], rtol: float) -> bool:
    """Whether a candidate's outputs are like those of the default."""
    return all(compare(name, outputs[name], outputs[like], rtol).passed for name, like in trial.outputs)


def timings_of(trials: Sequence[Trial], rounds: Sequence[Floats]) -> list[Timing]:
    """What each trial takes, of the nanoseconds of all steps in each round."""
    table = np.array(rounds) / 1e9
    return [timing_of(_total(table, trial.steps), _total(table, trial.default_steps)) for trial in trials]


def _total(table: Floats, steps: Steps) -> Floats:
    places, calls = zip(*steps, strict=True)
    total: Floats = table[:, list(places)] @ np.array(calls, np.float64)
    return total


def timing_of(candidate: Floats, default: Floats) -> Timing:
    """The uncertainty is the spread of the middle half, over the root of n."""
    ratios = candidate / np.maximum(default, 1e-9)
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    uncertainty = (high - low) / np.sqrt(len(ratios))
    return Timing(float(middle), float(uncertainty), float(np.median(candidate)), float(np.median(default)))

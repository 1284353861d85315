"""What is asked of a search, and what it knows in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from ..evaluation.metrics import Metric
from ..options import CompileOptions
from ..recipes.recipe import Recipe
from .attempt import Study
from .budget import Budget
from .candidate import Parts
from .crew import Crew
from .front import Point
from .solve import Predicted
from .treatments import KINDS

# Who proposed a candidate, where that was no generation of the search.
SOLVED, UNIFORM = "exact solve", "the same for all layers"


@dataclass(frozen=True)
class Request:
    """What is searched for, and how.

    Attributes:
        budget: which point becomes the recipe.
        metric: what outputs are worth.
        options: of every compile.
        kinds: of treatments that are tried.
        seconds: of all runs of this search together; None: until little is to be won.
        seed: of the search.
        jobs: processes that try candidates.
        device: where they run; None: here.
        crew: makes what tries candidates; None: processes of this machine.
    """

    budget: Budget
    metric: Metric
    options: CompileOptions = field(default_factory=CompileOptions)
    kinds: Sequence[str] = KINDS
    seconds: float | None = None
    seed: int = 0
    jobs: int = 1
    device: str | None = None
    crew: Callable[[Study], AbstractContextManager[Crew]] | None = None


@dataclass(frozen=True)
class Optimized:
    """What a search knows.

    Attributes:
        model: its name.
        exact: the float model.
        front: the points that no other is better than, the fastest first.
        points: all that were measured; `origins` says who proposed them, by their keys.
        predicted: what the exact solver says of its own front.
        best: the point within the budget, or the nearest to it; `excess` is by how much it misses.
        rows: how many the database has.
        failed: candidates without a library, and why.
        seconds: of all runs.
        metric: its name and unit.
        parts: what recipes are put together of.
    """

    model: str
    exact: Point
    front: tuple[Point, ...]
    points: tuple[Point, ...]
    origins: dict[str, str]
    predicted: tuple[Predicted, ...]
    best: Point
    excess: float
    rows: int
    failed: dict[str, str]
    seconds: float
    metric: Metric
    parts: Parts

    def recipe(self, point: Point | None = None) -> Recipe:
        """What `compile` takes, for a point; None: for the best one."""
        return self.parts.recipe((point or self.best).candidate)

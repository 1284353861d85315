"""Bases: the whole model, and narrower ones, of which treatments are tried each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import CutError
from ..build import target_of
from ..calibration.samples import Sample
from ..compression.costs import cycles_on
from ..compression.prune import prune
from ..compression.pruning import Pruning, Rankings
from ..recipes.recipe import Recipe
from .candidate import WHOLE
from .database import Database
from .treatments import CHANNELS
from .workbench import here

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..calibration.tapped import Workshop
    from ..options import CompileOptions
    from ..process.progress import ProgressCallback

_MOST_SAMPLES = 64  # that they are fitted on
# Shares of the layers' work that are left of narrower ones; those that come first get time first.
_SHARES = (0.5, 0.75, 0.35, 0.2)


def bases_of(kinds: Sequence[str]) -> list[str]:
    """The names of all bases."""
    return [WHOLE, *(f"work {share:.0%}" for share in _SHARES if CHANNELS in kinds)]


def base_of(
    name: str,
    opened: OpenedModel,
    samples: Sequence[Sample],
    options: CompileOptions,
    device: str | None,
    database: Database,
    shop: Workshop,
    tell: ProgressCallback,
    rankings: Rankings,
) -> Recipe | None:
    """What is cut for a base, and how the rest is fitted; None where the model has nothing to cut.

    Args:
        shop: with which libraries of this machine are made.
        rankings: of groups of channels, which are the same for all bases.
    """
    if name == WHOLE:
        return Recipe()
    known = database.recipe(name)
    if known is not None:
        return known if known.layers else None
    share = next(each for each in _SHARES if name == f"work {each:.0%}")
    target = target_of(options)
    asked = Pruning(work=share, samples=_MOST_SAMPLES).for_vectors(target.lanes())
    try:
        recipe = prune(opened, samples, asked, here(options, device), tell, cycles_on(target), shop, rankings).recipe
    except CutError:
        recipe = Recipe()
    database.keep(name, recipe)
    return recipe if recipe.layers else None

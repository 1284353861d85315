"""In which order the database is built: what promises most comes first, so that it is of use whenever time is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .bases import bases_of
from .treatments import FLOAT, TREATMENTS, Treatment

_BASE = 2  # kinds of treatments that a base stands for in the order


@dataclass(frozen=True)
class Step:
    """Treatments of one kind, of all layers of a base."""

    base: str
    treatments: tuple[Treatment, ...]


def steps_of(kinds: Sequence[str]) -> list[Step]:
    """All steps, for kinds of treatments.

    Bases and kinds stand in the order of what they promise. A step comes the later, the later its base and its kind
    stand, both together: the best of each are known before the second best of any. A base takes longer than a kind of
    treatments, as all of its layers are fitted: so it counts as much as two.
    """
    groups: list[tuple[Treatment, ...]] = [(FLOAT,)]
    for kind in dict.fromkeys(each.kind for each in TREATMENTS if each.kind in kinds):
        groups.append(tuple(each for each in TREATMENTS if each.kind == kind))
    steps = [
        (_BASE * number + place, Step(base, group))
        for number, base in enumerate(bases_of(kinds))
        for place, group in enumerate(groups)
    ]
    return [step for _, step in sorted(steps, key=lambda each: each[0])]

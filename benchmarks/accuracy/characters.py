"""A metric for `tilewright optimize --metric FILE.py:FUNCTION`: characters of lines that a recogniser reads right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def right(outputs: Mapping[str, Array], labels: Array) -> float:
    """In percent: 100 less the edits that make what was read what was written, for each character.

    Args:
        outputs: of a recogniser, the first (lines, steps, characters), the blank of CTC being character 0.
        labels: the characters that were written, (lines, most of a line), filled up with 0.
    """
    given = next(iter(outputs.values()))
    wanted = [[int(each) for each in line if each] for line in labels]
    edits = sum(edits_between(read(line), written) for line, written in zip(given, wanted, strict=True))
    return 100 * (1 - edits / sum(map(len, wanted)))


def read(scores: Array) -> list[int]:
    """The characters of a line, of (steps, characters): the likeliest path, repetitions as one, blanks left out."""
    path = scores.argmax(-1)
    return [int(here) for here, before in zip(path, [0, *path[:-1]], strict=True) if here and here != before]


def edits_between(one: Sequence[object], other: Sequence[object]) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for number, a in enumerate(one, 1):
        diagonal, row[0] = row[0], number
        for place, b in enumerate(other, 1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (a != b))
    return row[-1]

"""Patterns of zeros: where they may stand, and that the smallest go."""

from __future__ import annotations

import numpy as np
import pytest
from tilewright.errors import UsageError
from tilewright.ir_passes.compression.masks import Pattern, checked_rate, keep, pattern_of


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("unstructured", Pattern()),
        ("4x1", Pattern(channels=4)),
        ("16x2", Pattern(channels=16, inputs=2)),
        ("2:4", Pattern(kept=2, among=4)),
    ],
)
def test_patterns_are_read(text: str, pattern: Pattern) -> None:
    assert pattern_of(text) == pattern


@pytest.mark.parametrize("text", ["", "4", "0x1", "4x", "5:4", "0:4", "x", "4x1x1", "structured"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no such pattern"):
        pattern_of(text)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0, float("nan")])
def test_rates_are_shares(rate: float) -> None:
    with pytest.raises(UsageError, match="rate"):
        checked_rate(rate)


def test_the_largest_weights_are_kept() -> None:
    scores = np.random.default_rng(0).random((2, 7, 11))

    mask = keep(scores, Pattern(), 0.5)

    assert (~mask).sum() == 77 and scores[mask].min() > scores[~mask].max()


@pytest.mark.parametrize(("channels", "inputs"), [(4, 1), (16, 1), (3, 5)])
def test_blocks_are_zero_throughout_or_not_at_all(channels: int, inputs: int) -> None:
    scores = np.random.default_rng(0).random((2, 33, 23))

    mask = keep(scores, Pattern(channels, inputs), 0.75)

    blocks = [
        mask[group, row : row + channels, column : column + inputs]
        for group in range(2)
        for row in range(0, 33, channels)
        for column in range(0, 23, inputs)
    ]
    assert all(block.all() or not block.any() for block in blocks)
    assert sum(not block.any() for block in blocks) == int(0.75 * len(blocks))


def test_so_many_of_each_run_are_kept() -> None:
    scores = np.random.default_rng(0).random((1, 5, 18))

    mask = keep(scores, Pattern(kept=2, among=4), 0.0)

    runs = mask[..., :16].reshape(5, 4, 4)
    assert (runs.sum(axis=-1) == 2).all() and mask[..., 16:].all()
    assert all(
        scores[0, :, :16].reshape(5, 4, 4)[row, run][runs[row, run]].min()
        > scores[0, :, :16].reshape(5, 4, 4)[row, run][~runs[row, run]].max()
        for row in range(5)
        for run in range(4)
    )


def test_a_rate_of_zero_keeps_all_and_equals_go_in_order() -> None:
    assert keep(np.zeros((1, 3, 5)), Pattern(), 0.0).all()
    assert keep(np.ones((1, 1, 4)), Pattern(), 0.5).tolist() == [[[False, False, True, True]]]

"""Features tell what a choice makes of the machine, for every template; keys give back what they were made of."""

from __future__ import annotations

import math
import random
from itertools import islice

import pytest
from tilewright import targets
from tilewright.schedules.templates.attention import Heads
from tilewright.schedules.templates.contraction import Filter, MultiplyAddChoice, Workload
from tilewright.schedules.templates.interpolation import Interpolation
from tilewright.schedules.templates.keys import key_of, parse_key
from tilewright.schedules.templates.plain import Elements
from tilewright.schedules.templates.rows_choice import Rows
from tilewright.schedules.templates.table import CONTRACTION, TEMPLATES, WORKLOADS
from tilewright.schedules.templates.template import Decision, choose_default
from tilewright.schedules.templates.transposition import Squares
from tilewright.schedules.templates.window_choice import Windows
from tilewright.schedules.tuner.features import features_of
from tilewright.schedules.tuner.profiles import profile_of

TARGET = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=4)
CONVOLUTION = Workload(
    1, 196, 64, (3, 3, 32), image_line=14, filter=Filter(1, (14, 14), (3, 3), (1, 1), (1, 1), is_constant=True)
)
KINDS = [
    CONVOLUTION,
    Workload(8, 50, 96, (160,)),
    Workload(1, 1, 1000, (512,), runs=((2, 256),)),
    Heads(12, 128, 128, 64, 64),
    Windows((1, 28, 28, 96), (3, 3), (1, 1), (1, 1), weighted=True),
    Windows((1, 512), (7, 7)),
    Rows(128, 768, "float32"),
    Squares(196, 64, 1, 64, 32),
    Interpolation((1, 16, 16, 24), 1, 2, 32),
    Elements((4,), 100, 0, 32, 1, 1, 0, True, True),
]


@pytest.mark.parametrize("workload", KINDS, ids=lambda each: type(each).__name__)
def test_a_workload_is_read_back_from_its_key(workload: object) -> None:
    assert parse_key(key_of(workload), WORKLOADS) == workload


@pytest.mark.parametrize("text", ["1 +", "Other(a=1)", "Workload(height=3)", "open('x')"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="no workload"):
        parse_key(text, WORKLOADS)


@pytest.mark.parametrize("workload", KINDS, ids=lambda each: type(each).__name__)
def test_features_are_finite_and_named_alike_for_all_choices(workload: object) -> None:
    taking = [template for template in TEMPLATES if template.takes(workload, TARGET)]
    assert taking
    for template in taking:
        choices = list(islice(template.space(workload, TARGET), 2000))
        names = set()
        for choice in random.Random(0).sample(choices, min(20, len(choices))):
            decision = Decision(template, workload, choice)
            estimate = decision.cycles(TARGET)
            found = features_of(decision, TARGET, estimate, estimate)
            assert all(math.isfinite(value) for value in found.values())
            assert found["estimate_of_default"] == 0
            names.add(frozenset(name for name in found if not name.startswith("choice.")))
        assert len(names) == 1


def test_a_profile_counts_what_the_loops_do() -> None:
    workload = Workload(1, 64, 32, (128,))
    choice = MultiplyAddChoice(rows=4, vectors=2, row_tiles=8, threads=4)  # tiles of 4 x 16
    profile = profile_of(Decision(CONTRACTION, workload, choice), TARGET)
    assert profile is not None
    assert (profile.used, profile.tasks, profile.registers) == (1, 2 * 2, 4 * 2 / 16)
    assert profile.flops == 2 * 64 * 32 * 128
    assert profile.inner_bytes == (16 + 4) * 128 * 4
    assert profile.products_per_load == pytest.approx(4 * 2 / (4 + 2))


def test_tails_and_imbalance_show() -> None:
    def of(rows: int) -> tuple[float, float]:
        workload = Workload(1, rows, 32, (128,))
        decision = Decision(CONTRACTION, workload, MultiplyAddChoice(rows=4, vectors=4, row_tiles=1, threads=4))
        found = features_of(decision, TARGET, 1.0, 1.0)
        return found["used"], found["balance"]

    assert of(16) == (1, 1)
    assert of(17) == (17 / 20, 5 / 8)


def test_more_cache_than_there_is_shows() -> None:
    def of(depth: int) -> tuple[float, float]:
        default = choose_default([CONTRACTION], Workload(1, 512, 512, (depth,)), TARGET)
        found = features_of(default, TARGET, 1.0, 1.0)
        return found["inner_of_l1"], found["l1_bytes_of_flops"] - found["l2_bytes_of_flops"]

    assert of(8192) > (0, 0) and of(8192)[1] == 0  # the panel comes from L2 for every tile
    assert of(64)[0] < 0 < of(64)[1]

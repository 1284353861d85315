"""The roofline: which ceiling bounds a kernel, what is lost under it, and numbers that say nothing left out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tilewright.compiler.measurement.machine_peak import MemoryLevel, Peak
from tilewright.compiler.measurement.roofline import BANDWIDTH, COMPUTE, Work, bound_of, make_roofline
from tilewright.compiler.reports.roofline_tables import roofline_parts

PEAK = Peak(100e9, (MemoryLevel("L1", 1 << 15, 200e9), MemoryLevel("memory", None, 10e9)), 2)


def work(flops: int, num_bytes: int, step: int = 0, template: str = "contraction") -> Work:
    return Work(step, f"k{step}", template, (f"node {step}",), flops, num_bytes)


def test_what_takes_longer_is_the_bound() -> None:
    products = bound_of(work(10**9, 10**6), PEAK)
    moves = bound_of(work(10**6, 10**6), PEAK)
    small = bound_of(work(0, 2000), PEAK)

    assert products is not None and moves is not None and small is not None
    assert (products.kind, products.level, products.seconds) == (COMPUTE, "memory", pytest.approx(10e-3))
    assert (moves.kind, moves.level, moves.seconds) == (BANDWIDTH, "memory", pytest.approx(100e-6))
    assert (small.kind, small.level, small.seconds) == (BANDWIDTH, "L1", pytest.approx(10e-9))
    assert [str(each) for each in (products, moves, small)] == ["compute", "memory", "L1"]
    assert bound_of(work(0, 0), PEAK) is None


def test_the_most_time_lost_comes_first() -> None:
    slow_but_done = (work(10**9, 1, step=0), 10.1e-3)  # loses 0.1 ms
    faster_but_wasteful = (work(10**6, 1, step=1), 2e-3)  # loses almost 2 ms
    unknown = (work(0, 0, step=2), 5e-3)

    roofline = make_roofline([slow_but_done, unknown, faster_but_wasteful], PEAK)

    assert [row.work.step for row in roofline.kernels] == [1, 0, 2]
    assert roofline.kernels[1].reached == pytest.approx(10 / 10.1)
    assert roofline.total.seconds == pytest.approx(17.1e-3)
    assert roofline.total.lost_seconds == pytest.approx(0.1e-3 + 1.99e-3)


def test_a_kernel_may_pass_the_peak_of_the_direct_algorithm() -> None:
    # Winograd's algorithm does the work of 10**9 operations in less than half of them.
    (row,) = make_roofline([(work(10**9, 10**4), 5e-3)], PEAK).kernels

    assert row.peak_share == pytest.approx(2)
    assert row.reached == pytest.approx(2)
    assert row.lost_seconds == 0


def test_totals_of_templates() -> None:
    timed = [(work(10**6, 100, i, name), seconds) for i, (name, seconds) in enumerate([("a", 1), ("b", 5), ("a", 2)])]

    first, second = make_roofline(timed, PEAK).by_template()

    assert (first.name, first.steps, first.seconds) == ("b", 1, 5)
    assert (second.name, second.steps, second.seconds, second.flops) == ("a", 2, 3, 2 * 10**6)


counts = st.integers(0, 10**15)


@given(st.lists(st.tuples(counts, counts, st.integers(0, 10**12)), max_size=5))
def test_any_work_can_be_told(rows: list[tuple[int, int, int]]) -> None:
    timed = [(work(flops, num_bytes, i), time / 1e9) for i, (flops, num_bytes, time) in enumerate(rows)]

    roofline = make_roofline(timed, PEAK)

    json.dumps(roofline.to_json(), allow_nan=False)
    assert "nan" not in str(roofline_parts(roofline))
    assert sum(total.steps for total in roofline.by_template()) == roofline.total.steps == len(rows)

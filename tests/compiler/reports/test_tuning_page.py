"""The page of a tuning run: curves, numbers, and nothing that a browser would take for code."""

from __future__ import annotations

import random
from xml.etree import ElementTree

from tilewright import targets
from tilewright.compiler.reports.curves import svg
from tilewright.compiler.reports.tuning_page import render
from tilewright.compiler.tuning.session import Moment, Progress
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.table import CONTRACTION
from tilewright.schedules.tuner.search import make_task

TARGET = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=1)


def progress() -> Progress:
    task = make_task([CONTRACTION], Workload(1, 49, 96, (160,)), TARGET, random.Random(0))
    task.seconds = 2e-3
    for candidate, ratio in zip(task.candidates, (1.5, 0.75, 0.9), strict=False):
        task.learn(candidate, ratio)
    return Progress([task], 1, 3, {"crashed": 1}, 12.0, "done", [Moment(12.0, 3, 1.5e-3)])


def test_it_shows_curves_and_where_the_time_went() -> None:
    page = render("a<b>.onnx", progress())
    assert "a&lt;b&gt;.onnx" in page and "<b>" not in page
    assert "1 crashed" in page and "0.75" in page and "2.000 ms" in page and "1.500 ms" in page
    assert page.count("<svg") == 2
    assert "Workload(batch=1, rows=49" in page


def test_a_run_that_measured_nothing_has_a_page() -> None:
    empty = progress()
    empty.tasks[0].curve.clear()
    empty.history.clear()
    assert "<svg" not in render("m", empty)


def test_a_curve_is_an_svg() -> None:
    text = svg("t < u", "x", "y", {"a": [(1, 1.0), (2, 0.5)], "flat": [(1, 1.0)]})
    root = ElementTree.fromstring(text)
    assert len(root.findall(".//{*}polyline")) == 2
    assert svg("t", "x", "y", {}) == ""

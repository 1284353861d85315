"""Pages of a search and of libraries compared: points, numbers, and nothing that a browser would take for code."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tilewright.compiler.evaluation.evaluate import Evaluated
from tilewright.compiler.evaluation.metrics import METRICS
from tilewright.compiler.optimization.candidate import Candidate, Parts
from tilewright.compiler.optimization.front import Point
from tilewright.compiler.optimization.request import SOLVED, UNIFORM, Optimized
from tilewright.compiler.reports import evaluation_report, optimization_report
from tilewright.compiler.reports.curves import svg
from tilewright.compiler.reports.optimization_page import render

FLOAT = Point(Candidate(), 98.0, 0.0, 1e-3, 100_000)
MIXED = Point(Candidate("work 50%", (("a<b>", "int8"), ("c", "rank within 5%"))), 97.5, 0.03, 4e-4, 40_000)
UNIFORM_POINT = Point(Candidate("whole", (("a<b>", "int8"),)), 96.0, 0.1, 5e-4, 50_000)


def found() -> Optimized:
    points = (FLOAT, MIXED, UNIFORM_POINT)
    origins = {FLOAT.candidate.key: "float", MIXED.candidate.key: SOLVED, UNIFORM_POINT.candidate.key: UNIFORM}
    metric, parts = METRICS["top1"], Parts(None, {})  # type: ignore[arg-type]  # pages show no model
    return Optimized(
        "net<i>", FLOAT, (MIXED, FLOAT), points, origins, (), MIXED, 0.0, 12, {"[]": "why"}, 34.0, metric, parts
    )


def test_the_page_shows_the_front_and_who_proposed_what() -> None:
    page = render(found())

    assert "net&lt;i&gt;" in page and "<i>" not in page and "a&lt;b&gt;" in page
    assert page.count("<svg") == 4
    for said in ("work 50%", "rank within 5%", "97.50", "400.000 us", "40.0 kB", SOLVED, "uniform", "1 could not be"):
        assert said in page, said


def test_tables_and_json_of_the_front() -> None:
    text = "\n".join(part if isinstance(part, str) else part.plain() for part in optimization_report.tables(found()))
    assert "*1" in text and "0.40" in text and "work 50%, 1 int8, 1 rank within 5%" in text
    told = optimization_report.to_json(found())
    assert told["best"] == 1 and told["front"][0]["layers"] == {"a<b>": "int8", "c": "rank within 5%"}
    assert told["front"][0]["latency_share"] == 0.4 and len(told["points"]) == 3 and told["within_budget"]


def test_libraries_compared() -> None:
    first = Evaluated(Path("a.so"), 98.0, 0.0, 1e-3, 9e-4, 100_000, 90_000, 5_000, 0.002, "fp32")
    other = Evaluated(Path("b<i>.so"), 97.5, 0.03, 5e-4, 4e-4, 40_000, 30_000, 4_000, None, "fp32")

    text = evaluation_report.table([first, other], METRICS["top1"]).plain()
    page = evaluation_report.render([first, other], METRICS["top1"], 360)

    assert "-0.50" in text and "0.50" in text and "2 mJ" in text
    assert "energy" not in evaluation_report.table([other], METRICS["top1"]).plain(), "where no machine tells it"
    assert "b&lt;i&gt;.so" in page and page.count("<svg") == 2 and "360 samples" in page


def test_clouds_are_well_formed_and_inside_the_picture() -> None:
    picture = ElementTree.fromstring(svg("a & b", "x", "y", {"line": [(0, 0), (2, 1)]}, {"cloud": [(1, 5), (3, -2)]}))
    circles = picture.findall("{http://www.w3.org/2000/svg}circle")

    assert len(circles) == 3, "two points and the key"
    assert all(0 < float(each.attrib[name]) < 640 for each in circles for name in ("cx", "cy"))

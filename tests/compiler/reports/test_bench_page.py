"""The page of `bench --html`: every kernel, escaped names, numbers that can be drawn, and a browser that agrees."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tilewright.compiler.library.signature import Signature
from tilewright.compiler.measurement.bench import Latency
from tilewright.compiler.measurement.machine_peak import MemoryLevel, Peak
from tilewright.compiler.measurement.roofline import Work, make_roofline
from tilewright.compiler.reports.bench_page import render
from tilewright.targets.host import HostFacts

PEAK = Peak(
    150e9,
    (
        MemoryLevel("L1", 1 << 16, 400e9),
        MemoryLevel("L2", 1 << 20, 200e9),
        MemoryLevel("L3", 1 << 25, 195e9),
        MemoryLevel("memory", None, 20e9),
    ),
    2,
)
HOST = HostFacts("x86_64", 'A "fast" <CPU> & more', frozenset(), 2, 1 << 15, 1 << 19, 1 << 25)
SIGNATURE = Signature(
    *("net", (), (), "x86_64-unknown-linux-gnu", "x86-64-v3", "x86_64", ("avx2",)),
    *(1024, 2048, True, 0, "0.1.0", (), ()),
)
HOSTILE = "</script><script>document.title='changed'</script> \"quoted\" &amp; 'é"
VOID = frozenset(["meta", "input"])

# Steps and seconds: a product, a product faster than the direct algorithm could be, a move, an unknown, a small one.
TIMED = [
    (Work(0, "k0_conv", "contraction", ("conv", "relu"), 10**9, 10**6), 10e-3),
    (Work(1, "k1_conv", "winograd", ("conv 2",), 10**9, 10**6), 5e-3),
    (Work(2, "k2_transpose", "plain", (HOSTILE,), 0, 10**6), 1e-3),
    (Work(3, "copy", "copy", ("out",), 0, 0), 1e-5),
    (Work(4, "k3_pool", "new template", ("pool",), 5000, 20_000), 1e-6),
]


class Page(HTMLParser):
    """What is needed of a page: its elements, and whether each that is opened is closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, class_: str = "") -> list[dict[str, str]]:
        """The attributes of the elements of a tag and class."""
        return [found for name, found in self.elements if name == tag and class_ in found.get("class", "")]


def page(
    timed: list[tuple[Work, float]], latencies: tuple[Latency, ...] = (Latency("tilewright", 9, 8, 10, 50),)
) -> str:
    return render(
        SIGNATURE,
        make_roofline(timed, PEAK),
        latencies,
        library="net.so",
        host=HOST,
        measured_at=datetime(2026, 1, 2, 3, 4),
    )


def check_numbers(parsed: Page) -> None:
    """Every coordinate is a finite number within a generous picture, and no number that is shown is none."""
    for _, attributes in parsed.elements:
        for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "data-x", "data-y"):
            if name in attributes:
                assert -10 <= float(attributes[name]) <= 1000, (name, attributes[name])
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"(?s)\"use strict\".*", "", parsed.text))


def test_every_kernel_is_there() -> None:
    parsed = Page(page(TIMED))

    check_numbers(parsed)
    rows = [row for row in parsed.all("tr") if "data-step" in row]
    # By time lost: 3.3 ms of the first, 0.95 ms of the move, nothing of the one above its roof; the unknown is last.
    assert [row["data-step"] for row in rows] == ["0", "2", "4", "1", "3"]
    marks = [mark["data-step"] for mark in parsed.all("g", "mark")]
    # In the roofline those with operations, in the bars all, in order; each in two shapes.
    assert sorted(marks) == sorted(["0", "1", "4"] * 2 + ["0", "1", "2", "3", "4"] * 2)
    assert len(parsed.all("svg", "wide")) == len(parsed.all("svg", "narrow")) == 2
    assert "2 of the kernels only move data" in parsed.text
    assert "133%" in parsed.text  # of the peak, by the direct algorithm's operations
    assert "L2, L3 200 GB/s" in parsed.text  # lines that would lie on each other are one
    assert all(svg["aria-label"] and svg["tabindex"] == "0" for svg in parsed.all("svg"))


def test_names_are_escaped_and_nothing_is_fetched() -> None:
    text = page(TIMED)
    parsed = Page(text)

    assert len(parsed.all("script")) == 1
    assert HOSTILE in parsed.text and "<script>document" not in text
    assert HOST.model_name in parsed.text
    assert not re.search(r"https?://|//cdn|@import|url\(", text)
    assert not any({"src", "href", "xlink:href", "srcset"} & set(attributes) for _, attributes in parsed.elements)
    assert "default-src 'none'" in parsed.all("meta")[2]["content"]


def test_other_engines_have_a_table() -> None:
    alone, raced = (
        page(TIMED, engines)
        for engines in (
            (Latency("tilewright", 10, 8, 12, 50),),
            (Latency("tilewright", 10, 8, 12, 50), Latency("onnxruntime", 20, 18, 25, 50)),
        )
    )

    assert "onnxruntime" not in alone and "Engines" not in alone
    assert "onnxruntime" in raced and "0.500" in raced


@pytest.mark.parametrize(
    "timed",
    [
        [],
        [(Work(0, "copy", "copy", ("y",), 0, 64), 0.0)],
        [(Work(0, "move", "plain", ("y",), 0, 64), 1e-6)],
        [(Work(0, "one", "contraction", ("y",), 1, 1), 1e-9)],
    ],
    ids=["no steps", "no time", "no operations", "one kernel"],
)
def test_libraries_with_little_in_them(timed: list[tuple[Work, float]]) -> None:
    parsed = Page(page(timed))

    check_numbers(parsed)
    assert len([row for row in parsed.all("tr") if "data-step" in row]) == len(timed)


counts = st.integers(0, 10**15)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(counts, counts, st.integers(0, 10**12), st.text(max_size=9)), max_size=12))
def test_any_library_can_be_drawn(rows: list[tuple[int, int, int, str]]) -> None:
    timed = [(Work(i, f"k{i}", f"t{i}", (name,), f, b), t / 1e9) for i, (f, b, t, name) in enumerate(rows)]

    parsed = Page(page(timed))

    for svg in parsed.all("svg"):
        assert svg["viewbox"].startswith("0 0 ")
    assert len([row for row in parsed.all("tr") if "data-step" in row]) == len(rows)
    assert not re.search(r'="-?(nan|inf)"', page(timed))


# Does what a person does, and leaves what it saw on the body.
_PROBE = """<script>
const seen = {};
const click = (selector) => document.querySelector(selector).click();
const visible = () => [...document.querySelectorAll("#kernels tbody tr")].filter((row) => row.offsetHeight);
const steps = () => visible().map((row) => row.dataset.step).join("");
seen.title = document.title;
seen.overflow = document.documentElement.scrollWidth > document.documentElement.clientWidth;
seen.charts = [...document.querySelectorAll(".chart")].filter((c) => c.getBoundingClientRect().width).length;
seen.atFirst = steps();
click("#kernels th:nth-child(1) button"); seen.inOrder = steps();
click("#kernels th:nth-child(4) button"); seen.slowest = steps();
click("#kernels th:nth-child(4) button"); seen.fastest = steps();
click('[data-template="contraction"]'); seen.without = steps();
seen.marks = [...document.querySelectorAll('.mark[data-step="0"]')].every((mark) => !mark.getClientRects().length);
click('[data-template="contraction"]');
const input = document.getElementById("filter");
input.value = "POOL"; input.dispatchEvent(new Event("input")); seen.filtered = steps();
seen.count = document.getElementById("count").textContent;
input.value = ""; input.dispatchEvent(new Event("input"));
const chart = [...document.querySelectorAll(".chart")].find((c) => c.getBoundingClientRect().width);
chart.focus();
chart.dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
seen.hint = document.getElementById("hint").innerText;
const box = chart.querySelector('.mark[data-step="0"] circle').getBoundingClientRect();
chart.dispatchEvent(new PointerEvent("pointermove", {
  clientX: box.left + box.width / 2 + 3, clientY: box.top + box.height / 2, pointerType: "mouse",
}));
seen.pointed = document.getElementById("hint").innerText;
seen.chosen = document.querySelector("#kernels tr.chosen").dataset.step;
chart.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
seen.gone = document.getElementById("hint").hidden;
document.body.dataset.seen = JSON.stringify(seen);
</script></body>"""


@pytest.mark.parametrize("width", [1200, 390])
def test_in_a_browser(tmp_path: Path, width: int) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    # A window has a least width, so that the page of a phone stands in a frame.
    inner = page(TIMED).replace("</body>", _PROBE)
    report = "parent.document.body.dataset.seen = document.body.dataset.seen;"
    (tmp_path / "page.html").write_text(
        f'<body><iframe style="width:{width}px;height:800px" srcdoc="'
        + html.escape(inner.replace("</script></body>", f"{report}</script></body>"))
        + '"></iframe>'
    )
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    dumped = subprocess.run(
        [*command, "--virtual-time-budget=3000", "--dump-dom", f"file://{tmp_path}/page.html"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout

    seen = json.loads(next(body["data-seen"] for body in Fragments(dumped).all("body") if "data-seen" in body))

    assert seen["title"] == "net: roofline"
    assert not seen["overflow"]
    assert seen["charts"] == 2
    assert seen["atFirst"] == "02413"
    assert seen["inOrder"] == "01234" and seen["slowest"] == "01234" and seen["fastest"] == "43210"
    assert seen["without"] == "4321" and seen["marks"]
    assert seen["filtered"] == "4" and seen["count"] == "1 of 5"
    assert "k3_pool" in seen["hint"] and "pool" in seen["hint"]
    assert "k0_conv" in seen["pointed"] and "conv + relu" in seen["pointed"] and seen["chosen"] == "0"
    assert seen["gone"]


class Fragments(Page):
    """What a browser wrote, which need not be closed in turn."""

    def __init__(self, text: str) -> None:
        self._open = []
        super().__init__(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        pass

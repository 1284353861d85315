"""The page and the terminal's summary say what was measured, and why something was not."""

from __future__ import annotations

import io

from fake_engines import fake_engine, measured, table
from rich.console import Console
from tilewright.benchmarks.engines.engine import BFLOAT16
from tilewright.benchmarks.machine import Machine
from tilewright.benchmarks.measurement import FAILED, NOT_AVAILABLE, WRONG, Measurement
from tilewright.benchmarks.report import markdown, milliseconds, print_summary, reasons

MACHINE = Machine("Some CPU", ("avx2",), 2, 16, "Linux", "3.11")
RUN = {"command": "the command", "date": "2026-01-02", "source": "v1"}
TABLE = table(
    fake_engine("tilewright", ours=True),
    fake_engine("tilewright-bf16", precision=BFLOAT16, ours=True),
    fake_engine("onnxruntime"),
    fake_engine("openvino"),
    fake_engine("openvino-bf16", precision=BFLOAT16),
    fake_engine("iree"),
    fake_engine("tvm"),
)
RESULTS = [
    measured("tilewright", 2.0, 2.5, 3.0),
    measured("onnxruntime", 4.0, 5.0, 6.0),
    measured("openvino", 1.0, 1.0, 1.0, state=WRONG, reason="differs from onnxruntime by 3.0e-03", error=3e-3),
    Measurement("net", 1, "iree", FAILED, "no answer"),
    Measurement("net", 1, "openvino-bf16", NOT_AVAILABLE, "this CPU has no bfloat16"),
    measured("tvm", 400.0, version="0.27"),
]


def test_the_page_shows_times_ratios_and_what_went_wrong() -> None:
    page = markdown(MACHINE, RUN, RESULTS, TABLE, "results.svg")
    assert "Some CPU, 2 cores, 16 GiB, avx2" in page and "`the command`" in page and "(results.svg)" in page
    assert "| net | 1 | 2.50 (1.00) | 5.00 (2.00) | wrong | 400 (0.00) | onnxruntime | 0.50 | 0.50 |" in page
    assert "| float32 | 1 | 0.50 | 1 | 0.50 | 1 |" in page
    assert "| tvm | 0.27 | 1 | 10 | 1.0e-06 |" in page
    assert "- openvino: wrong: differs from onnxruntime by 3.0e-03" in page
    assert "- iree: failed: no answer" in page
    assert "- openvino-bf16: not available: this CPU has no bfloat16" in page
    assert "## bfloat16" not in page


def test_bfloat16_has_a_table_of_its_own() -> None:
    page = markdown(MACHINE, RUN, [measured("tilewright-bf16", 3.0), measured("openvino-bf16", 2.0)], TABLE)
    assert "## float32" not in page and "![" not in page
    assert "| net | 1 | 3.00 (0.00) | 2.00 (0.00) | openvino-bf16 | 1.50 |" in page


def test_a_reason_is_given_once_with_the_models_it_concerns() -> None:
    more = [
        Measurement("other", 1, "iree", FAILED, "no answer"),
        Measurement("other", 1, "openvino-bf16", NOT_AVAILABLE, "cannot take it"),
    ]
    assert reasons([*RESULTS[3:], *more]) == [
        "iree: failed: no answer",
        "openvino-bf16: not available: this CPU has no bfloat16 [net (1t)]",
        "openvino-bf16: not available: cannot take it [other (1t)]",
    ]


def test_the_summary_fits_a_terminal() -> None:
    text = io.StringIO()
    print_summary(Console(file=text, width=80), [*RESULTS, measured("tilewright", 1.0, model="m" * 18)], TABLE)
    lines = text.getvalue().splitlines()
    (row,) = [line for line in lines if line.split()[:1] == ["net"]]
    assert row.split() == ["net", "1", "2.50", "onnxruntime", "5.00", "0.50", "0.50"]
    assert any(line.split() == ["geometric", "mean", "of", "1", "1", "0.50", "0.50"] for line in lines)
    assert any(line.split() == ["m" * 18, "1", "1.00", "none"] for line in lines)
    assert "…" not in text.getvalue() and "iree: failed: no answer" in text.getvalue()


def test_milliseconds_have_three_digits() -> None:
    assert [milliseconds(value) for value in (0.123, 1.234, 12.34, 123.4, 1234.5)] == [
        "0.12",
        "1.23",
        "12.3",
        "123",
        "1234",
    ]

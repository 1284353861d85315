"""The page of contractions under their roofline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_models import swish_network
from tilewright.benchmarks import kernels
from tilewright.benchmarks.kernels import kernels_of, main, page
from tilewright.compiler.measurement.machine_peak import MemoryLevel, Peak
from tilewright.compiler.measurement.roofline import Work, make_roofline
from tilewright.compiler.reports.report import amount

PEAK = Peak(100e9, (MemoryLevel("memory", None, 10e9),), 1)


def rows(*steps: tuple[str, str, int, float]):
    """Steps of (kernel, template, FLOPs, seconds)."""
    timed = [
        (Work(i, name, template, (f"node {name}",), flops, 8), s) for i, (name, template, flops, s) in enumerate(steps)
    ]
    return make_roofline(timed, PEAK).kernels


def test_calls_of_a_kernel_count_together() -> None:
    found = kernels_of(
        rows(
            ("a", "contraction", 10**9, 0.02),  # 0.01 s at the peak
            ("a", "contraction", 10**9, 0.03),
            ("b", "winograd", 10**9, 0.01),
            ("c", "plain", 0, 0.04),
        )
    )
    assert [kernel.name for kernel in found] == ["a", "b"]
    assert found[0].share == pytest.approx(0.5) and found[0].reached == pytest.approx(0.4)
    assert found[1].reached == pytest.approx(1.0) and found[1].bound == "compute"


def test_the_page_lists_what_is_below() -> None:
    found = kernels_of(rows(("slow", "contraction", 10**9, 0.02), ("fast", "contraction", 10**9, 0.0101)))
    text = page("a machine", PEAK, {"net": found}, 0.02, 0.85, "the command")
    assert "Of 2 contraction kernels" in text and ", 1 are below 85%" in text
    assert f"| net | node slow | contraction | {amount(10**9)} | 66.4% | 50% | compute |" in text
    assert "node fast" not in text and "the command" in text


def test_a_model_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "measured_peak", lambda threads: PEAK)
    (tmp_path / "net.onnx").write_bytes(swish_network().SerializeToString())
    np.savez(tmp_path / "net.npz", x=np.ones((4, 16), np.float32))
    out = tmp_path / "page.md"
    assert main([str(tmp_path / "net.onnx"), "--runs", "3", "--share", "0", "--reached", "1e9", "--out", str(out)]) == 0
    text = out.read_text()
    assert "| net |" in text and "first product" in text


def test_an_unknown_model_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-model.onnx"]) == 2
    assert "does not exist" in capsys.readouterr().err

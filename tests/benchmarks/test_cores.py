"""The page of models on simulated cores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import swish_network
from tilewright.benchmarks.cores import main, page
from tilewright.compiler.library.artifact import CompiledModel
from tilewright.compiler.measurement import simulation
from tilewright.compiler.measurement.machine_peak import MemoryLevel, Peak
from tilewright.compiler.measurement.roofline import Work
from tilewright.compiler.measurement.simulated import HandOff, Launch, SimulatedKernel, Simulation, Step

PEAK = Peak(100e9, (MemoryLevel("memory", None, 10e9),), 4)


def kernel(name: str, alone: float, *tasks: float) -> SimulatedKernel:
    work = Work(0, name, "contraction", (f"node {name}",), 1000, 8)
    return SimulatedKernel(work, alone, Step(0.0, (Launch(tasks),)), 1e-6, 0.0, 4)


def test_the_page_lists_what_leaves_cores_without_work() -> None:
    kernels = (kernel("two", 100e-6, 50e-6, 50e-6, 0.0, 0.0), kernel("even", 100e-6, *[24e-6] * 4))
    found = Simulation(kernels, 4, HandOff(1e-6, 2), PEAK, False, 70e-6)

    text = page("a machine", {"net": (found, [])}, 0.02, "the command")

    assert "| net | 0.200 | 0.076 | 2.6 | 0.070 | 3% | 0% |" in text
    assert "| net | node two | contraction | 100.0 | 51.0 | 2.0 | 2 | 100% |" in text
    assert "node even" not in text and "the command" in text
    assert "64 threads." in text
    assert "but for {'net': [3]}" in page("a machine", {"net": (found, [3])}, 0.02, "the command")


def test_a_model_is_simulated_and_its_bits_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "measured_peak", lambda threads: replace(PEAK, threads=threads))
    (tmp_path / "net.onnx").write_bytes(swish_network().SerializeToString())
    np.savez(tmp_path / "net.npz", x=np.ones((4, 16), np.float32))
    out = tmp_path / "page.md"
    arguments = [str(tmp_path / "net.onnx"), "--cores", "8", "--runs", "3", "--share", "0", "--out", str(out)]

    assert main(arguments) == 0
    assert "first product" in out.read_text()
    right = CompiledModel.simulate

    def wrong(model: CompiledModel, inputs: Any, threads: int) -> Any:
        outputs, stream = right(model, inputs, threads)
        return {name: array + (threads == 7) for name, array in outputs.items()}, stream

    monkeypatch.setattr(CompiledModel, "simulate", wrong)
    assert main(arguments) == 1
    assert "but for {'net': [7]}" in out.read_text()


@pytest.mark.parametrize("arguments", [["no-such-model.onnx"], ["--cores", "1"], ["--cores", "257"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "error:" in capsys.readouterr().err

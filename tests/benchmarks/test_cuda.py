"""What a short loan of a GPU runs: libraries that were built beforehand, beside engines that may not be there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from cuda_emulation import Emulation, emulated_driver, emulation, inherited
from small_models import swish_network
from tilewright.benchmarks.cuda import __main__ as benchmark
from tilewright.benchmarks.cuda import building
from tilewright.benchmarks.cuda.details import details
from tilewright.benchmarks.engines import ENGINES, gpu_torch
from tilewright.benchmarks.engines.engine import Job
from tilewright.benchmarks.engines.gpu import GPU_ENGINES
from tilewright.benchmarks.engines.gpu_tilewright import library_of
from tilewright.benchmarks.measurement import MEASURED, NOT_AVAILABLE
from tilewright.benchmarks.models import MODELS, found
from tilewright.benchmarks.not_available import NotAvailableError

__all__ = ["emulated_driver", "emulation", "inherited"]  # fixtures


def test_a_library_is_told_of_where_a_gpu_is(emulation: Emulation, tmp_path: Path) -> None:
    onnx.save(swish_network(), tmp_path / "swish.onnx")
    building.build([str(tmp_path / "swish.onnx")], ["tf32"], "sm_80", tmp_path / "built", with_onnx=True, peaks=False)
    place = tmp_path / "built" / "swish.onnx"
    with np.load(place.with_suffix(".npz")) as inputs, np.load(place.with_suffix(".expected.npz")) as expected:
        job = Job(place, place.with_suffix(".npz"), tmp_path, 1)
        session = GPU_ENGINES["tilewright-cuda-tf32"].load(job, dict(inputs))
        session.run()
        np.testing.assert_allclose(session.outputs()[0], expected["y"], atol=2e-3)
    found = details(library_of(place, "tf32"), 0.001)

    assert found["host_ms"] > 0 and found["in_a_row_ms"] > 0 and "kernels" not in found


@pytest.mark.slow
@pytest.mark.usefixtures("inherited")
def test_what_was_built_beforehand_is_measured(
    emulation: Emulation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(swish_network(), tmp_path / "swish.onnx")
    folder, report = tmp_path / "built", tmp_path / "report.json"
    options = ["--rounds", "2", "--seconds", "0.01"]

    assert benchmark.main(["build", str(tmp_path / "swish.onnx"), "--out", str(folder), "--mcpu", "sm_80"]) == 0
    assert benchmark.main(["run", str(folder), "--json", str(report), *options]) == 0

    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("swish.fp16.so", "swish.fp16.h", "swish.fp16.peak.fatbin", "swish.npz", "swish.expected.npz"),
    }
    result = json.loads(report.read_text())
    states = {each["engine"]: each["state"] for each in result["measurements"]}
    assert states.pop("tilewright-cuda-fp16") == MEASURED
    assert set(states) == {name for name in GPU_ENGINES if name.endswith("fp16") and "tilewright" not in name}
    assert set(states.values()) == {NOT_AVAILABLE}
    details = result["details"]["swish.fp16.so"]
    assert result["gpu"] == "an emulated GPU" and not result["left_out"]
    assert details["kernels"] and details["host_ms"] > 0 and details["in_a_row_ms"] > 0
    page = report.with_suffix(".md").read_text()
    assert page in capsys.readouterr().out and "| swish |" in page

    assert benchmark.main(["run", str(folder), "--minutes", "0"]) == 1
    assert "## No time left\n\nswish.fp16.so" in capsys.readouterr().out


def test_what_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["build", "no_such_model", "--out", str(tmp_path)]) == 2
    assert "no model 'no_such_model'" in capsys.readouterr().err
    with pytest.raises(NotAvailableError, match=r"benchmarks\.cuda build"):
        GPU_ENGINES["tilewright-cuda-fp16"].load(Job(tmp_path / "net.onnx", tmp_path, tmp_path, 1), {})


def test_engines_have_names_of_their_own() -> None:
    assert not set(ENGINES) & set(GPU_ENGINES)
    assert all(name == engine.name for name, engine in GPU_ENGINES.items())
    assert {engine.precision for engine in GPU_ENGINES.values() if engine.ours} == {
        engine.precision for engine in GPU_ENGINES.values()
    }


def test_models_in_batches() -> None:
    spec, single = found("bert_base-b16"), MODELS["bert_base"]

    assert spec is not None and [each.shape for each in spec.inputs] == [(16, 128), (16, 128)]
    assert spec.gmacs == pytest.approx(16 * single.gmacs) and spec.name == "bert_base-b16"
    assert found("bert_base") is single and found("bert_base-b0") is None and found("bert") is None


def test_torch_computes_what_the_model_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Conv2d(3, 4, 3).eval()
    monkeypatch.setattr(gpu_torch, "torch_module", lambda name: module)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    expected = module(torch.from_numpy(x)).detach().numpy()

    job = Job(tmp_path / "net.onnx", tmp_path / "net.npz", tmp_path, 1)
    session = gpu_torch.load_eager(job, {"x": x}, precision="tf32", device="cpu")
    session.run()

    np.testing.assert_allclose(session.outputs()[0], expected, atol=1e-5)

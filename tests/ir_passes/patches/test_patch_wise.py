"""Computed patch by patch, networks give the bits that they give as a whole, in less memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from c_sources import built, called
from inverted_residuals import mobilenet, quantized, small
from small_models import model, node
from tilewright.compiler.build import build
from tilewright.compiler.library.artifact import load
from tilewright.compiler.library.plan import Loop
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.runners.microcontroller import MicrocontrollerRunner, load_sources, missing_tools
from tilewright.errors import RegionError, UsageError

Array = np.ndarray[Any, Any]
# A machine of float32 in order, so that sums are the same whatever a kernel's size.
PLAIN = {"target": "x86_64-linux-gnu", "threads": 1, "jobs": 1}


def run(proto: onnx.ModelProto, folder: Path, arena: int | None = None, **options: Any) -> tuple[Any, dict[str, Array]]:
    """The build and its outputs, on noise."""
    made = build(proto, folder / f"net{arena}.so", CompileOptions(**{**PLAIN, **options}, name="net", arena=arena))
    library = load(folder / f"net{arena}.so")
    generator = np.random.default_rng(3)
    inputs = {spec.name: generator.standard_normal(spec.shape).astype(spec.dtype) for spec in library.inputs}
    return made, library.run(inputs)


def loops(made: Any) -> list[int]:
    return [int(step.count) for step in made.plan.steps if isinstance(step, Loop)]


@pytest.mark.parametrize(
    ("size", "share"),
    [
        ((37, 29), 0.3),
        *(pytest.param(size, share, marks=pytest.mark.slow) for size, share in (((48, 40), 0.6), ((48, 40), 0.3))),
    ],
)
def test_floats(size: tuple[int, int], share: float, tmp_path: Path) -> None:
    """Strides, residuals, windows of 5, sizes that nothing divides."""
    proto = small(size, [(1, 8, 1, 3), (4, 8, 2, 3), (4, 8, 1, 5), (4, 12, 2, 3), (4, 12, 1, 3)])
    whole, expected = run(proto, tmp_path)
    limit = int(whole.plan.workspace_bytes * share)
    made, outputs = run(proto, tmp_path, limit)

    assert made.plan.workspace_bytes <= limit and len(loops(made)) >= 1 and min(loops(made)) > 1
    np.testing.assert_allclose(outputs["y"], expected["y"], rtol=0, atol=2e-6 * np.abs(expected["y"]).max())


def test_integers_to_the_bit(tmp_path: Path) -> None:
    """C sources for a microcontroller give what a library of this machine gives for whole images."""
    proto = quantized(small((40, 33), [(1, 8, 1, 3), (6, 8, 2, 3), (6, 8, 1, 3), (6, 16, 2, 3)]), tmp_path)
    _, expected = run(proto, tmp_path, target="host")
    options = {"target": "thumbv7em-none-eabihf", "emit": "c", "name": "net", "jobs": 1}
    whole = build(proto, None, CompileOptions(**options), stop_after="plan")
    assert whole.plan is not None and not loops(whole)
    assert whole.plan.workspace_bytes < 3 * 48 * 17 * 20  # tensors are as large as their integers
    limit = whole.plan.workspace_bytes // 3
    made = build(proto, tmp_path / "net", CompileOptions(**options, arena=limit))

    assert made.plan is not None and made.plan.workspace_bytes <= limit and loops(made)
    inputs = [np.random.default_rng(3).standard_normal((1, 3, 40, 33)).astype(np.float32)]
    (actual,) = called(built(made.path, "net", "TARGET_FLAGS="), made.plan, inputs)
    np.testing.assert_array_equal(actual, expected["y"])


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}")
def test_a_mobilenet_in_96_kib(tmp_path: Path) -> None:
    """On an emulated board it gives what a library of this machine gives for whole images."""
    proto = quantized(mobilenet(), tmp_path)
    library = tilewright.compile(proto, output=tmp_path / "net.so", threads=1, jobs=1)
    inputs = {"x": np.random.default_rng(3).standard_normal((1, 3, 144, 144)).astype(np.float32)}
    options = {"target": "thumbv7em-none-eabihf", "emit": "c", "name": "net", "jobs": 1, "arena": 96 << 10}
    made = build(proto, tmp_path / "net", CompileOptions(**options))

    assert made.plan is not None and made.plan.workspace_bytes <= 96 << 10 and loops(made)
    counts = MicrocontrollerRunner().count(load_sources(tmp_path / "net"), inputs)
    np.testing.assert_array_equal(counts.outputs[0], library.run(inputs)["y"])


def test_pools_and_dilation(tmp_path: Path) -> None:
    """A max pool pads with what is less than all else, although what it reads is negative."""
    generator = np.random.default_rng(0)
    weights = {
        "v": (generator.standard_normal((12, 3, 5, 3)) / 6).astype(np.float32),
        "w": (generator.standard_normal((8, 12, 3, 3)) / 10).astype(np.float32),
        "low": np.full((12, 1, 1), -9, np.float32),
    }
    proto = model(
        [
            node("Conv", ["x", "v"], "a", "first", pads=[2, 0, 2, 1], strides=[1, 2]),
            node("Add", ["a", "low"], "b", "negative"),
            node("MaxPool", ["b"], "c", "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("Conv", ["c", "w"], "d", "dilated", pads=[2, 2, 2, 2], dilations=[2, 2]),
            node("Relu", ["d"], "e", "relu"),
            node("GlobalAveragePool", ["e"], "y", "mean"),
        ],
        {"x": ("float32", (1, 3, 41, 50))},
        {"y": ("float32", (1, 8, 1, 1))},
        weights,
    )
    whole, expected = run(proto, tmp_path)
    limit = whole.plan.workspace_bytes // 3
    made, outputs = run(proto, tmp_path, limit)

    assert made.plan.workspace_bytes <= limit and loops(made)
    np.testing.assert_allclose(outputs["y"], expected["y"], rtol=1e-5, atol=1e-6)


def test_what_fits_is_left_alone(tmp_path: Path) -> None:
    proto = small((24, 24), [(1, 8, 1, 3)])
    whole, _ = run(proto, tmp_path)
    made, _ = run(proto, tmp_path, whole.plan.workspace_bytes)

    assert not loops(made)
    assert made.plan.steps == whole.plan.steps


def test_what_cannot_fit_is_refused(tmp_path: Path) -> None:
    proto = small((24, 24), [(1, 8, 1, 3)])
    with pytest.raises(RegionError, match="do not fit the memory") as caught:
        run(proto, tmp_path, 100)
    assert "--arena 100" in str(caught.value)
    for options in ({"arena": 0}, {"arena": 1, "regions": {"fast": 1}, "emit": "c"}):
        with pytest.raises(UsageError):
            CompileOptions(**options)

"""Every file of MLPerf Tiny against the program that it was made for: LiteRT for `.tflite`, Keras for `.h5` of Keras 2.

Skipped where the files (`benchmarks.trained.source_folder`) or those programs are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from tilewright.benchmarks.trained import source_folder

SAMPLES = 20
TOLERANCE = 1e-4  # of the largest |value|
UNITS = 1  # of a quantized output

Array = np.ndarray[Any, Any]


def files(suffix: str) -> list[Any]:
    found = sorted(source_folder().glob(f"*{suffix}"))
    missing = pytest.mark.skip(reason=f"{source_folder()} has no {suffix}")
    return [pytest.param(path, id=path.stem) for path in found] or [pytest.param(Path(), marks=missing)]


def samples(shape: tuple[int, ...], dtype: Any) -> Iterator[Array]:
    """Quantized inputs of the whole range, floats between 0 and 1."""
    generator = np.random.default_rng(0)
    for _ in range(SAMPLES):
        if np.issubdtype(dtype, np.integer):
            yield generator.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        else:
            yield generator.random(shape, np.float32).astype(dtype)


def assert_same(result: Array, expected: Array) -> None:
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    if np.issubdtype(expected.dtype, np.integer):
        assert np.abs(result.astype(np.int64) - expected.astype(np.int64)).max() <= UNITS
    else:
        assert np.abs(result - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize("path", files(".tflite"))
def test_tflite(path: Path) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,), outputs = interpreter.get_input_details(), interpreter.get_output_details()
    model = tilewright.compile(path, threads=1)
    seen = []
    for sample in samples(tuple(given["shape"]), given["dtype"]):
        interpreter.set_tensor(given["index"], sample)
        interpreter.invoke()
        results = model.run({model.inputs[0].name: sample})
        for result, output in zip(results.values(), outputs, strict=True):
            seen.append(interpreter.get_tensor(output["index"]))
            assert_same(result, seen[-1])
    assert np.ptp(np.stack(seen), axis=0).any(), "outputs that are all alike prove nothing"


@pytest.mark.slow
@pytest.mark.parametrize("path", files(".h5"))
def test_keras_2(path: Path) -> None:
    pytest.importorskip("tf2onnx")
    pytest.importorskip("keras")
    from tilewright.frontends.tensorflow.keras_files import load_keras

    reference = load_keras(path)
    model = tilewright.compile(path, threads=1)
    seen = []
    for sample in samples(model.inputs[0].shape, np.float32):
        (result,) = model.run({model.inputs[0].name: sample}).values()
        seen.append(np.asarray(reference(sample, training=False)))
        assert_same(result, seen[-1])
    assert np.ptp(np.stack(seen), axis=0).any(), "outputs that are all alike prove nothing"

"""Tensors in the memory of a GPU go in and come out without a copy, in the streams of those who gave them."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from cuda_emulation import Emulation, emulated_driver, swish_on_gpu
from tilewright.compiler.library.artifact import CompiledModel
from tilewright.compiler.library.device_tensor import DeviceTensor
from tilewright.compiler.library.dlpack import CUDA, Borrowed
from tilewright.errors import TensorError, UsageError
from tilewright.targets.cuda.driver import driver

__all__ = ["emulated_driver", "swish_on_gpu"]  # fixtures

X = np.random.default_rng(0).standard_normal((4, 16)).astype(np.float32)


class Elsewhere(DeviceTensor):
    """A tensor of another library's, on another GPU."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return (CUDA, 1)


def difference(emulation: Emulation, before: dict[str, int]) -> dict[str, int]:
    after = emulation.counts
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


def test_nothing_is_copied(emulated_driver: Emulation, swish_on_gpu: CompiledModel) -> None:
    expected = swish_on_gpu.run({"x": X})["y"]
    x, y = DeviceTensor.of(X), DeviceTensor.empty((4, 16), "float32", 0)
    swish_on_gpu.run({"x": x}, {"y": y})
    before = emulated_driver.counts

    found = swish_on_gpu.run({"x": x}, {"y": y})["y"]

    done = difference(emulated_driver, before)
    assert set(done) == {"launches", "replays", "waits"} and found is y
    np.testing.assert_array_equal(y.numpy(), expected)


def test_results_stay_on_the_gpu(swish_on_gpu: CompiledModel) -> None:
    found = swish_on_gpu.run({"x": DeviceTensor.of(X)})["y"]

    assert isinstance(found, DeviceTensor) and found.__dlpack_device__() == (CUDA, 0)
    assert str(found) == "DeviceTensor(float32[4x16] on GPU 0)"
    borrowed = Borrowed(found, 1)
    assert (borrowed.address, borrowed.shape, borrowed.dtype) == (found.address, (4, 16), "float32")
    np.testing.assert_array_equal(found.numpy(), swish_on_gpu.run({"x": X})["y"])


def test_streams_wait_for_each_other(emulated_driver: Emulation, swish_on_gpu: CompiledModel) -> None:
    gpu = driver()
    with gpu.on(0):
        stream = gpu.stream()
    before = emulated_driver.counts

    class OfTorch:
        cuda_stream = stream

    class OfNvidia:
        def __cuda_stream__(self) -> tuple[int, int]:
            return (0, stream)

    for each in (stream, OfTorch(), OfNvidia()):
        found = swish_on_gpu.run_async({"x": X}, stream=each)["y"]
        assert isinstance(found, DeviceTensor) and found._stream == stream
    assert "orders" not in difference(emulated_driver, before)
    found.__dlpack__(stream=stream)
    assert "orders" not in difference(emulated_driver, before)
    found.__dlpack__(stream=1)
    found.__dlpack__()
    assert difference(emulated_driver, before)["orders"] == 2
    with pytest.raises(UsageError, match="a str is no stream"):
        swish_on_gpu.run_async({"x": X}, stream="s")


def test_memory_is_given_back(emulated_driver: Emulation, swish_on_gpu: CompiledModel) -> None:
    found = swish_on_gpu.run({"x": DeviceTensor.of(X)})["y"]
    address = found.address
    capsule = found.__dlpack__()
    del found
    with driver().on(0):
        driver().download(np.empty(4, np.float32).ctypes.data, address, 16)  # the capsule has it
        del capsule
        assert emulated_driver.driver.cuMemFree_v2(ctypes.c_uint64(address)) != 0


def test_what_cannot_be(swish_on_gpu: CompiledModel) -> None:
    x = DeviceTensor.of(X)
    with pytest.raises(TensorError, match="several GPUs: 0, 1"):
        swish_on_gpu.run({"x": x}, {"y": Elsewhere.of(X)})
    with pytest.raises(TensorError, match="dtype float64"):
        swish_on_gpu.run({"x": DeviceTensor.of(X.astype(np.float64))})
    with pytest.raises(TensorError, match="shape 2x16"):
        swish_on_gpu.run({"x": DeviceTensor.of(X[:2])})
    with pytest.raises(TensorError, match="no input 'z'"):
        swish_on_gpu.run({"x": x, "z": x})
    with pytest.raises(TensorError, match="by name, not as list"):
        swish_on_gpu.run([x])  # type: ignore[arg-type]  # that is the error

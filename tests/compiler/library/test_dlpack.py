"""DLPack: memory is used where it is, whichever way a library gives it, and goes when nobody has it any more."""

from __future__ import annotations

import ctypes
import gc
import weakref
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tilewright
from small_models import swish_network
from tilewright.compiler.library import dlpack
from tilewright.compiler.library.dlpack import CPU, Borrowed, device_of, lent
from tilewright.errors import TensorError, UsageError

X = np.random.default_rng(0).standard_normal((4, 16)).astype(np.float32)


class Memory:
    """Dense memory of an array, given as libraries before version 1 give it."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        return lent(self, self.array.ctypes.data, self.array.shape, self.array.dtype.name, (CPU, 0))

    def __dlpack_device__(self) -> tuple[int, int]:
        return (CPU, 0)


@pytest.fixture(scope="module")
def model() -> tilewright.CompiledModel:
    return tilewright.compile(swish_network(), threads=1)


@pytest.mark.parametrize(
    "array",
    [
        X,
        X[::2, 3:9],
        X.T,
        X[:, :0],
        np.array(2.5, np.float64),
        np.arange(6, dtype=np.int64).reshape(2, 1, 3),
        np.array([True, False]),
    ],
)
def test_arrays_are_the_memory_of_what_numpy_gives(array: np.ndarray[Any, Any]) -> None:
    borrowed = Borrowed(array)

    found = borrowed.array()

    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype and (found.size == 0 or np.shares_memory(found, array))
    assert borrowed.is_dense == array.flags.c_contiguous


def test_what_numpy_has_no_dtype_for() -> None:
    array = np.array([1.5, -2.0], ml_dtypes.bfloat16)

    found = Borrowed(Memory(array)).array()

    assert found.dtype == array.dtype and np.shares_memory(found, array)
    with pytest.raises(BufferError, match="float8"):
        lent(None, 0, (1,), "float8_e4m3fn", (CPU, 0))


def test_memory_is_kept_until_it_is_needed_no_longer() -> None:
    owner = Memory(X.copy())
    gone = weakref.ref(owner)
    given = len(dlpack._given)
    found = Borrowed(owner).array()
    del owner
    gc.collect()
    np.testing.assert_array_equal(found, X)
    assert gone() is not None and len(dlpack._given) == given + 1
    del found
    gc.collect()
    assert gone() is None and len(dlpack._given) == given

    capsule = Memory(X).__dlpack__()  # that nobody takes
    assert len(dlpack._given) == given + 1
    del capsule
    assert len(dlpack._given) == given


def test_a_capsule_is_used_once() -> None:
    capsule = Memory(X).__dlpack__()

    class Again(Memory):
        def __dlpack__(self, *, stream: int | None = None) -> Any:
            return capsule

    np.testing.assert_array_equal(Borrowed(Again(X)).array(), X)
    with pytest.raises(BufferError, match="used before"):
        Borrowed(Again(X))


def test_numpy_takes_what_is_given() -> None:
    np.testing.assert_array_equal(np.from_dlpack(Memory(X)), X)
    assert device_of(Memory(X)) == (CPU, 0) and device_of([1.0]) is None


def test_results_go_where_they_are_wanted(model: tilewright.CompiledModel) -> None:
    expected = model.run({"x": X})["y"]
    for memory in (np.empty_like(expected), Memory(np.empty_like(expected))):
        found = model.run({"x": Memory(X)}, {"y": memory})["y"]
        array = memory.array if isinstance(memory, Memory) else memory
        np.testing.assert_array_equal(array, expected)
        assert np.shares_memory(found, array)


def test_what_results_cannot_go_to(model: tilewright.CompiledModel) -> None:
    fixed = np.empty((4, 16), np.float32)
    fixed.flags.writeable = False
    for memory in (fixed, np.empty((4, 32), np.float32)[:, ::2]):
        with pytest.raises(TensorError, match="cannot be written where it is"):
            model.run({"x": X}, {"y": memory})
    with pytest.raises(TensorError, match="shape 4x8, and the model takes 4x16"):
        model.run({"x": X}, {"y": np.empty((4, 8), np.float32)})
    with pytest.raises(TensorError, match="no output 'z'"):
        model.run({"x": X}, {"z": np.empty((4, 16), np.float32)})
    with pytest.raises(UsageError, match="no streams"):
        model.run_async({"x": X})


def test_torch(model: tilewright.CompiledModel) -> None:
    torch = pytest.importorskip("torch")
    x, y = torch.from_numpy(X.copy()), torch.empty(4, 16)

    model.run({"x": x}, {"y": y})

    np.testing.assert_array_equal(y.numpy(), model.run({"x": X})["y"])
    assert torch.from_dlpack(model.run({"x": x})["y"]).equal(y)
    with pytest.raises(TensorError, match="cannot be read"):
        model.run({"x": x.requires_grad_()})
    half = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    array = Borrowed(half).array()
    array[0] = 3.0
    assert half[0] == 3.0 and ctypes.c_uint16.from_address(array.ctypes.data).value == 0x4040

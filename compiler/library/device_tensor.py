"""A tensor in the memory of a GPU: what a library gives whose inputs were there, for any library that knows DLPack."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...dtypes import numpy_dtype
from ...targets.cuda.driver import Driver, driver
from .dlpack import CUDA, Device, lent
from .tensor_spec import element_bytes

Array = npt.NDArray[Any]
_DEFAULT_STREAM = 1  # as DLPack numbers it
_NO_STREAM = -1  # whoever asks waits by itself


class DeviceMemory:
    """Memory of a GPU, given back when nobody has this object any more, and all launched before is done."""

    def __init__(self, size: int, device: int) -> None:
        """Allocates.

        Raises:
            DeviceError: there is no GPU, or not so much memory.
        """
        gpu = driver()
        with gpu.on(device):
            self.address = gpu.allocate(size)
        weakref.finalize(self, _released, gpu, device, self.address).atexit = False


def _released(gpu: Driver, device: int, address: int) -> None:
    with gpu.on(device):
        gpu.release(address)


class DeviceTensor:
    """A dense tensor in the memory of a GPU: ``torch.from_dlpack(it)``, ``cupy.from_dlpack(it)``, ``it.numpy()``.

    Attributes:
        shape: its extents.
        dtype: as numpy names it, and ``bfloat16``.
        device: the number of the GPU.
        address: of its first element.
    """

    def __init__(self, shape: Sequence[int], dtype: str, device: int, memory: DeviceMemory, stream: int = 0) -> None:
        """A tensor at the begin of some memory.

        Args:
            stream: that what makes it was launched into.
        """
        self.shape = tuple(shape)
        self.dtype = dtype
        self.device = device
        self.address = memory.address
        self._memory = memory
        self._stream = stream

    @classmethod
    def empty(cls, shape: Sequence[int], dtype: str, device: int, stream: int = 0) -> DeviceTensor:
        """A new one, of any contents.

        Raises:
            DeviceError: there is no GPU, or not so much memory.
        """
        return cls(shape, dtype, device, DeviceMemory(math.prod(shape) * element_bytes(dtype), device), stream)

    @classmethod
    def of(cls, array: Array, device: int = 0) -> DeviceTensor:
        """A copy of an array on a GPU.

        Raises:
            DeviceError: there is no GPU, or not so much memory.
        """
        dense = np.asarray(array, order="C")
        made = cls.empty(array.shape, array.dtype.name, device)
        gpu = driver()
        with gpu.on(device):
            gpu.upload(made.address, dense.ctypes.data, dense.nbytes)
        return made

    def part(self, shape: Sequence[int]) -> DeviceTensor:
        """Its first elements as a tensor of another shape, in the same memory."""
        return DeviceTensor(shape, self.dtype, self.device, self._memory, self._stream)

    def numpy(self) -> Array:
        """A copy in the memory of the machine, when it is there.

        Raises:
            DeviceError: what makes it failed.
        """
        array = np.empty(self.shape, numpy_dtype(self.dtype))
        gpu = driver()
        with gpu.on(self.device):
            gpu.wait(self._stream)
            gpu.download(array.ctypes.data, self.address, array.nbytes)
        return array

    def __dlpack_device__(self) -> Device:
        """The kind of device, and its number."""
        return CUDA, self.device

    def __dlpack__(self, *, stream: int | None = None, **_options: Any) -> Any:
        """A capsule of it.

        Args:
            stream: that it will be used in, as DLPack numbers them: it waits for what makes the tensor.

        Raises:
            BufferError: DLPack has no such dtype.
        """
        gpu, wanted = driver(), _DEFAULT_STREAM if stream is None else stream
        if wanted not in (_NO_STREAM, self._stream or _DEFAULT_STREAM):
            with gpu.on(self.device):
                gpu.let_wait(wanted, self._stream)
        return lent(self, self.address, self.shape, self.dtype, self.__dlpack_device__())

    def __repr__(self) -> str:
        return f"DeviceTensor({self.dtype}[{'x'.join(map(str, self.shape))}] on GPU {self.device})"

"""DLPack: memory of other libraries' tensors is used where it is, and ours is given away, without a copy.

The structures are those of dlpack.h, before and since version 1. A tensor travels as a capsule of Python's: who takes
it renames the capsule, and calls its deleter when the memory is needed no longer.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...dtypes import numpy_dtype
from .tensor_spec import NARROW

CPU, CUDA, PINNED, MANAGED = 1, 2, 3, 13
ON_GPU = (CUDA, MANAGED)
ON_CPU = (CPU, PINNED)
_VERSION = (1, 0)
_READ_ONLY = 1
_KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}
_BOOL = "bool"
Device = tuple[int, int]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


# Names of capsules, before and after somebody took what is in them; Python keeps pointers to the names.
_NEW, _USED = b"dltensor", b"used_dltensor"
_NEW_VERSIONED, _USED_VERSIONED = b"dltensor_versioned", b"used_dltensor_versioned"


def _python(name: str, result: Any, *arguments: Any) -> Any:
    function = ctypes.pythonapi[name]
    function.restype, function.argtypes = result, arguments
    return function


_is_capsule = _python("PyCapsule_IsValid", ctypes.c_int, ctypes.py_object, ctypes.c_char_p)
_content = _python("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
_rename = _python("PyCapsule_SetName", ctypes.c_int, ctypes.py_object, ctypes.c_char_p)
_capsule = _python("PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
# Of a capsule that is going, which is no object to count references of any more.
_is_going = _python("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_going_content = _python("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)


class Borrowed:
    """Memory of another library's tensor, which stays while this object does.

    Attributes:
        address: of its first element; 0 where it may have none.
        device: the kind of its device and the number.
        dtype: as numpy names it, and ``bfloat16``; of another, its kind and bits.
        shape: its extents.
        strides: in elements; None: dense and row-major.
        read_only: whether the owner says that it must not be written.
    """

    def __init__(self, value: Any, stream: int | None = None) -> None:
        """Asks a tensor for its memory.

        Args:
            value: anything with ``__dlpack__``.
            stream: where it will be used, as DLPack numbers them; None where no stream is.

        Raises:
            BufferError: it does not give its memory, or in a way that is unknown.
        """
        capsule = _exported(value, stream)
        if _is_capsule(capsule, _NEW_VERSIONED):
            pointer = _content(capsule, _NEW_VERSIONED)
            versioned = _Versioned.from_address(pointer)
            if versioned.major != _VERSION[0]:
                raise BufferError(f"DLPack of version {versioned.major} is unknown")
            tensor, deleter, self.read_only = versioned.tensor, versioned.deleter, bool(versioned.flags & _READ_ONLY)
            _rename(capsule, _USED_VERSIONED)
        elif _is_capsule(capsule, _NEW):
            pointer = _content(capsule, _NEW)
            managed = _Managed.from_address(pointer)
            tensor, deleter, self.read_only = managed.tensor, managed.deleter, False
            _rename(capsule, _USED)
        else:
            raise BufferError("it is no capsule of DLPack, or was used before")
        if deleter:
            weakref.finalize(self, deleter, pointer).atexit = False
        self.address = (tensor.data or 0) + tensor.byte_offset
        self.device: Device = (tensor.device_type, tensor.device_id)
        kind = _KINDS.get(tensor.code, f"kind {tensor.code} of ") if tensor.lanes == 1 else "vector of "
        self.dtype = kind if kind == _BOOL else f"{kind}{tensor.bits}"
        self.shape = tuple(tensor.shape[: tensor.rank])
        self.strides = tuple(tensor.strides[: tensor.rank]) if tensor.strides else None

    @property
    def is_dense(self) -> bool:
        """Whether its elements lie one behind the other, the last axis first."""
        expected = 1
        for extent, stride in zip(reversed(self.shape), reversed(self.strides or ()), strict=False):
            if extent != 1 and stride != expected:
                return 0 in self.shape
            expected *= extent
        return True

    def array(self) -> npt.NDArray[Any]:
        """It as an array, of a tensor in the memory of the machine; the array keeps the memory.

        Raises:
            TypeError: numpy has no such dtype.
        """
        dtype = numpy_dtype(self.dtype)
        if 0 in self.shape:
            return np.empty(self.shape, dtype)
        bits = f"<u{dtype.itemsize}"
        self.__array_interface__ = {
            "version": 3,
            "shape": self.shape,
            "typestr": bits,
            "data": (self.address, self.read_only),
            "strides": None if self.strides is None else tuple(each * dtype.itemsize for each in self.strides),
        }
        return np.asarray(self).view(dtype)


def _exported(value: Any, stream: int | None) -> Any:
    options = {} if stream is None else {"stream": stream}
    try:
        return value.__dlpack__(**options, max_version=_VERSION)
    except TypeError:  # it is of before version 1
        return value.__dlpack__(**options)


def device_of(value: Any) -> Device | None:
    """Where a tensor is, by DLPack; None of what does not know it."""
    if not hasattr(value, "__dlpack__") or not hasattr(value, "__dlpack_device__"):
        return None
    kind, number = value.__dlpack_device__()
    return int(kind), int(number)


def lent(owner: object, address: int, shape: Sequence[int], dtype: str, device: Device) -> Any:
    """A capsule of dense memory, which keeps its owner until who took it needs it no longer.

    Raises:
        BufferError: DLPack has no such dtype.
    """
    code = next((code for code, kind in _KINDS.items() if dtype.rstrip("0123456789") == kind), None)
    if code is None or dtype in NARROW:
        raise BufferError(f"DLPack has no {dtype}")
    extents = (ctypes.c_int64 * max(1, len(shape)))(*shape)
    bits = numpy_dtype(dtype).itemsize * 8
    managed = _Managed(_Tensor(address, *device, len(shape), code, bits, 1, extents, None, 0), None, _FORGET)
    pointer = ctypes.addressof(managed)
    _given[pointer] = (managed, extents, owner)
    return _capsule(pointer, _NEW, ctypes.cast(_DROP, ctypes.c_void_p))


_given: dict[int, tuple[object, ...]] = {}  # what capsules are about, by the addresses of their structures


def _forget(pointer: int) -> None:
    _given.pop(pointer, None)


def _drop(capsule: int) -> None:
    """A capsule goes: if nobody took what is in it, that goes, too."""
    if _is_going(capsule, _NEW):
        _forget(_going_content(capsule, _NEW))


_FORGET, _DROP = _Deleter(_forget), _Deleter(_drop)  # as C calls them

"""Libraries for a range of sizes, called through C on poisoned memory, and held to ONNX Runtime.

The workspace is full of NaN before a call, inputs end where a page ends behind which nothing may be read, and outputs
are followed by bytes that must stay: so nothing that is not there may be seen, read or written.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tilewright
from tilewright.compiler.library.dimensions import at, c_arguments, sizes_of_call
from tilewright.dtypes import numpy_dtype

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-5  # of the largest value; sums in another order differ by a tenth of that
_MARGIN = 64


def call(
    compiled: tilewright.CompiledModel, inputs: Mapping[str, Array], values: Mapping[str, int]
) -> tuple[int, dict[str, Array], bool]:
    """What `NAME_run` returns and writes, and whether it wrote nothing else."""
    signature, page = compiled.signature, mmap.PAGESIZE
    outputs = [
        at(spec, signature.dimensions, {name: max(0, n) for name, n in values.items()}) for spec in signature.outputs
    ]
    results = [np.full(spec.nbytes + _MARGIN, 0xAB, np.uint8) for spec in outputs]
    workspace = np.full(signature.workspace_bytes + 64, 0xFF, np.uint8)
    start = -(-workspace.ctypes.data // 64) * 64
    pointers, pages = [], []
    for spec in signature.inputs:
        array = np.ascontiguousarray(inputs[spec.name])
        room = (-(-array.nbytes // page) + 1) * page
        pages.append(mmap.mmap(-1, room))
        end = ctypes.addressof(ctypes.c_char.from_buffer(pages[-1])) + room - page
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(end), page, 0) == 0
        pointers.append(end - array.nbytes)
        ctypes.memmove(pointers[-1], array.ctypes.data, array.nbytes)
    status = compiled.c_function(
        (ctypes.c_void_p * len(pointers))(*pointers),
        (ctypes.c_void_p * len(results))(*[each.ctypes.data for each in results]),
        ctypes.c_void_p(start),
        *c_arguments(compiled.signature, values),
    )
    kept = all((each[spec.nbytes :] == 0xAB).all() for spec, each in zip(outputs, results, strict=True))
    arrays = {
        spec.name: each[: spec.nbytes].view(numpy_dtype(spec.dtype)).reshape(spec.shape)
        for spec, each in zip(outputs, results, strict=True)
    }
    return status, arrays, kept


def assert_right(
    compiled: tilewright.CompiledModel,
    proto: onnx.ModelProto,
    inputs: Mapping[str, Array],
    tolerance: float = TOLERANCE,
) -> None:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    status, results, kept = call(compiled, inputs, sizes_of_call(compiled.signature, inputs))
    again = compiled.run(inputs)
    assert status == 0 and kept
    for output, reference in zip(session.get_outputs(), session.run(None, dict(inputs)), strict=True):
        assert results[output.name].shape == reference.shape
        assert np.array_equal(results[output.name], again[output.name])
        assert np.abs(results[output.name] - reference).max() <= tolerance * np.abs(reference).max()

"""Values that a caller gives for inputs, as the arrays that a library takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...dtypes import numpy_dtype
from ...errors import TensorError
from .dimensions import at, sizes_of_call
from .signature import Signature
from .tensor_spec import TensorSpec

Array = npt.NDArray[Any]


def checked(signature: Signature, inputs: Mapping[str, Any], where: str) -> tuple[list[Array], dict[str, int]]:
    """The inputs of a library as arrays in its order, and what the dimensions of the call are.

    Raises:
        TensorError: one is missing, unknown, or has another shape or dtype.
    """
    known = {spec.name for spec in signature.inputs}
    takes = "it takes: " + (", ".join(map(str, signature.inputs)) or "nothing")
    if not isinstance(inputs, Mapping):
        raise TensorError(f"inputs are given by name, not as {type(inputs).__name__}", where=where, hint=takes)
    for name in inputs:
        if name not in known:
            raise TensorError(f"the model has no input {name!r}", where=where, hint=takes)
    for spec in signature.inputs:
        if spec.name not in inputs:
            raise TensorError(f"input {spec.name!r} is missing", where=where, hint=takes)
    values = sizes_of_call(signature, inputs)
    sized = [at(spec, signature.dimensions, values) for spec in signature.inputs]
    return [as_array(inputs[spec.name], spec) for spec in sized], values


def as_array(value: Any, spec: TensorSpec) -> Array:
    """The value as a dense array of exactly the right shape and dtype.

    Raises:
        TensorError: it has another, or cannot be read as an array.
    """
    if not isinstance(value, np.ndarray) and hasattr(value, "__dlpack__"):
        try:
            value = np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:  # on a GPU, or needs its gradient
            raise TensorError(
                f"input {spec.name!r} cannot be read as an array: {error}",
                where=spec.name,
                hint="bring it to the CPU and detach it, or make it a numpy array",
            ) from error
    array = np.asarray(value)
    dtype = numpy_dtype(spec.dtype)
    if array.dtype != dtype:
        raise TensorError(
            f"input {spec.name!r} has dtype {array.dtype}, and the model takes {spec.dtype}",
            where=spec.name,
            hint=f"convert it: array.astype({spec.dtype!r})",
        )
    if array.shape != spec.shape:
        raise TensorError(
            f"input {spec.name!r} has shape {_shape(array.shape)}, and the model takes {_shape(spec.shape)}",
            where=spec.name,
            hint="the shape was fixed when the model was compiled; compile it with --shape for another",
        )
    # Memory of whole cache lines is not needed: kernels take tensors aligned as their C type.
    return np.require(array, requirements=("C", "A")).reshape(spec.shape)


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a scalar"

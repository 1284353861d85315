"""Values that a caller gives for inputs, as the arrays that a library takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ...dtypes import numpy_dtype
from ...errors import TensorError
from .dimensions import Values, at, sizes_of_call
from .dlpack import ON_CPU, Borrowed
from .signature import Signature
from .tensor_spec import TensorSpec

Array = npt.NDArray[Any]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def checked(
    signature: Signature,
    inputs: Mapping[str, Any],
    where: str,
    memory: Mapping[str, Array] = _NOTHING,
    held: Values = _NOTHING,
) -> tuple[list[Array], dict[str, int]]:
    """The inputs of a library as arrays in its order, and what the dimensions of the call are.

    A state is given as the model has it, and copied to memory with room for the most.

    Args:
        memory: of states that are there from calls before, by name.
        held: dimensions that these say.

    Raises:
        TensorError: one is missing, unknown, or has another shape or dtype.
    """
    check_names([spec for spec in signature.model_inputs if spec.name not in memory], inputs, where)
    values = sizes_of_call(signature, inputs, held)
    states = {state.before.name for state in signature.states}
    arrays = []
    for spec, room in zip(signature.model_inputs, signature.inputs, strict=True):
        if spec.name in memory:
            arrays.append(memory[spec.name])
            continue
        array = as_array(inputs[spec.name], at(spec, signature.dimensions, values))
        if spec.name in states:
            given, array = array, state_memory(room)
            part(array, given.shape)[...] = given
        arrays.append(array)
    return arrays, values


def check_names(specs: Sequence[TensorSpec], given: Mapping[str, Any], where: str, *, of: str = "input") -> None:
    """Whether tensors are given by the names of the model's: all inputs, or any outputs.

    Raises:
        TensorError: one is missing or unknown.
    """
    known = {spec.name for spec in specs}
    if not isinstance(given, Mapping):
        fault = f"{of}s are given by name, not as {type(given).__name__}"
    elif unknown := [name for name in given if name not in known]:
        fault = f"the model has no {of} {unknown[0]!r}"
    elif missing := [spec.name for spec in specs if spec.name not in given] if of == "input" else []:
        fault = f"input {missing[0]!r} is missing"
    else:
        return
    takes = f"its {of}s: " if of != "input" else "it takes: "
    raise TensorError(fault, where=where, hint=takes + (", ".join(map(str, specs)) or "nothing"))


def state_memory(spec: TensorSpec) -> Array:
    """Memory for a state: zeros, which a state of fixed size begins with."""
    return np.zeros(spec.shape, numpy_dtype(spec.dtype))


def part(memory: Array, shape: Sequence[int]) -> Array:
    """What there is of a state."""
    return memory[tuple(slice(0, extent) for extent in shape)]


def results_of(signature: Signature, outputs: Sequence[Array]) -> dict[str, Array]:
    """The outputs by name, each as large as it is."""
    arrays = {spec.name: array for spec, array in zip(signature.outputs, outputs, strict=True)}
    for spec in signature.results:
        if spec.extents:
            extents = [int(extent) for extent in arrays[spec.extents]]
            arrays[spec.name] = arrays[spec.name].reshape(-1)[: math.prod(extents)].reshape(extents)
    return {spec.name: arrays[spec.name] for spec in signature.results}


def states_after(signature: Signature, memory: Mapping[str, Array], values: Mapping[str, int]) -> dict[str, Array]:
    """What a call has left in states, by the names of the model's outputs: views of their memory.

    Args:
        memory: of states, by the names of the inputs that they are.
    """
    specs = [(state.before.name, at(state.after, signature.dimensions, values)) for state in signature.states]
    return {after.name: part(memory[name], after.shape) for name, after in specs}


def as_array(value: Any, spec: TensorSpec) -> Array:
    """The value as a dense array of exactly the right shape and dtype, in the memory of the machine.

    Raises:
        TensorError: it has another, or cannot be read as an array.
    """
    array = _array(value, spec)
    _check(spec, array)
    # Memory of whole cache lines is not needed: kernels take tensors aligned as their C type.
    if array.flags.carray:
        return array
    return np.require(array, requirements=("C", "A")).reshape(spec.shape)


def as_memory(value: Any, spec: TensorSpec) -> Array:
    """Memory that a result is written to: the value's own.

    Raises:
        TensorError: it has another shape or dtype, is not dense, or must not be written.
    """
    array = _array(value, spec)
    _check(spec, array)
    if not array.flags.carray:
        raise TensorError(
            f"output {spec.name!r} cannot be written where it is",
            where=spec.name,
            hint="give memory that is writable, and in which rows lie one behind the other: np.empty",
        )
    return array


def check_tensor(spec: TensorSpec, dtype: str, shape: Sequence[int]) -> None:
    """Whether a tensor is as the model has it.

    Raises:
        TensorError: it has another shape or dtype.
    """
    if dtype != spec.dtype and dtype != str(numpy_dtype(spec.dtype)):
        raise TensorError(
            f"{spec.name!r} has dtype {dtype}, and the model takes {spec.dtype}",
            where=spec.name,
            hint=f"convert it: array.astype({spec.dtype!r})",
        )
    if tuple(shape) != spec.shape:
        raise TensorError(
            f"{spec.name!r} has shape {_shape(shape)}, and the model takes {_shape(spec.shape)}",
            where=spec.name,
            hint="the shape was fixed when the model was compiled; compile it with --shape for another",
        )


def _check(spec: TensorSpec, array: Array) -> None:
    """As `check_tensor`, without a word where all is well: the name of a dtype takes as long as a small model."""
    if array.dtype != numpy_dtype(spec.dtype) or array.shape != spec.shape:
        check_tensor(spec, str(array.dtype), array.shape)


def _array(value: Any, spec: TensorSpec) -> Array:
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack__"):
        return np.asarray(value)
    try:
        borrowed = Borrowed(value)
        if borrowed.device[0] not in ON_CPU:
            raise BufferError("it is on a GPU")
        return borrowed.array()
    except (BufferError, RuntimeError, TypeError, ValueError) as error:  # or it needs its gradient
        raise TensorError(
            f"{spec.name!r} cannot be read as an array: {error}",
            where=spec.name,
            hint="bring it to the CPU and detach it, or make it a numpy array",
        ) from error


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a scalar"

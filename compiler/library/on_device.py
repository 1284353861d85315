"""Calls of a library for a GPU whose tensors are there: nothing is copied, and results stay there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import TensorError, UsageError
from .arrays import as_array, as_memory, check_names, check_tensor
from .device_tensor import DeviceTensor
from .dimensions import at, sizes_of_call
from .dlpack import ON_GPU, Borrowed, device_of
from .signature import Signature
from .tensor_spec import TensorSpec

_DEFAULT_STREAM = 1  # as DLPack numbers it
_HANDLES = ("cuda_stream", "ptr")  # what PyTorch and CuPy call a stream's number
_STREAMS = "give its number, a torch.cuda.Stream or a cupy.cuda.Stream"


@dataclass(frozen=True)
class DeviceCall:
    """A call that is ready.

    Attributes:
        device: the number of the GPU.
        sources, results: addresses of all inputs and outputs, in order.
        values: of its dimensions.
        outputs: all of them by name.
        memory: what has to stay until it is done.
    """

    device: int
    sources: tuple[int, ...]
    results: tuple[int, ...]
    values: dict[str, int]
    outputs: dict[str, Any]
    memory: tuple[object, ...]


def gpu_of(*groups: Mapping[str, Any]) -> int | None:
    """The number of the GPU that some tensors are on; None: they are all in the memory of the machine.

    Raises:
        TensorError: they are on several.
    """
    places = [device_of(each) for group in groups if isinstance(group, Mapping) for each in group.values()]
    devices = {place[1] for place in places if place is not None and place[0] in ON_GPU}
    if len(devices) > 1:
        raise TensorError(f"tensors are on several GPUs: {', '.join(map(str, sorted(devices)))}")
    return next(iter(devices), None)


def device_call(
    signature: Signature, where: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], device: int, stream: int
) -> DeviceCall:
    """Checks the tensors of a call, and makes those outputs that are not given.

    Args:
        inputs: in the memory of the GPU, or of the machine.
        outputs: memory for results, some of them or all.
        stream: that it will be launched into, which waits for what makes the tensors.

    Raises:
        TensorError: one is missing, unknown, not dense, or has another shape or dtype.
        DeviceError: there is no memory left.
    """
    check_names(signature.model_inputs, inputs, where)
    check_names(signature.outputs, outputs, where, of="output")
    values = sizes_of_call(signature, inputs)
    sources = [_memory(inputs[spec.name], at(spec, signature.dimensions, values), stream) for spec in signature.inputs]
    results = []
    named: dict[str, Any] = {}
    for spec in signature.outputs:
        needed = at(spec, signature.dimensions, values)
        if spec.name in outputs:
            named[spec.name] = outputs[spec.name]
            results.append(_memory(outputs[spec.name], needed, stream, written=True))
        else:
            named[spec.name] = DeviceTensor.empty(needed.shape, needed.dtype, device, stream)
            results.append((named[spec.name].address, named[spec.name]))
    addresses, memory = zip(*sources, *results, strict=True)
    return DeviceCall(
        device, addresses[: len(sources)], addresses[len(sources) :], values, named, (*memory, inputs, outputs)
    )


def results_on_device(signature: Signature, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of the model by name, each as large as it is; waits where that depends on data."""
    found = dict(outputs)
    for spec in signature.results:
        tensor, extents = found[spec.name], found.get(spec.extents)
        if isinstance(tensor, DeviceTensor) and isinstance(extents, DeviceTensor):
            found[spec.name] = tensor.part([int(extent) for extent in extents.numpy()])
    return {spec.name: found[spec.name] for spec in signature.results}


def handle_of(stream: Any) -> int:
    """A stream as the driver knows it: its number, or any library's object that has it.

    Raises:
        UsageError: it is none.
    """
    protocol = getattr(stream, "__cuda_stream__", None)
    found = protocol()[1] if protocol is not None else stream
    for name in _HANDLES:
        found = getattr(found, name, found)
    try:
        return int(found)
    except (TypeError, ValueError):
        raise UsageError(f"a {type(stream).__name__} is no stream of a GPU", where="stream", hint=_STREAMS) from None


def _memory(value: Any, spec: TensorSpec, stream: int, *, written: bool = False) -> tuple[int, object]:
    """The address of a tensor, and what keeps its memory."""
    place = device_of(value)
    if place is None or place[0] not in ON_GPU:
        array = as_memory(value, spec) if written else as_array(value, spec)
        return array.ctypes.data, array
    try:
        borrowed = Borrowed(value, stream or _DEFAULT_STREAM)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TensorError(f"{spec.name!r} does not give its memory: {error}", where=spec.name) from error
    check_tensor(spec, borrowed.dtype, borrowed.shape)
    if not borrowed.is_dense or (written and borrowed.read_only):
        raise TensorError(
            f"{spec.name!r} is not dense, or must not be written",
            where=spec.name,
            hint="tensors on a GPU are used where they are: give it as x.contiguous()",
        )
    return borrowed.address, borrowed

"""A captured graph with its weights inside, for one set of sizes.

PyTorch hands parameters and buffers over as inputs. A library holds them, packed, so they become constants of a module
that is exported; when one is changed or replaced, the graph is compiled again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ...frontends import OpenedModel

Array = npt.NDArray[Any]
_PARTS = re.compile(r"\['?(\w+)'?\]|\.(\w+)")
_SAMPLES = 16  # of the elements of a weight
_HOLDERS = frozenset(("_modules", "_parameters", "_buffers"))  # between a module and what it has


class Weight:
    """A tensor as it was, and whether it still is.

    PyTorch counts what is written to a tensor, but not through ``tensor.data`` or an array that shares its memory:
    there, a few elements tell, spread over all of it. A new value for a tensor has its memory elsewhere.
    """

    def __init__(self, tensor: Any) -> None:
        self._tensor, self._version, self._address = tensor, _version(tensor), tensor.data_ptr()
        self._some = _samples(tensor.detach())
        self._were = self._some()

    def still_is(self, tensor: Any) -> bool:
        """Whether a tensor is this one, with the elements that it had."""
        same = tensor is self._tensor and _version(tensor) == self._version and tensor.data_ptr() == self._address
        return same and self._some() == self._were


def _version(tensor: Any) -> int:
    """How often PyTorch saw that something was written; it does not count for tensors of inference alone."""
    return -1 if tensor.is_inference() else int(tensor._version)


def _samples(tensor: Any) -> Callable[[], bytes]:
    """What reads some elements of a tensor, spread over all of it, as they are then."""
    import torch

    dense = tensor.permute(sorted(range(tensor.ndim), key=lambda axis: -tensor.stride(axis)))
    count = tensor.numel()
    step = max((count - 1) // (_SAMPLES - 1), 1)
    if dense.is_contiguous() and not (tensor.is_conj() or tensor.is_neg()):
        some: Array = dense.reshape(-1, 1).view(torch.uint8).numpy()[::step]  # shares the tensor's memory
        return some.tobytes
    places = np.unravel_index(np.arange(0, count, step), tuple(tensor.shape))

    def read() -> bytes:
        found = tensor[tuple(torch.from_numpy(each) for each in places)].resolve_conj().resolve_neg()
        return bytes(found.reshape(-1, 1).view(torch.uint8).numpy().tobytes())

    return read


@dataclass(frozen=True)
class Frozen:
    """A graph for one set of sizes.

    Attributes:
        module: the graph with constants inside: an nn.Module of the tensors that are left.
        taken: places of those tensors among the graph's inputs.
        examples: the tensors of the first call.
        constants: the weights by their places, as they are in the module.
        returned: what the graph returned first, in order: tensors, and the numbers and None that never change.
        problem: why it is not for a library; empty when it is.
    """

    module: Any
    taken: tuple[int, ...]
    examples: tuple[Any, ...]
    constants: Mapping[int, Weight]
    returned: tuple[Any, ...] = ()
    problem: str = ""

    def open(self) -> OpenedModel:
        """The graph as ONNX.

        Raises:
            TilewrightError: it cannot be exported, or its export is wrong.
        """
        from ... import frontends

        return frontends.open(self.module, frontends.Request(self.examples))

    def still_holds(self, inputs: Sequence[Any]) -> bool:
        """Whether the weights are those that were frozen."""
        return all(weight.still_is(inputs[index]) for index, weight in self.constants.items())

    def arrays(self, inputs: Sequence[Any]) -> dict[str, Array]:
        """The library's inputs."""
        from ...frontends.pytorch.tensors import to_array

        return {f"in_{index}": to_array(inputs[index]) for index in self.taken}

    def outputs(self, results: Mapping[str, Array]) -> tuple[Any, ...]:
        """What the graph returns, from the library's outputs."""
        from ...frontends.pytorch.tensors import is_tensor, to_tensor

        arrays = iter(results.values())
        return tuple(to_tensor(next(arrays)) if is_tensor(each) else each for each in self.returned)


def constants_of(graph: Any) -> dict[int, str]:
    """The places of a captured graph's parameters and buffers among its inputs, with where the model has them."""
    found: dict[int, str] = {}
    for index, node in enumerate(graph.graph.find_nodes(op="placeholder")):
        source = getattr(node, "_dynamo_source", None)
        name = "" if source is None else str(source.name() if callable(source.name) else source.name)
        if "_parameters" in name or "_buffers" in name:
            found[index] = name
    return found


def freeze(graph: Any, inputs: Sequence[Any], constants: Mapping[int, str]) -> Frozen:
    """Puts the constants of a graph into it, and runs it once, on copies, to see what it returns."""
    import torch

    from ...frontends.pytorch.tensors import is_tensor

    kept = {index: Weight(inputs[index]) for index in constants}
    taken = tuple(index for index, each in enumerate(inputs) if index not in kept and is_tensor(each))
    examples = tuple(inputs[index].detach().clone() for index in taken)
    with torch.inference_mode(False), torch.no_grad():
        given = [each.detach().clone() if is_tensor(each) else each for each in inputs]
        versions = [each._version for each in given if is_tensor(each)]
        returned = tuple(graph(*given))
    problem = ""
    if [each._version for each in given if is_tensor(each)] != versions:
        problem = "it writes to its inputs"
    elif not any(is_tensor(each) for each in returned):
        problem = "it returns no tensor"
    module = _module(graph, inputs, constants)
    return Frozen(module, taken, examples, kept, returned, problem)


def _module(graph: Any, inputs: Sequence[Any], constants: Mapping[int, str]) -> Any:
    """The graph as a module: constants are its buffers, numbers stand in it, tensors are what it takes."""
    import torch

    holder = torch.nn.Module()
    for name, value in graph.named_buffers():
        _register(holder, name, value)
    for name, value in graph.named_parameters():
        _register(holder, name, value)
    for name, value in graph.named_children():
        if not hasattr(holder, name):
            holder.add_module(name, value)
    captured = torch.fx.Graph()
    values: dict[Any, Any] = {}
    for index, node in enumerate(graph.graph.find_nodes(op="placeholder")):
        if index in constants:
            path = _register(holder, _path(constants[index]), inputs[index])
            values[node] = captured.get_attr(path)
        elif isinstance(inputs[index], torch.Tensor):
            values[node] = captured.placeholder(f"in_{index}")
        else:
            values[node] = inputs[index]
    for node in graph.graph.nodes:
        if node.op != "placeholder":
            values[node] = captured.node_copy(node, lambda old: values[old])
    return torch.fx.GraphModule(holder, captured).eval()


def _path(source: str) -> str:
    """A path, from how PyTorch names a source: L['self']._modules['fc']._parameters['w'] is fc.w."""
    words = [first or second for first, second in _PARTS.findall(source)][1:]
    return ".".join(word for word in words if word not in _HOLDERS) or "constant"


def _register(holder: Any, path: str, value: Any) -> str:
    """Makes a tensor a buffer at a path in a tree of modules; returns the path, changed where it was taken."""
    import torch

    *parts, last = path.split(".")
    module = holder
    for part in parts:
        inner = getattr(module, part, None)
        if not isinstance(inner, torch.nn.Module):
            inner = torch.nn.Module()
            module.add_module(part, inner)
        module = inner
    while hasattr(module, last):
        last += "_"
    module.register_buffer(last, value.detach())
    return ".".join([*parts, last])

"""Dimensions that vary: which axes PyTorch's exporter is told to leave open, and what users call those that are."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import onnx

from ...errors import UsageError
from ...sizes import words_of
from .program import Program, scripted_inputs
from .tensors import is_tensor, map_with_path

_NO_LETTERS = re.compile(r"\W+")
Varying = Mapping[str, Mapping[int, str]]


def open_shapes(torch: Any, program: Program, varying: Varying) -> dict[str, Any] | None:
    """What `torch.export` takes as `dynamic_shapes`: the parameters of `forward`, and in them the axes that are open.

    Raises:
        UsageError: there are no such inputs or axes, or an example has one element along such an axis, or none.
    """
    if not varying:
        return None
    signature = inspect.signature(program.call.forward)
    given = dict(signature.bind(*program.args, **program.kwargs).arguments)
    several = [name for name, each in signature.parameters.items() if each.kind is inspect.Parameter.VAR_KEYWORD]
    names: list[str] = []

    def opened(path: str, leaf: Any) -> dict[int, Any] | None:
        if not is_tensor(leaf):
            return None
        words = re.findall(r"\w+", path)
        names.append("_".join(words[1:] if words[0] in several else words))
        axes = varying.get(names[-1], {})
        for axis, size in axes.items():
            _check_example(names[-1], tuple(leaf.shape), axis, size)
        return dict.fromkeys(axes, torch.export.Dim.DYNAMIC) or None

    shapes: dict[str, Any] = map_with_path(opened, given)
    _check_inputs(varying, names, program.where)
    return shapes


def open_axes(program: Program, varying: Varying) -> dict[str, dict[int, str]]:
    """What the exporter of TorchScript takes as `dynamic_axes`.

    Raises:
        UsageError: there are no such inputs.
    """
    _check_inputs(varying, scripted_inputs(program.model), program.where)
    return {name: {axis: _NO_LETTERS.sub("_", size) for axis, size in axes.items()} for name, axes in varying.items()}


def _check_inputs(varying: Varying, names: list[str], where: str) -> None:
    strange = [name for name in varying if name not in names]
    if strange:
        raise UsageError(
            f"the model has no input {strange[0]!r}", where=where, hint=f"its inputs are: {', '.join(names)}"
        )


def _check_example(name: str, shape: tuple[int, ...], axis: int, size: str) -> None:
    if axis >= len(shape):
        raise UsageError(
            f"the example of input {name!r} has {len(shape)} dimensions", where=f"--shape {name}", hint=f"it is {shape}"
        )
    if shape[axis] < 2:
        raise UsageError(
            f"dimension {axis} of the example of input {name!r} is {shape[axis]}, which PyTorch takes for the only one",
            where=f"--shape {name}",
            hint=f"that dimension varies, as {size}: give an example of 2 or more",
        )


def name_dimensions(model: onnx.ModelProto, program: Any) -> None:
    """Gives dimensions the names of the user's `torch.export.Dim`, in place, where an exported program has them.

    PyTorch calls them ``s77``, and forgets what they were called when it writes a program to a file.
    """
    names = _names_of_symbols(program)
    taken = {"".join(dim.dim_param.split()) for value in model.graph.input for dim in _dims(value)}
    names = {symbol: name for symbol, name in names.items() if name not in taken}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in _dims(value):
            if any(word in names for word in words_of(dim.dim_param)):
                dim.dim_param = re.sub(r"[^\W\d]\w*", lambda found: names.get(found[0], found[0]), dim.dim_param)


def _dims(value: onnx.ValueInfoProto) -> Any:
    return value.type.tensor_type.shape.dim


def _names_of_symbols(program: Any) -> dict[str, str]:
    """What users call the symbols of an exported program; PyTorch keeps it where it has nobody look."""
    found: dict[str, str] = {}
    for node in program.graph.nodes:
        value = node.meta.get("val") if node.op == "placeholder" else None
        environment = getattr(getattr(value, "fake_mode", None), "shape_env", None)
        names = getattr(environment, "source_name_to_debug_name", None) or {}
        for symbol, sources in (getattr(environment, "var_to_sources", None) or {}).items():
            called = [names[name] for name in map(_name_of_source, sources) if name in names]
            if called and called[0].isidentifier():
                found[str(symbol)] = called[0]
    return found


def _name_of_source(source: Any) -> str:
    name = getattr(source, "name", "")
    return str(name() if callable(name) else name)

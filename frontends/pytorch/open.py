"""PyTorch's model to ONNX: called once, exported by `torch.onnx.export(dynamo=True)`, its layers named, checked."""

from __future__ import annotations

import contextlib
import functools
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from ...errors import TilewrightError, UnsupportedError
from ..export_check import check_export
from ..graph_names import name_outputs, restore_inputs
from ..onnx import open_onnx
from ..opened import OpenedModel
from ..request import Request, framework
from .dimensions import Varying, name_dimensions, open_axes, open_shapes
from .names import name_layers
from .program import Program, program_of, scripted_inputs
from .quiet import quiet
from .tensors import Array, copied, is_tensor, leaves, output_names, to_array
from .translations import translations

_EXPORTER = "torch.onnx.export"
_REASON_LINES, _REASON_LETTERS = 4, 600
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class _Exported:
    """An ONNX model with the program of PyTorch's that it was translated from, if there is one."""

    model: onnx.ModelProto
    program: Any = None


def open_pytorch(source: Any, request: Request) -> OpenedModel:
    """Opens an nn.Module, an ExportedProgram, or a `.pt2` or TorchScript file.

    Inputs are named after the parameters of `forward`, containers flattened (`state_0`, `state_1`); outputs after the
    keys and places in what it returns. Only tensors are inputs; numbers and None are as in the example.

    Raises:
        ModelError: a file is missing or damaged; or the export computes something else, and its first node that does.
        UnsupportedError: PyTorch cannot export it.
        UsageError: there are no example inputs, or they do not fit.
        ToolError: PyTorch is not installed.
    """
    program = program_of(source, request)
    torch = framework("torch", "pytorch", "PyTorch models")
    with torch.no_grad(), _evaluating(program), quiet():
        returned = _called(program)
        with _tensors_alone(torch, program, returned) as exportable:
            exported = _exported(torch, exportable, request.varying)
    if not program.is_module:
        name_dimensions(exported.model, program.model)
    name_layers(exported.model)
    name_outputs(exported.model, output_names(returned))
    restore_inputs(exported.model)
    opened = replace(open_onnx(exported.model), name=program.name, where=program.where)
    tensors = [leaf for leaf in leaves((program.args, dict(program.kwargs))) if is_tensor(leaf)]
    inputs = _named([value.name for value in opened.proto.graph.input], tensors)
    outputs = [leaf for leaf in leaves(returned) if is_tensor(leaf)]
    expected = _named([value.name for value in opened.proto.graph.output], outputs)
    check_export(opened, inputs, expected, lambda: _inner(torch, exported.program, program), _EXPORTER)
    return replace(opened, examples=inputs)


def _called(program: Program) -> Any:
    """What the model returns for the example inputs."""
    try:
        return copied(program.call(*copied(program.args), **copied(dict(program.kwargs))))
    except Exception as error:  # the user's own code
        raise UnsupportedError(
            "the model fails on its example inputs",
            where=program.where,
            details=[_summary(error)],
            hint="call it in Python with the same inputs, and mend what that says",
        ) from error


def _exported(torch: Any, program: Program, varying: Varying) -> _Exported:
    """The model; of a module the axes that vary are open, of a program those that are."""
    shapes = open_shapes(torch, program, varying) if program.is_module and not program.scripted else None
    try:
        if program.scripted:
            return _Exported(_from_torchscript(torch, program, varying))
        # By an old convention a dictionary in the last place is the keyword arguments.
        args = program.args if program.kwargs else (*program.args, {})
        kwargs = dict(program.kwargs)
        made = torch.onnx.export(
            program.model,
            args,
            kwargs=kwargs,
            dynamo=True,
            verbose=False,
            optimize=True,
            custom_translation_table=translations(torch),
            dynamic_shapes=shapes,
        )
        return _Exported(made.model_proto, made.exported_program)
    except TilewrightError:
        raise
    except Exception as error:  # the exporter's own classes, and whatever happens inside of it
        raise UnsupportedError(
            "PyTorch cannot export the model to ONNX",
            where=program.where,
            details=[_summary(error)],
            hint="torch.export.export(model, args) shows where; control flow that depends on data has to be rewritten",
        ) from error


def _from_torchscript(torch: Any, program: Program, varying: Varying) -> onnx.ModelProto:
    """TorchScript, by the older exporter: the new one does not take it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        names = scripted_inputs(program.model)
        axes = open_axes(program, varying)
        torch.onnx.export(
            program.model, program.args, str(path), input_names=names, dynamo=False, dynamic_axes=axes or None
        )
        return onnx.load(path)


@contextlib.contextmanager
def _tensors_alone(torch: Any, program: Program, returned: Any) -> Iterator[Program]:
    """Lets the model return nothing but the tensors among what it returns, which is all that ONNX can."""
    if all(is_tensor(leaf) for leaf in leaves(returned)):
        yield program
        return
    module = program.call
    if not program.is_module:  # a graph, which calls itself without `forward`
        module = torch.nn.Module()
        module.program = program.call
    forward = program.call.forward

    @functools.wraps(forward)  # whose parameters name the inputs
    def tensors(*args: Any, **kwargs: Any) -> Any:
        return tuple(leaf for leaf in leaves(forward(*args, **kwargs)) if is_tensor(leaf))

    module.forward = tensors
    try:
        yield replace(program, model=module)
    finally:
        del module.forward


def _named(names: list[str], tensors: list[Any]) -> dict[str, Array]:
    return {name: to_array(tensor) for name, tensor in zip(names, tensors, strict=True)}


def _inner(torch: Any, exported: Any, program: Program) -> Mapping[str, Array]:
    """Every tensor inside the exported program on the example inputs, by the name it has in PyTorch's graph."""
    if exported is None:
        return {}
    values: dict[str, Array] = {}

    class Recorder(torch.fx.Interpreter):  # type: ignore[misc]  # torch has no types here
        def run_node(self, node: Any) -> Any:
            result = super().run_node(node)
            if is_tensor(result) and node.op == "call_function":
                values[node.name] = to_array(result)
            return result

    given = leaves((copied(program.args), copied(dict(program.kwargs))))
    with torch.no_grad():
        Recorder(exported.module()).run(*given, enable_io_processing=False)
    return values


@contextlib.contextmanager
def _evaluating(program: Program) -> Iterator[None]:
    """Puts a module into evaluation mode, in which models are deployed, and back after; a program has no modes."""
    modes = [(each, each.training) for each in program.model.modules()] if program.is_module else []
    try:
        if any(training for _, training in modes):
            program.model.eval()
        yield
    finally:
        for each, training in modes:
            each.training = training


def _summary(error: BaseException) -> str:
    """The innermost reason that an exception of the exporter's gives: its first lines, one after the other."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in _ESCAPES.sub("", str(cause)).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {' '.join(lines[:_REASON_LINES])[:_REASON_LETTERS]}"

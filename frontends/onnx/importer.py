"""Walks an ONNX graph in order and builds the Relax function: one dataflow block, one or a few bindings a node.

Every value in flight is an array (known at compile time) or a Relax variable with a static shape. Because shapes are
known at each step, shape computations (Shape, Gather, Concat ... Reshape) are arrays all the way and leave no binding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import tvm
from tvm import relax

from ...dtypes import numpy_dtype
from ...errors import CompilerError, ModelError, TilewrightError, UnsupportedError
from ..imported import ImportedModel
from .bodies import Bodies
from .border import Border
from .carriers import layer_names, tensor_carriers
from .constant_operators import compute_constants
from .emitter import Emitter
from .function_bodies import default_attributes, function_body
from .in_flight import Narrow, Ragged
from .input_shapes import real_inputs
from .limits import DEEPEST_NESTING
from .liveness import live_nodes
from .narrow import moved
from .node import Node, Result, Value, dtype_of, node_name
from .node_graphs import NodeGraphs
from .ragged import passed_on
from .refusals import Refusals
from .registry import find_converter
from .scope import Missing, Scope
from .sequences import NO_TENSORS, Nothing, SequenceValue
from .type_constraints import check_types

_MOST_DEFINITIONS = 16  # ONNX's definitions of operators in definitions; they need three


def import_graph(
    model: ir.Model, name: str, where: str, *, sizes_vary: bool = False, loops: bool = False
) -> ImportedModel:
    """Builds the Relax module of a model with static input shapes; see `load` for `sizes_vary` and `loops`.

    Raises:
        UnsupportedOperatorError: nodes have no converter; all are listed.
        UnsupportedError: a node uses an operator in a way that has no conversion.
        ModelError: a node does not fit its inputs.
    """
    builder = relax.BlockBuilder()
    importer = _Importer(model, where, keeps_loops=loops)
    scope = Scope(
        {domain or "": version for domain, version in model.opset_imports.items()},
        Emitter(builder, sizes_vary=sizes_vary),
    )
    outputs = list(dict.fromkeys(model.graph.outputs))  # a name that is listed twice is one output
    border = Border({str(value.name) for value in outputs})
    for value in real_inputs(model):
        scope.values[value] = border.take(value, where)
    failure: BaseException | None = None
    with builder.function("main", border.parameters):
        with builder.dataflow():
            try:
                importer.walk(model.graph, outputs, scope)
                importer.refusals.report()
                for value in outputs:
                    importer.check_output(value, scope)
                    border.give(value, importer.value_of(value, scope), scope.emitter)
            except BaseException as error:
                # Kept until the function is closed: TVM prints a warning for a builder that is left half-way.
                failure = error
                border.results.clear()
            result = builder.emit_output(relax.Tuple(border.results))
        builder.emit_func_output(result)
    if failure is not None:
        raise failure
    module = importer.bodies.with_main(relax.transform.DeadCodeElimination(["main"])(builder.get()))
    _check_well_formed(module, where)
    return ImportedModel(
        module=module,
        name=name,
        input_names=tuple(str(value.name) for value in real_inputs(model)),
        output_names=tuple(border.outputs),
        dtypes=border.dtypes,
        extents=border.extents,
        tensors=tensor_carriers(model.graph),
        layers=layer_names(model.graph),
        graphs={label: frozenset(names) for label, names in importer.bodies.converted.items()},
    )


def _check_well_formed(module: tvm.IRModule, where: str) -> None:
    try:
        relax.analysis.well_formed(module)
    except Exception as error:  # TVM raises several classes for the same kind of fault
        details = [line.strip() for line in str(error).splitlines() if line.strip()][-3:]
        raise CompilerError("the imported module is not well-formed", where=where, details=details) from error


class _Importer:
    """One import in progress."""

    def __init__(self, model: ir.Model, where: str, *, keeps_loops: bool) -> None:
        self.keeps_loops = keeps_loops
        self.refusals = Refusals(where)
        self.bodies = Bodies()
        self.inputs: Collection[ir.Value] = frozenset(real_inputs(model))
        self._functions = model.functions
        self._where = where

    def walk(self, graph: Iterable[ir.Node], outputs: Sequence[ir.Value], scope: Scope) -> None:
        """Converts the nodes that a graph's outputs depend on, in order, and records their outputs in the scope."""
        if scope.depth > DEEPEST_NESTING:
            raise UnsupportedError(f"graphs are nested more than {DEEPEST_NESTING} deep", where=self._where)
        for node in live_nodes(graph, outputs):
            inputs = [None if value is None else self.value_of(value, scope) for value in node.inputs]
            results = self._convert(node, inputs, _resolve_attributes(node, scope.attributes), scope)
            for index, output in enumerate(node.outputs):
                if output.name:
                    scope.values[output] = results[index] if index < len(results) else Missing()

    def value_of(self, value: ir.Value, scope: Scope) -> Value | Missing:
        """The meaning of a name: computed before, a weight, or captured from an outer graph."""
        if value in scope.values:
            return scope.values[value]
        if value.const_value is not None:
            try:
                array = np.asarray(value.const_value.numpy())
            except Exception as error:
                raise ModelError(f"the weight '{value.name}' cannot be read: {error}", where=self._where) from error
            scope.values[value] = array
            return array
        if scope.outer is not None:
            scope.values[value] = scope.capture(self.value_of(value, scope.outer))
            return scope.values[value]
        raise ModelError(f"the value '{value.name}' is used but never computed", where=self._where)

    def check_output(self, value: ir.Value, scope: Scope) -> None:
        """Refuses an output that is not of the dtype that the model declares."""
        computed = self.value_of(value, scope)
        if isinstance(computed, NO_TENSORS):
            raise UnsupportedError("only tensors can be outputs", where=f"{self._where}: output '{value.name}'")
        dtype = str(computed.dtype) if isinstance(computed, np.ndarray | Narrow | Ragged) else dtype_of(computed)
        if value.dtype is not None and value.dtype != ir.DataType.UNDEFINED and str(value.dtype.numpy()) != dtype:
            raise ModelError(
                f"the output is computed as {dtype}, and the model declares {value.dtype.name}",
                where=f"{self._where}: output '{value.name}'",
            )

    def _convert(
        self, source: ir.Node, inputs: Sequence[Value | Missing | None], attributes: dict[str, ir.Attr], scope: Scope
    ) -> Sequence[Value | Missing]:
        """The values of a node's outputs."""
        domain = "" if source.domain == "ai.onnx" else source.domain
        function = self._functions.get(source.op_identifier())
        if function is not None:
            return self._call(source, function, inputs, attributes, scope)
        opset = source.version or scope.opsets.get(domain, scope.opsets.get("ai.onnx", 1))
        converter = find_converter(domain, source.op_type, opset)
        name, defines = scope.defines or (scope.prefix + node_name(source), None)
        node = Node(
            source,
            name=name,
            opset=opset,
            attributes=attributes,
            inputs=inputs,
            emitter=scope.emitter,
            defines=defines,
        )
        node.graphs = NodeGraphs(self, node, scope)
        missing = [Missing()] * len(source.outputs)
        if any(isinstance(value, Missing) for value in inputs):
            if converter is None and not _expandable(source, domain, opset):
                self.refusals.no_converter(node)
            return missing
        try:
            passed = passed_on(node, converter)
            if passed is not None:
                return passed
            if defines is None:
                check_types(node, domain)
            result: Result | None = compute_constants(node)
            if result is None:
                if converter is None:
                    return self._expand(node, scope)
                result = moved(node, converter)
                result = converter(node) if result is None else result
            results = [
                _settle(value, name, scope.emitter)
                for value in (result if isinstance(result, list | tuple) else [result])
            ]
        except UnsupportedError as error:
            self.refusals.add(error, node)
            return missing
        except TilewrightError as error:
            if error.where is None or error.where == node.label:
                error.where = f"{self._where}: {node.label}"
            raise
        except Exception as error:  # TVM refuses shapes and dtypes that do not fit with errors of many classes
            raise ModelError(
                "the node does not fit its inputs", where=f"{self._where}: {node.label}", details=_reasons(node, error)
            ) from error
        if any(node.wants(index) for index in range(len(results), len(source.outputs))):
            self.refusals.add(node.unsupported(f"only the first {len(results)} outputs are supported"), node)
            return missing
        return results

    def _call(
        self,
        source: ir.Node,
        function: ir.Function,
        inputs: Sequence[Value | Missing | None],
        attributes: dict[str, ir.Attr],
        scope: Scope,
    ) -> Sequence[Value | Missing]:
        """A call of a function of the model: its body, with its own opsets, in place of the call."""
        name = scope.prefix + node_name(source)
        if len(inputs) > len(function.inputs) or len(source.outputs) > len(function.outputs):
            raise ModelError(
                f"the function takes {len(function.inputs)} inputs and gives {len(function.outputs)} outputs, "
                f"its call has {len(inputs)} and {len(source.outputs)}",
                where=f"{self._where}: node '{name}' ({source.op_type})",
            )
        defaults = {key: value for key, value in function.attributes.items() if value.value is not None}
        inner = Scope(
            {**scope.opsets, **function.opset_imports},
            scope.emitter,
            attributes={**defaults, **attributes},
            prefix=f"{name}/",
            depth=scope.depth + 1,
        )
        inner.values.update(zip(function.inputs, [*inputs, *[None] * len(function.inputs)], strict=False))
        wanted = [given for given, read in zip(function.outputs, source.outputs, strict=False) if read.name]
        self.walk(function, wanted, inner)
        return [
            self.value_of(given, inner) if read.name else Missing()
            for given, read in zip(function.outputs, source.outputs, strict=False)
        ]

    def _expand(self, node: Node, scope: Scope) -> Sequence[Value | Missing]:
        """A node without a converter: the function that ONNX defines it by, or a line in the report."""
        source, opset = node.source, node.opset
        body = None
        if scope.definitions < _MOST_DEFINITIONS:
            body = function_body(source, node.inputs, node.attributes, opset)
        if body is None:
            self.refusals.no_converter(node)
            return [Missing()] * len(source.outputs)
        function = body.function
        inner = Scope(
            {**scope.opsets, **function.opset_imports},
            scope.emitter,
            attributes={**default_attributes(source.op_type, source.domain, opset), **node.attributes},
            defines=scope.defines or (node.name, node.op_type),
            definitions=scope.definitions + 1,
            depth=scope.depth + 1,
        )
        if len(node.inputs) > len(function.inputs):
            raise node.invalid(f"it has {len(node.inputs)} inputs, {len(function.inputs)} are defined")
        inner.values.update(zip(function.inputs, [*node.inputs, *[None] * len(function.inputs)], strict=False))
        wanted = {
            index: value for index, value in zip(body.outputs, function.outputs, strict=True) if node.wants(index)
        }
        self.walk(function, list(wanted.values()), inner)
        results = {index: self.value_of(value, inner) for index, value in wanted.items()}
        return [results.get(index, Missing()) for index in range(len(source.outputs))]


def _settle(value: Value | Missing, name: str, emitter: Emitter) -> Value | Missing:
    """A converter's result as a variable or an array."""
    if value is None or isinstance(value, np.ndarray | Narrow | Ragged | Missing | SequenceValue | Nothing):
        return value
    settled = emitter.emit(value, name)
    known = emitter.array(settled)
    if known is not None:
        return known
    shape = [int(dim) for dim in settled.ty.shape]
    return np.zeros(shape, numpy_dtype(str(settled.ty.dtype))) if 0 in shape else settled


def _resolve_attributes(node: ir.Node, outer: Mapping[str, ir.Attr] | None) -> dict[str, ir.Attr]:
    """A node's attributes; those that refer to a function's parameters get the caller's values, or are left out."""
    resolved = {}
    for name, attribute in node.attributes.items():
        if not attribute.is_ref():
            resolved[name] = attribute
        elif outer and (reference := attribute.ref_attr_name or "") in outer:
            given = outer[reference]
            resolved[name] = ir.Attr(name, given.type, given.value)
    return resolved


def _expandable(node: ir.Node, domain: str, opset: int) -> bool:
    if not onnx.defs.has(node.op_type, domain):
        return False
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, opset, domain)  # its stub lacks functions
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def _reasons(node: Node, error: Exception) -> list[str]:
    """What TVM or numpy said, in one line, and what the node was given."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    given = [f"{node.dtype(index)}{list(node.shape(index))}" for index in range(len(node.inputs)) if node.has(index)]
    return [f"{type(error).__name__}: {lines[-1][:300] if lines else ''}", f"its inputs are: {', '.join(given)}"]

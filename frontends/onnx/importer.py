"""Walks an ONNX graph in order and builds the Relax function: one dataflow block, one or a few bindings a node.

Every value in flight is an array (known at compile time) or a Relax variable with a static shape. Because shapes are
known at each step, shape computations (Shape, Gather, Concat ... Reshape) are arrays all the way and leave no binding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import tvm
from tvm import relax

from ...errors import CompilerError, ModelError, TilewrightError, UnsupportedError, UnsupportedOperatorError
from ..imported import ImportedModel
from .alternatives import describe_unsupported
from .dtypes import relax_dtype
from .folding import fold
from .function_bodies import default_attributes, function_body
from .input_shapes import real_inputs
from .node import Emitter, Node, Value, node_name
from .registry import find_converter

_MAX_NESTING = 16  # functions in functions; ONNX's own need three


@dataclass(frozen=True)
class _Missing:
    """Stands for an output of a node that has no converter, so that the walk can go on and find the others."""


@dataclass
class _Scope:
    """What names mean while a graph or a function's body is walked."""

    opsets: Mapping[str, int]
    values: dict[ir.Value, Value | _Missing] = field(default_factory=dict)
    attributes: Mapping[str, ir.Attr] | None = None  # of the call, inside a function's body
    caller: str | None = None  # the name of the node whose definition is being walked
    depth: int = 0


def import_graph(model: ir.Model, name: str, where: str) -> ImportedModel:
    """Builds the Relax module of a normalised model with static input shapes.

    Raises:
        UnsupportedOperatorError: nodes have no converter; all are listed.
        UnsupportedError: a node uses an operator in a way that has no conversion.
        ModelError: a node does not fit its inputs.
    """
    builder = relax.BlockBuilder()
    importer = _Importer(Emitter(builder), where)
    scope = _Scope({domain or "": version for domain, version in model.opset_imports.items()})
    parameters = []
    for value in real_inputs(model):
        if not isinstance(value.type, ir.TensorType | None) or value.dtype is None or value.shape is None:
            raise UnsupportedError("only tensors can be inputs", where=f"{where}: input '{value.name}'")
        shape = [int(str(dim)) for dim in value.shape]
        variable = relax.Var(
            str(value.name), relax.TensorType(shape, relax_dtype(value.dtype, f"input '{value.name}'"))
        )
        parameters.append(variable)
        # A tensor without elements holds nothing to wait for: it is as good as a constant.
        scope.values[value] = np.zeros(shape, value.dtype.numpy()) if 0 in shape else variable
    outputs = list(model.graph.outputs)
    failure: BaseException | None = None
    with builder.function("main", parameters):
        with builder.dataflow():
            try:
                importer.walk(model.graph, scope)
                importer.report_unsupported()
                results = [importer.as_expr(importer.value_of(value, scope)) for value in outputs]
            except BaseException as error:
                # Kept until the function is closed: TVM prints a warning for a builder that is left half-way.
                failure, results = error, []
            result = builder.emit_output(relax.Tuple(results))
        builder.emit_func_output(result)
    if failure is not None:
        raise failure
    module = relax.transform.DeadCodeElimination(["main"])(builder.get())
    _check_well_formed(module, where)
    return ImportedModel(
        module=module,
        name=name,
        input_names=tuple(str(value.name) for value in real_inputs(model)),
        output_names=tuple(str(value.name) for value in outputs),
    )


def _check_well_formed(module: tvm.IRModule, where: str) -> None:
    try:
        relax.analysis.well_formed(module)
    except Exception as error:  # TVM raises several classes for the same kind of fault
        details = [line.strip() for line in str(error).splitlines() if line.strip()][-3:]
        raise CompilerError("the imported module is not well-formed", where=where, details=details) from error


class _Importer:
    """One import in progress."""

    def __init__(self, emitter: Emitter, where: str) -> None:
        self._emitter = emitter
        self._where = where
        self._unsupported: dict[str, tuple[str, str]] = {}
        self._refused: dict[str, UnsupportedError] = {}

    def walk(self, nodes: Iterable[ir.Node], scope: _Scope) -> None:
        """Converts nodes in order and records their outputs in the scope."""
        for node in nodes:
            inputs = [None if value is None else self.value_of(value, scope) for value in node.inputs]
            attributes = _resolve_attributes(node, scope.attributes)
            results = self._convert(node, inputs, attributes, scope)
            for index, output in enumerate(node.outputs):
                if output.name:
                    scope.values[output] = results[index]

    def report_unsupported(self) -> None:
        """Raises one error that lists every node met so far that has no converter, or whose converter refused it."""
        if not self._unsupported:
            if self._refused:
                raise next(iter(self._refused.values()))
            return
        details, hint = describe_unsupported(self._unsupported)
        details += [f"{error.where}: {error.what}" for error in self._refused.values()]
        count = len(details)
        raise UnsupportedOperatorError(
            f"the model has {count} node{'s' if count > 1 else ''} with operators that are not supported",
            where=self._where,
            details=details,
            hint=hint,
        )

    def value_of(self, value: ir.Value, scope: _Scope) -> Value | _Missing:
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
        raise ModelError(f"the value '{value.name}' is used but never computed", where=self._where)

    def as_expr(self, value: Value) -> relax.Expr:
        """A value as a Relax expression."""
        return self._emitter.constant(value) if isinstance(value, np.ndarray) else value

    def _convert(
        self, source: ir.Node, inputs: Sequence[Value | _Missing | None], attributes: dict[str, ir.Attr], scope: _Scope
    ) -> Sequence[Value | _Missing]:
        domain = "" if source.domain == "ai.onnx" else source.domain
        opset = source.version or scope.opsets.get(domain, scope.opsets.get("ai.onnx", 1))
        name = scope.caller or node_name(source)
        missing = [_Missing()] * len(source.outputs)
        converter = find_converter(domain, source.op_type, opset)
        if any(isinstance(value, _Missing) for value in inputs):
            if converter is None and not _expandable(source, domain, opset):
                self._unsupported.setdefault(name, (source.domain, source.op_type))
            return missing
        folded = fold(source, inputs, attributes, opset)
        if folded is not None:
            return folded
        if domain == "" and source.op_type == "If":
            return self._take_branch(source, inputs, attributes, scope, name)
        if converter is None:
            return self._expand(source, inputs, attributes, opset, scope, name)
        node = Node(source, name=name, opset=opset, attributes=attributes, inputs=inputs, emitter=self._emitter)
        try:
            result = converter(node)
            results = list(result) if isinstance(result, list | tuple) else [result]
            results = [self._settle(value, name) for value in results]
        except UnsupportedError as error:
            self._refused.setdefault(name, error)
            return missing
        except TilewrightError:
            raise
        except Exception as error:  # TVM refuses shapes and dtypes that do not fit with errors of many classes
            raise ModelError(
                "the node does not fit its inputs", where=f"{self._where}: {node.label}", details=_reasons(node, error)
            ) from error
        if len(results) < sum(1 for index in range(len(source.outputs)) if node.wants(index)):
            self._refused.setdefault(name, node.unsupported(f"only the first {len(results)} outputs are supported"))
            return missing
        return [*results, *missing][: max(len(source.outputs), 1)]

    def _settle(self, value: Value, name: str) -> Value:
        """A converter's result as a variable or an array."""
        if value is None or isinstance(value, np.ndarray):
            return value
        settled = self._emitter.emit(value, name)
        shape = [int(dim) for dim in settled.ty.shape]
        return np.zeros(shape, str(settled.ty.dtype)) if 0 in shape else settled

    def _take_branch(
        self,
        source: ir.Node,
        inputs: Sequence[Value | None],
        attributes: Mapping[str, ir.Attr],
        scope: _Scope,
        name: str,
    ) -> Sequence[Value | _Missing]:
        """An If whose condition is known: one branch, in place."""
        if not isinstance(inputs[0], np.ndarray):
            self._unsupported.setdefault(name, (source.domain, source.op_type))
            return [_Missing()] * len(source.outputs)
        graph = attributes["then_branch" if bool(inputs[0].item()) else "else_branch"].as_graph()
        self.walk(graph, scope)
        return [self.value_of(value, scope) for value in graph.outputs]

    def _expand(
        self,
        source: ir.Node,
        inputs: Sequence[Value | None],
        attributes: dict[str, ir.Attr],
        opset: int,
        scope: _Scope,
        name: str,
    ) -> Sequence[Value | _Missing]:
        """A node without a converter: the function that ONNX defines it by, or a line in the report."""
        body = function_body(source, inputs, attributes, opset) if scope.depth < _MAX_NESTING else None
        if body is None:
            self._unsupported.setdefault(name, (source.domain, source.op_type))
            return [_Missing()] * len(source.outputs)
        function = body.function
        inner = _Scope(
            {**scope.opsets, **function.opset_imports},
            attributes={**default_attributes(source.op_type, source.domain, opset), **attributes},
            caller=name,
            depth=scope.depth + 1,
        )
        padded = [*inputs, *([None] * (len(function.inputs) - len(inputs)))]
        inner.values.update(zip(function.inputs, padded, strict=True))
        self.walk(function, inner)
        computed = zip(body.outputs, function.outputs, strict=True)
        results = {index: self.value_of(value, inner) for index, value in computed}
        return [results.get(index, _Missing()) for index in range(len(source.outputs))]


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

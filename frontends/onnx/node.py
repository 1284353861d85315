"""What a converter sees of one ONNX node: its attributes, its inputs as Relax or constants, and ways to emit Relax."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
from tvm import relax

from ...errors import ModelError, UnsupportedError
from ...ir_passes.core.sources import escape
from ...ir_types import PrimFunc
from .dtypes import numpy_dtype, relax_dtype
from .emitter import Array as Array
from .emitter import Emitter
from .emitter import Expr as Expr
from .in_flight import Narrow
from .inner_graphs import Graphs
from .inner_graphs import Value as Value
from .sequences import NO_TENSORS, SequenceValue

Result: TypeAlias = Value | Sequence[Value]

_LONGEST_REASON = 400  # characters: what is wrong may be an attribute of thousands of numbers


def shape_of(expr: Expr) -> tuple[int, ...]:
    """The static shape of a Relax tensor."""
    return tuple(int(dim) for dim in expr.ty.shape)


def dtype_of(expr: Expr) -> str:
    """The dtype of a Relax tensor, as numpy spells it."""
    return str(expr.ty.dtype)


class Node:
    """One node to convert.

    Args:
        source: the node in onnx-ir's form.
        name: its name in messages and in the bindings made for it.
        opset: the version of the operator set of its domain.
        attributes: its attributes, references to a function's parameters already resolved.
        inputs: its inputs: arrays if constant, Relax variables if not, None if left out.
        emitter: where bindings go.
        defines: the operator that has the name, where this node is part of that one's ONNX definition.
    """

    def __init__(
        self,
        source: ir.Node,
        *,
        name: str,
        opset: int,
        attributes: Mapping[str, ir.Attr],
        inputs: Sequence[Value | None],
        emitter: Emitter,
        defines: str | None = None,
    ) -> None:
        self.source = source
        self.name = name
        self.op_type = source.op_type
        self.opset = opset
        self.attributes = attributes
        self.inputs = tuple(inputs)
        self.defines = defines
        self.graphs: Graphs | None = None  # set by the importer: those among the attributes
        self._emitter = emitter

    def with_inputs(self, inputs: Sequence[Value | None], **defaults: float) -> Node:
        """The same node with other inputs, and perhaps other values of attributes that are not given."""
        other = copy(self)
        other.inputs = tuple(inputs)
        given = {name: ir.Attr(name, ir.AttributeType.FLOAT, value) for name, value in defaults.items()}
        other.attributes = {**given, **self.attributes}
        return other

    # Attributes

    def attr_int(self, name: str, default: int) -> int:
        """An INT attribute."""
        return self.attributes[name].as_int() if name in self.attributes else default

    def attr_flag(self, name: str, default: bool) -> bool:
        """An INT attribute that is 0 or 1.

        Raises:
            ModelError: it is another number, which ONNX gives no meaning.
        """
        value = self.attr_int(name, default)
        if value not in (0, 1):
            raise self.invalid(f"{name} is {value}; it is 0 or 1")
        return bool(value)

    def attr_dtype(self, name: str) -> ir.DataType | None:
        """An INT attribute that names a dtype; 0 names none.

        Raises:
            ModelError: it names none of ONNX's.
        """
        value = self.attr_int(name, 0)
        if value not in list(ir.DataType):
            raise self.invalid(f"{name} is {value}, which is no dtype of ONNX")
        return ir.DataType(value) if value else None

    def attr_relax_dtype(self, name: str, default: str) -> str:
        """The Relax name of a dtype that an attribute names.

        Raises:
            UnsupportedError: kernels do not compute with it.
        """
        dtype = self.attr_dtype(name)
        return default if dtype is None else relax_dtype(dtype, self.label)

    def attr_float(self, name: str, default: float) -> float:
        """A FLOAT attribute."""
        return self.attributes[name].as_float() if name in self.attributes else default

    def attr_str(self, name: str, default: str) -> str:
        """A STRING attribute."""
        return self.attributes[name].as_string() if name in self.attributes else default

    def attr_ints(self, name: str) -> tuple[int, ...] | None:
        """An INTS attribute, or None if absent."""
        return tuple(self.attributes[name].as_ints()) if name in self.attributes else None

    def attr_floats(self, name: str) -> tuple[float, ...] | None:
        """A FLOATS attribute, or None if absent."""
        return tuple(self.attributes[name].as_floats()) if name in self.attributes else None

    def attr_tensor(self, name: str) -> Array | None:
        """A TENSOR attribute as an array, or None if absent."""
        return self.attributes[name].as_tensor().numpy() if name in self.attributes else None

    # Inputs

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def expr(self, index: int) -> Expr:
        """An input as a Relax expression.

        Raises:
            ModelError: the node lacks this input.
        """
        value = self._required(index)
        if isinstance(value, Narrow):
            raise self.unsupported(f"kernels do not compute with {value.dtype}", "convert it first (Cast)")
        return self._emitter.stand_in(value) if isinstance(value, np.ndarray) else value

    def sequence(self, index: int) -> SequenceValue:
        """An input that is a sequence.

        Raises:
            ModelError: it is none.
        """
        value = self.inputs[index] if self.has(index) else None
        if not isinstance(value, SequenceValue):
            raise self.invalid(f"input {index} is no sequence")
        return value

    def exprs(self) -> list[Expr]:
        """All inputs as Relax expressions."""
        return [self.expr(index) for index in range(len(self.inputs))]

    def constant(self, index: int) -> Array | None:
        """An input's value if it is known at compile time, else None. A left-out input is None too."""
        value = self.inputs[index] if self.has(index) else None
        return value if isinstance(value, np.ndarray) else None

    def known(self, index: int) -> Array | None:
        """As `constant`; and what depends on constants alone is computed, even if that takes a kernel."""
        value = self.inputs[index] if self.has(index) else None
        if value is None or isinstance(value, np.ndarray):
            return value
        return self._emitter.compute(value) if isinstance(value, relax.Expr) else None

    def computed_of_counts(self, index: int) -> Array | None:
        """An input's value, if it is computed of numbers that the model counts (see `counted`)."""
        value = self.inputs[index] if self.has(index) else None
        return self._emitter.computed_of_counts(value) if isinstance(value, relax.Expr) else None

    def static(self, index: int, what: str) -> Array:
        """An input's value that the compiled program cannot do without.

        Args:
            index: which input.
            what: what it means, for the message: "the shape", "the axes".

        Raises:
            UnsupportedError: it is only known when the model runs.
        """
        self._required(index)
        value = self.known(index)
        if value is None:
            raise self.unsupported(
                f"{what} (input {index}) must be known at compile time",
                hint="if it comes from an input of the model, fix that input's value with --bind NAME=@value.npy",
            )
        return value

    def static_ints(self, index: int, what: str) -> list[int]:
        """A small integer input (scalar or 1-D) known at compile time, as a list.

        Raises:
            ModelError: it is no list of integers.
            UnsupportedError: it is only known when the model runs.
        """
        values = self.static(index, what)
        if values.dtype.kind not in "iu" or values.ndim > 1:
            raise self.invalid(f"{what} (input {index}) must be integers, not {values.dtype}{list(values.shape)}")
        return [int(each) for each in np.atleast_1d(values)]

    def shape(self, index: int) -> tuple[int, ...]:
        """An input's static shape."""
        value = self._required(index)
        value = value.codes if isinstance(value, Narrow) else value
        return tuple(value.shape) if isinstance(value, np.ndarray) else shape_of(value)

    def dtype(self, index: int) -> str:
        """An input's dtype, as numpy spells it."""
        value = self._required(index)
        return str(value.dtype) if isinstance(value, np.ndarray | Narrow) else dtype_of(value)

    def axis(self, value: int, rank: int) -> int:
        """A non-negative axis.

        Raises:
            ModelError: the axis is outside the tensor's rank.
        """
        if not -rank <= value < max(rank, 1):
            raise ModelError(f"axis {value} is outside a tensor of rank {rank}", where=self.label)
        return value % rank if rank else 0

    # Outputs

    def wants(self, index: int) -> bool:
        """Whether anything reads an output: optional outputs are often left out."""
        output = self.source.outputs[index] if index < len(self.source.outputs) else None
        return output is not None and bool(output.name) and bool(output.uses() or output.is_graph_output())

    def emit(self, expr: Expr) -> Expr:
        """Binds an expression (nested calls too) to variables named after the node; arrays become variables too."""
        if isinstance(expr, np.ndarray | np.generic):  # numpy makes a number of arithmetic on arrays of rank 0
            return self._emitter.stand_in(np.asarray(expr))
        return self._emitter.emit(expr, self.name)

    @property
    def sizes_vary(self) -> bool:
        """Whether the model is imported for other sizes, too."""
        return self._emitter.sizes_vary

    def counted(self, numbers: Array, step: int) -> Array | Expr:
        """Integers that the model counts; they may depend on sizes, and are no constants where these vary."""
        return self._emitter.counted(numbers, step, self.name)

    def array(self, expr: Expr) -> Array | None:
        """The values of an expression that is known already."""
        return self._emitter.array(expr)

    def emit_te(self, function: Callable[..., Any], *arguments: Any, called: str = "", **keywords: Any) -> Expr:
        """Binds a call of a PrimFunc made from a TE compute: `function` gets a te.Tensor for each Relax argument.

        Args:
            called: the PrimFunc's name, where that of `function` does not say enough.

        Returns:
            a variable, or a list of variables if `function` returns several tensors.
        """
        tensors = [self.emit(each) for each in arguments if isinstance(each, relax.Expr)]
        hint = called or function.__name__.strip("_<>")

        def compute(*parameters: Any) -> Any:
            # Only tensors become parameters of the PrimFunc; whatever else is given is fixed in it.
            given = iter(parameters)
            return function(*(next(given) if isinstance(each, relax.Expr) else each for each in arguments), **keywords)

        call = self._emitter.builder.call_te(compute, *tensors, primfunc_name_hint=hint)
        var = self.emit(call)
        if isinstance(var.ty, relax.TupleType):
            return [self.emit(relax.TupleGetItem(var, index)) for index in range(len(var.ty.fields))]
        return var

    def emit_kernel(self, function: PrimFunc, *operands: Expr) -> Expr:
        """Binds a call of a PrimFunc of some tensors, its first parameters; the others are results.

        Returns:
            a variable, or a list of variables if there are several results.
        """
        given = [self.emit(each) for each in operands]
        name = str(function.attrs["global_symbol"])
        types = [relax.TensorType(buffer.shape, str(buffer.dtype)) for buffer in list(function.params)[len(given) :]]
        kernel = self._emitter.builder.add_func(function.without_attr("global_symbol"), name)
        var = self.emit(relax.call_tir(kernel, given, types[0] if len(types) == 1 else types))
        return var if len(types) == 1 else [self.emit(relax.TupleGetItem(var, i)) for i in range(len(types))]

    def top_k(self, x: Expr, axis: int, count: int, *, largest: bool) -> list[Expr]:
        """The `count` largest (or smallest) along an axis, best first, and their positions (int64). Nothing is empty.

        Equal elements keep their order; NaN counts as larger than every number.
        """
        found = self.emit(relax.op.topk(x, count, axis, "both", largest, "int64"))
        return [self.emit(relax.TupleGetItem(found, i)) for i in range(2)]

    def reshape(self, x: Expr, shape: Sequence[int]) -> Expr:
        """An expression in another shape. For Relax's own reshape an extent of 0 means that which was there before."""
        x = self.emit(x)
        return self.emit(np.zeros(shape, numpy_dtype(dtype_of(x)))) if 0 in shape else relax.op.reshape(x, shape)

    def scalar(self, value: float | int | bool, dtype: str) -> Expr:
        """A rank-0 constant."""
        return relax.const(value, dtype)

    # Messages

    @property
    def label(self) -> str:
        """The node in a message: `node 'conv1' (Conv)`."""
        domain = self.source.domain
        operator = self.op_type if domain in ("", "ai.onnx") else f"{domain}.{self.op_type}"
        if self.defines:
            operator = f"{self.defines}, defined by {operator}"
        return f"node '{self.name}' ({operator})"

    def unsupported(self, what: str, hint: str | None = None) -> UnsupportedError:
        """The error for a use of the operator that has no conversion."""
        return UnsupportedError(what, where=self.label, hint=hint)

    def invalid(self, what: str) -> ModelError:
        """The error for a use of the operator that ONNX does not allow."""
        return ModelError(what if len(what) <= _LONGEST_REASON else f"{what[:_LONGEST_REASON]} ...", where=self.label)

    def _required(self, index: int) -> Value:
        if not self.has(index):
            raise self.invalid(f"input {index} is missing")
        if isinstance(self.inputs[index], NO_TENSORS):
            raise self.invalid(f"input {index} is a sequence or an optional, not a tensor")
        return self.inputs[index]


def node_name(source: ir.Node) -> str:
    """A node's own name, or one made of its operator and its first output."""
    output = next((value.name for value in source.outputs if value.name), "")
    return escape(source.name or f"{source.op_type}_{output}")

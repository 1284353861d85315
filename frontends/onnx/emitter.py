"""Appends bindings to the Relax function under construction; what depends on constants alone is computed at once.

A converter cannot tell a constant from an input: both are variables. For a constant the variable is a stand-in, whose
array the emitter keeps. A call of which every operand is known never becomes a binding if `evaluation` has a row for
it: so constants mean what the converter of their operator and opset says. A stand-in that does reach a binding becomes
a Relax constant there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax
from tvm.ir import GenericConst

from ...ir_passes.dialect.evaluation import evaluate, split_item
from ...ir_passes.dialect.quantize import is_quantized_constant
from ...ir_passes.dialect.sized import COUNTED, counted
from ...ir_types import Expr as Expr
from ...ir_types import PrimFunc
from .dtypes import check_array
from .limits import CONSTANT_GROWTH, EVALUATED_ELEMENTS, check_tensor

Array: TypeAlias = npt.NDArray[Any]

_COUNTS = ("int64", "int32")
_KERNEL_ELEMENTS = 1 << 20  # read and written by a kernel that is run while a model is imported


class Emitter:
    """Makes bindings; each carries the name of the ONNX node it is for."""

    def __init__(self, builder: relax.BlockBuilder, *, sizes_vary: bool = False) -> None:
        """Gets ready; where sizes vary, numbers that a model counts are no constants."""
        self.builder = builder
        self.sizes_vary = sizes_vary
        # By the id of their array, which is kept because an id is only unique while its object lives.
        self._stand_ins: dict[int, Expr] = {}
        self._constants: dict[int, Expr] = {}
        self._arrays: dict[Expr, Array] = {}
        # Bindings that depend on constants alone and were not computed, in order; and those computed since.
        self._derived: dict[Expr, Expr] = {}
        self._computed: dict[Expr, list[Array] | None] = {}
        self._kernels: dict[Expr, PrimFunc] = {}

    def stand_in(self, array: Array) -> Expr:
        """The variable that stands for a constant. The same array gives the same one, so shared weights stay shared.

        Raises:
            UnsupportedError: no Relax tensor holds such values (text, complex numbers).
        """
        if id(array) not in self._stand_ins:
            check_array(array)
            variable = relax.Var("constant", relax.TensorType(array.shape, str(array.dtype)))
            self._stand_ins[id(array)] = variable
            self._arrays[variable] = array
        return self._stand_ins[id(array)]

    def constant(self, array: Array) -> Expr:
        """The Relax constant of an array, one for each.

        Raises:
            UnsupportedError: kernels do not compute with such values (4-bit integers, 8-bit floats).
        """
        if id(array) not in self._constants:
            self.stand_in(array)  # which keeps it
            check_array(array, computed=True)
            # The dtype is named, because relax.const turns 64-bit numbers into 32-bit ones by itself.
            self._constants[id(array)] = relax.const(np.ascontiguousarray(array).reshape(array.shape), str(array.dtype))
        return self._constants[id(array)]

    def array(self, expr: Expr) -> Array | None:
        """The values of an expression that is known already, else None."""
        return self._arrays.get(expr) if isinstance(expr, relax.Var) else None

    def computed_of_counts(self, expr: Expr) -> Array | None:
        """What is computed of numbers that a model counts, where these are no constants."""
        return self.compute(expr) if self.sizes_vary else None

    def counted(self, numbers: Array, step: int, name: str) -> Array | Expr:
        """Integers that a model counts, from its sizes as it may be."""
        if not self.sizes_vary or not numbers.size or str(numbers.dtype) not in _COUNTS:
            return numbers
        return self.emit(counted(int(numbers[0]), step, numbers.size, str(numbers.dtype)), name)

    def emit(self, expr: Expr, name: str) -> Expr:
        """Binds an expression and, before it, the calls nested in it, each to a variable called `name`.

        Raises:
            UnsupportedError: its result is larger than any tensor may be.
        """
        flat = self._flatten(expr, name)
        if isinstance(flat, relax.Var):
            return flat
        if isinstance(flat, GenericConst):
            return self.stand_in(flat.value.numpy())
        normal = self.builder.normalize(flat)
        for each in normal.ty.fields if isinstance(normal.ty, relax.TupleType) else [normal.ty]:
            check_tensor([int(dim) for dim in each.shape], str(each.dtype))
        known = self._evaluate(normal)
        if known is not None:
            return self.stand_in(known)
        var = relax.DataflowVar(name, normal.ty)
        if all(leaf in self._arrays or leaf in self._derived for leaf in _variables(normal)):
            self._derived[var] = normal
        self.builder.emit_normalized(relax.VarBinding(var, self._with_constants(normal)))
        return var

    def compute(self, expr: Expr) -> Array | None:
        """The value of an expression that the compiled program cannot do without, if constants alone decide it.

        What `emit` left to be computed when the model runs is computed now: kernels of ours by compiling them here.
        """
        known = self.array(expr)
        if known is not None or expr not in self._derived:
            return known
        needed, stack = {expr}, [expr]
        while stack:
            leaves = [leaf for leaf in _variables(self._derived[stack.pop()]) if leaf in self._derived]
            stack += [leaf for leaf in leaves if leaf not in needed]
            needed.update(leaves)
        for var, value in self._derived.items():
            if var in needed and var not in self._computed:
                self._computed[var] = self._compute(value)
        results = self._computed[expr]
        return None if results is None else results[0]

    def _flatten(self, expr: Expr, name: str) -> Expr:
        if isinstance(expr, relax.Call):
            arguments = [self._leaf(argument, name) for argument in expr.args]
            return relax.Call(expr.op, arguments, expr.attrs, expr.ty_args)
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(self._leaf(expr.tuple_value, name), expr.index)
        return expr

    def _leaf(self, expr: Expr, name: str) -> Expr:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._leaf(field, name) for field in expr.fields])
        if isinstance(expr, relax.Call | relax.TupleGetItem):
            return self.emit(expr, name)
        return expr

    def _with_constants(self, value: Expr) -> Expr:
        """A binding's value with a constant in place of every stand-in."""
        if isinstance(value, relax.TupleGetItem):
            return value
        arguments = [self._constant_leaf(argument) for argument in value.args]
        return self.builder.normalize(relax.Call(value.op, arguments, value.attrs, value.ty_args))

    def _constant_leaf(self, expr: Expr) -> Expr:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._constant_leaf(field) for field in expr.fields])
        array = self.array(expr)
        return expr if array is None else self.constant(array)

    def _evaluate(self, value: Expr) -> Array | None:
        """The result of a call on known operands, unless they are smaller by far, or no row computes it."""
        if isinstance(value, relax.TupleGetItem):
            call = self._derived.get(value.tuple_value)
            operands = None if call is None or not _is(call, "relax.split") else self._operands(call)
            return None if not operands else split_item(call, value.index, operands[0])
        # What is computed of counts is no constant, even where somebody has asked for it.
        operands = self._operands(value, computed=not self.sizes_vary)
        if operands is None or not isinstance(value.ty, relax.TensorType) or _is(value, COUNTED):
            return None
        given = sum(operand.size for operand in operands)
        made = math.prod(int(dim) for dim in value.ty.shape)
        if (
            made > given + CONSTANT_GROWTH
            or made + given > EVALUATED_ELEMENTS
            or is_quantized_constant(value, operands)
        ):
            return None
        return evaluate(value, operands)

    def _operands(self, value: Expr, *, computed: bool = True) -> list[Array] | None:
        """The arrays of all tensor operands, those computed since among them, or None when one is not known."""
        found: list[Array] = []
        for leaf in _leaves(value):
            if isinstance(leaf, GenericConst):
                found.append(leaf.value.numpy())
            elif leaf in self._arrays:
                found.append(self._arrays[leaf])
            elif computed and (results := self._computed.get(leaf)) is not None:
                found.append(results[0])
            else:
                return None
        return found

    def _compute(self, value: Expr) -> list[Array] | None:
        """The results of a derived binding whose operands are computed."""
        if isinstance(value, relax.TupleGetItem):
            parts = self._computed.get(value.tuple_value)
            return None if parts is None or len(parts) <= value.index else [parts[value.index]]
        operands = self._operands(value)
        if operands is None:
            return None
        if not _is(value, "relax.call_tir"):
            result = evaluate(value, operands) if isinstance(value.ty, relax.TensorType) else None
            return None if result is None else [result]
        types = value.ty.fields if isinstance(value.ty, relax.TupleType) else [value.ty]
        shapes = [tuple(int(dim) for dim in each.shape) for each in types]
        if sum(each.size for each in operands) + sum(map(math.prod, shapes)) > _KERNEL_ELEMENTS:
            return None
        if value.args[0] not in self._kernels:
            kernel = self.builder.get()[value.args[0]].with_attr("global_symbol", "kernel")
            # A plain processor: constants do not depend on the machine that a model is compiled on.
            self._kernels[value.args[0]] = tvm.compile(tvm.IRModule({"kernel": kernel}), target="llvm")
        built = self._kernels[value.args[0]]
        results = [tvm.runtime.empty(shape, str(each.dtype)) for shape, each in zip(shapes, types, strict=True)]
        built["kernel"](*(tvm.runtime.tensor(np.asarray(each, order="C")) for each in operands), *results)
        return [each.numpy() for each in results]


def _is(value: Expr, name: str) -> bool:
    return isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op) and value.op.name == name


def _leaves(value: Expr) -> Iterator[Expr]:
    """The tensors that a binding's value reads: variables and constants, those in tuples too."""
    if isinstance(value, relax.TupleGetItem):
        yield value.tuple_value
        return
    for argument in value.args:
        for each in argument.fields if isinstance(argument, relax.Tuple) else [argument]:
            if isinstance(each, GenericConst) or (
                isinstance(each, relax.Var) and not isinstance(each, relax.GlobalVar)
            ):
                yield each


def _variables(value: Expr) -> Iterator[Expr]:
    return (leaf for leaf in _leaves(value) if isinstance(leaf, relax.Var))

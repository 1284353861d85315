"""Matrix products (dense layers, attention) as contractions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm import relax, te

from ...ir_types import Scalar
from ..templates import dot_product
from ..templates.contraction import Workload
from ..templates.microkernel import Microkernel
from ..templates.sparsity import sparsity_of
from ..templates.template import Chooser
from ..tensorir.expressions import constant_shape, flatten, int64, int64s, unflatten
from ..tensorir.operands import operand_dtypes, uncast
from ..tensorir.padding import within
from .convolution import new_constant, relax_constant


@dataclass(frozen=True)
class Product:
    """numpy's matmul of (*lhs_batch, rows, k) and (*rhs_batch, k, columns).

    Where the right side has no batch of its own, the left side's batch counts as rows: one large product.
    """

    lhs: tuple[int, ...]
    rhs: tuple[int, ...]

    @property
    def batch(self) -> tuple[int, ...]:
        """The broadcast batch axes of the result."""
        left, right = self.lhs[:-2], self.rhs[:-2]
        rank = max(len(left), len(right))
        pairs = zip((1,) * (rank - len(left)) + left, (1,) * (rank - len(right)) + right, strict=True)
        return tuple(max(one, other) if min(one, other) else 0 for one, other in pairs)

    @property
    def is_flat(self) -> bool:
        """Whether all products share one right side."""
        return math.prod(self.rhs[:-2]) == 1

    @property
    def packs_weights(self) -> bool:
        """Whether a constant right side is packed when compiling.

        Broadcasting among batches of both sides would repeat packed weights: those are packed at run time, once each.
        """
        return self.is_flat or self.rhs[:-2] == self.batch

    @property
    def rows(self) -> int:
        """Rows of one left side."""
        return self.lhs[-2]

    @property
    def columns(self) -> int:
        """Columns of the right side."""
        return self.rhs[-1]

    @property
    def output(self) -> tuple[int, ...]:
        """Shape of the result."""
        return (*self.batch, self.rows, self.columns)


def workload_of(call: relax.Call) -> Workload:
    """The contraction that a product is; vectors are matrices of one row or column."""
    left, right = (constant_shape(each) for each in call.args)
    product = Product(left if len(left) > 1 else (1, *left), right if len(right) > 1 else (*right, 1))
    depth = product.lhs[-1]
    batch, dtypes = math.prod(product.batch), operand_dtypes(call)
    weights = relax_constant(call.args[1]) if product.packs_weights else None
    return Workload(
        batch=1 if product.is_flat else batch,
        rows=product.rows * (batch if product.is_flat else 1),
        columns=product.columns,
        k=(depth,),
        **dtypes,
        runs=dot_product.padded_runs(depth, dtypes["lhs"]),
        sparsity=None if weights is None else sparsity_of(weights.reshape(-1, *product.rhs[-2:]).swapaxes(1, 2)),
    )


def _operand_index(shape: tuple[int, ...], batch: list[Any], inner: tuple[Any, ...]) -> tuple[Any, ...]:
    """The index into an operand, its batch axes broadcast."""
    own = shape[:-2]
    kept = batch[len(batch) - len(own) :] if own else []
    leading = [int64(0) if extent == 1 else index for extent, index in zip(own, kept, strict=True)]
    return (*leading, *inner)


def lower_matmul(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """Lowers `relax.matmul` to a `call_tir`; a constant right side is packed. Vectors become matrices by aliases."""
    if 1 in (len(constant_shape(call.args[0])), len(constant_shape(call.args[1]))):
        return _lower_vector_product(builder, call, decide)
    product = Product(constant_shape(call.args[0]), constant_shape(call.args[1]))
    depth = product.lhs[-1]
    decision = decide(workload_of(call))
    multiply: Microkernel = decision.compute(decide.target)
    workload = multiply.workload
    lhs, rhs = (uncast(builder, each) if multiply.casts_operands else each for each in call.args)
    constant = relax_constant(rhs)
    if constant is not None and product.packs_weights:
        matrix = constant.reshape(workload.batch, depth, product.columns).transpose(0, 2, 1)
        weights = [new_constant(each) for each in multiply.pack_constant(matrix)]
    else:
        constant, weights = None, [rhs]

    def compute(left: te.Tensor, *given: te.Tensor) -> te.Tensor:
        right = given[0]

        def left_element(batch: Any, row: Any, inner: Any) -> Scalar:
            if product.is_flat:
                *batches, row = unflatten(row, (*product.batch, product.rows))
            else:
                batches = unflatten(batch, product.batch)
            return left[_operand_index(product.lhs, batches, (row, inner))]

        def right_element(batch: Any, column: Any, inner: Any) -> Scalar:
            batches = [int64(0)] * len(product.batch) if product.is_flat else unflatten(batch, product.batch)
            value = right[_operand_index(product.rhs, batches, (inner, column))]
            return within(value, inner, depth, workload.k[-1])

        extents = (workload.batch, workload.rows, depth)
        shape = (workload.batch, multiply.rows_read, workload.k[-1])
        operand = multiply.operand(left_element, extents, shape, (0, 0, 0))
        packed = given if constant is not None else (multiply.pack_at_run_time(right_element),)
        result = multiply.compute(operand, *packed)

        def output(*index: Any) -> Scalar:
            *position, row, column = index
            batch = flatten(position, product.batch)
            at = result(0, batch * product.rows + row, column) if product.is_flat else result(batch, row, column)
            return at.astype(str(call.ty.dtype))

        return te.compute(int64s(product.output), output, name="product")

    return builder.call_te(compute, lhs, *weights, primfunc_name_hint="matmul", primfunc_attrs=decision.marks())


def _lower_vector_product(builder: relax.BlockBuilder, call: relax.Call, decide: Chooser) -> relax.Expr:
    """A vector is one row on the left and one column on the right; its axis is dropped from the result."""
    left, right = call.args
    shapes = constant_shape(left), constant_shape(right)
    if len(shapes[0]) == 1:
        left = _reshaped(builder, left, (1, *shapes[0]))
    if len(shapes[1]) == 1:
        right = _reshaped(builder, right, (*shapes[1], 1))
    matrices = builder.normalize(relax.op.matmul(left, right, str(call.ty.dtype)))
    product = builder.emit(lower_matmul(builder, matrices, decide))
    return relax.op.reshape(product, constant_shape(call))


def _reshaped(builder: relax.BlockBuilder, operand: relax.Expr, shape: tuple[int, ...]) -> relax.Expr:
    constant = relax_constant(operand)
    return (
        new_constant(constant.reshape(shape))
        if constant is not None
        else builder.emit(relax.op.reshape(operand, shape))
    )

"""Relax operators -> calls of TensorIR kernels: our own computes where speed matters, TVM's elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tvm import relax, tirx

from ..annotations import CAST, PADDED
from ..failures import remembered
from ..hidden_floats import hide
from ..ir_types import IRModule
from .operators import (
    attention,
    cached_attention,
    convolution,
    elementwise,
    group_norm,
    injective,
    integer_division,
    interpolation,
    matmul,
    patches,
    pooling,
    quantization,
    recurrent,
    reduction,
    sorting,
    weight_product,
)
from .templates import rows
from .templates.template import Chooser
from .tensorir import operands
from .tensorir.expressions import accumulator, constant_shape, dtype_bits

Lower = Callable[[relax.BlockBuilder, relax.Call, Chooser], relax.Expr]


def _always(call: relax.Call) -> bool:
    return True


def _channels_last(call: relax.Call) -> bool:
    attributes = call.attrs
    layout = str(attributes.layout) if hasattr(attributes, "layout") else str(attributes.data_layout)
    out_layout = str(attributes.out_layout)
    return layout in ("NWC", "NHWC", "NDHWC") and out_layout in ("", layout)


def _channels_last_convolution(call: relax.Call) -> bool:
    kernel = str(call.attrs.kernel_layout)
    return _channels_last(call) and kernel in ("OWI", "OHWI", "ODHWI")


_INTEGERS = {"int8", "uint8"}


def _numeric_matmul(call: relax.Call) -> bool:
    left, right, result = (str(each.ty.dtype) for each in (*call.args, call))
    fits = left == right or {left, right} <= _INTEGERS
    return (
        fits
        and dtype_bits(result) >= dtype_bits(left)
        and 0 not in constant_shape(call)
        and constant_shape(call.args[0])[-1] > 0
    )


def _over_last_axis(call: relax.Call) -> bool:
    shape = constant_shape(call.args[0])
    return bool(shape) and int(call.attrs.axis) % len(shape) == len(shape) - 1 and 0 not in shape


def _of_a_tuple(call: relax.Call) -> bool:
    return isinstance(call.args[0], relax.Tuple) and call.attrs.axis is not None and 0 not in constant_shape(call)


def _of_whole_steps(call: relax.Call) -> bool:
    return 0 not in constant_shape(call) and injective.slice_starts(call) is not None


def _of_floats(call: relax.Call) -> bool:
    return "float" in str(call.args[0].ty.dtype)


def _of_integers(call: relax.Call) -> bool:
    return str(call.args[0].ty.dtype).startswith(("int", "uint"))


def _within_range(call: relax.Call) -> bool:
    return str(call.attrs.mode) == "fast" and call.attrs.axis is not None


def _not_empty(call: relax.Call) -> bool:
    shape = constant_shape(call.args[0])
    return 0 not in shape and str(call.ty.dtype) != "bool" and len(shape) > 0


def _normalizes(call: relax.Call) -> bool:
    return 0 not in constant_shape(call.args[0])


def _lower_normalization(
    builder: relax.BlockBuilder, call: relax.Call, decide: Chooser, *, centered: bool
) -> relax.Expr:
    if rows.can_lower_normalization(call):
        return rows.lower_normalization(builder, call, decide, centered=centered)
    return rows.decompose_normalization(builder, call, centered=centered)


def _of_a_scalar_constant(call: relax.Call) -> bool:
    return convolution.relax_constant(call.args[0]) is not None and not constant_shape(call.args[0])


def _cast_constant(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """As the machine casts an input: TVM would make a number of the constant, which infinity is not in integers."""
    vector = convolution.new_constant(convolution.relax_constant(call.args[0]).reshape(1))
    return relax.op.reshape(builder.emit(relax.op.astype(vector, str(call.ty.dtype))), ())


@dataclass(frozen=True)
class Rule:
    """How one Relax operator is lowered, and which calls of it: the others fall to TVM's own legalization."""

    lower: Lower
    takes: Callable[[relax.Call], bool] = _always


def _plain(lower: Callable[[relax.BlockBuilder, relax.Call], relax.Expr]) -> Lower:
    """A lowering that no template computes."""
    return lambda builder, call, decide: lower(builder, call)


_CONVOLUTION = Rule(convolution.lower_convolution, _channels_last_convolution)
_MAX_POOL = Rule(pooling.lower_max_pool, _channels_last)
_AVERAGE_POOL = Rule(pooling.lower_average_pool, _channels_last)
_DIVISION = Rule(_plain(integer_division.lower_integer_division), integer_division.is_integer_division)
_REDUCTION = Rule(reduction.lower_reduction, _not_empty)

# Which operators a rule is for. Where several name one operator, the first that takes a call of it lowers it.
RULES: tuple[tuple[Sequence[str], Rule], ...] = (
    (("relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv3d"), _CONVOLUTION),
    (("relax.matmul",), Rule(matmul.lower_matmul, _numeric_matmul)),
    (("relax.nn.max_pool1d", "relax.nn.max_pool2d", "relax.nn.max_pool3d"), _MAX_POOL),
    (("relax.nn.avg_pool1d", "relax.nn.avg_pool2d", "relax.nn.avg_pool3d"), _AVERAGE_POOL),
    (("relax.nn.softmax",), Rule(rows.lower_softmax, _over_last_axis)),
    (("relax.nn.log_softmax",), Rule(partial(rows.lower_softmax, log=True), _over_last_axis)),
    (("relax.nn.layer_norm",), Rule(partial(_lower_normalization, centered=True), _normalizes)),
    (("relax.nn.rms_norm",), Rule(partial(_lower_normalization, centered=False), _normalizes)),
    (("relax.nn.group_norm",), Rule(group_norm.lower_group_norm, group_norm.takes_group_norm)),
    (("relax.tilewright.attention",), Rule(attention.lower_attention, attention.can_lower_attention)),
    ((cached_attention.NAME,), Rule(cached_attention.lower_cached_attention)),
    ((recurrent.NAME,), Rule(recurrent.lower_recurrent)),
    ((weight_product.NAME,), Rule(weight_product.lower_weight_product)),
    ((interpolation.NAME,), Rule(interpolation.lower_interpolation, interpolation.can_lower)),
    ((sorting.TOP_K,), Rule(sorting.lower_top_k)),
    ((sorting.ROW_ORDER,), Rule(sorting.lower_row_order)),
    (("relax.strided_slice",), Rule(_plain(injective.lower_slice), _of_whole_steps)),
    (("relax.concat",), Rule(_plain(injective.lower_concat), _of_a_tuple)),
    (("relax.astype",), Rule(_plain(_cast_constant), _of_a_scalar_constant)),
    (("relax.astype",), Rule(_plain(operands.lower_cast), operands.narrows)),
    (("relax.nn.pad",), Rule(_plain(operands.lower_pad), operands.pads_integers)),
    (("relax.astype",), Rule(_plain(operands.lower_cast), operands.widens)),
    (("relax.take",), Rule(_plain(injective.lower_take), _within_range)),
    (tuple(reduction.REDUCERS), _REDUCTION),
    (integer_division.OPERATORS, _DIVISION),
    (elementwise.OPERATORS, Rule(_plain(elementwise.lower_elementwise), _of_floats)),
    (elementwise.OPERATORS_ON_INTEGERS, Rule(_plain(elementwise.lower_elementwise), _of_integers)),
    (quantization.OPERATORS, Rule(_plain(quantization.lower_quantization))),
    (patches.OPERATORS, Rule(_plain(patches.lower_patches))),
    (("relax.where",), Rule(_plain(elementwise.lower_where))),
)


def legalize(module: IRModule, decide: Chooser) -> IRModule:
    """Lowers every operator of `main` to a `call_tir`; each PrimFunc gets its `op_pattern` for fusion.

    What a template computes carries its name and the choice that `decide` made. From here on no PrimFunc computes
    floats by TVM's own arithmetic (`hidden_floats.py`).
    """
    rules: dict[str, list[Rule]] = {}
    for names, rule in RULES:
        for name in names:
            rules.setdefault(name, []).append(rule)

    def customized(name: str) -> Callable[[relax.BlockBuilder, relax.Call], relax.Expr]:
        @remembered
        def lower(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
            for rule in rules[name]:
                if rule.takes(call):
                    return rule.lower(builder, call, decide)
            fallback = _tvm_legalization(name)
            if fallback is None:
                return call
            return fallback(builder, call) if name not in _SUMMING else _in_accumulator(builder, call, fallback)

        return lower

    module = relax.transform.LegalizeOps({name: customized(name) for name in rules})(module)
    if any(mark.of(function) is not None for function in module.functions.values() for mark in (CAST, PADDED)):
        # Casts and padding that became part of the kernels that read them.
        module = relax.transform.DeadCodeElimination()(module)
    # The pattern is read off TVM's own arithmetic.
    return _hidden(relax.transform.AnnotateTIROpPattern()(module))


def _hidden(module: IRModule) -> IRModule:
    for variable, function in module.functions_items():
        if isinstance(function, tirx.PrimFunc):
            module.update_func(variable, function.with_body(hide(function.body)))
    return module


# TVM's own computes of these sum in the dtype of their operands.
_SUMMING = frozenset(f"relax.nn.{name}" for name in ("softmax", "log_softmax"))


def _in_accumulator(builder: relax.BlockBuilder, call: relax.Call, lower: Callable[..., relax.Expr]) -> relax.Expr:
    """The call on operands of the dtype that sums are kept in, and the result rounded once."""
    dtype = str(call.ty.dtype)
    wide = accumulator(dtype)
    if wide == dtype:
        return lower(builder, call)
    operands = [builder.emit(relax.op.astype(operand, wide)) for operand in call.args]
    inner = builder.normalize(relax.Call(call.op, operands, call.attrs, call.ty_args))
    return relax.op.astype(builder.emit(lower(builder, inner)), dtype)


def _tvm_legalization(name: str) -> Any:
    from tvm.ir import Op

    return Op.get(name).get_attr("FLegalize")
